"""Initial weights with which a decoder binds names early: heads that attend backwards, match, and copy.

Random layers need thousands of steps before one head attends to the word before and another to what came after an earlier
occurrence of the same word
(induction heads: Olsson et al. 2022, arXiv 2209.11895). Layers that start near such functions learn in far fewer; starting
queries alike with keys, and outputs with values, is the mimetic initialisation of Trockman & Kolter 2023 (arXiv 2305.09828).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vlmcourse.parts.language import Decoder, decoder_layers

FAST = 6
"""The first pairs of a head's dimensions turn fast with the position (RoPE); the others, slow, can match over a distance."""
WORD_BEFORE, WORDS_BEFORE, ONE_EARLIER = (
    (1, range(FAST), 5.0),
    (4.5, range(1, FAST), 2.0),
    (5.5, range(1, FAST), 2.0),
)
"""(words back, pairs of dimensions, strength): where heads 0, 1 and 2 of the first layer attend by their biases."""
SAME_WORD, SAME_WORDS = 1.0, 3.0
"""Scales of queries and keys of the second layer's heads 0 and 1. A note of several words holds little of each."""


@torch.no_grad()
def init_induction_heads(lm: Decoder) -> None:
    """Sets initial weights of a Llama with biases, rotary positions, at least two layers and three heads; others stay as they are.

    First layer: head 0 attends to the word before, head 1 to the words four and five before, head 2 to those one earlier.
    Each adds a note of what it found, in directions of its own; word embeddings leave those of heads 1 and 2 free, so that
    a note isn't drowned by the word beside it.
    Second layer: head 0 attends to a word that came after the same word as this one (an induction head), head 1 to a
    word that came after the same words: it compares its own note of head 1 with the others' notes of head 2. All other
    heads match like with like. All heads copy what they find. Random numbers are of the global generator.
    """
    layers = [layer.self_attn for layer in decoder_layers(lm)]
    if len(layers) < 2 or lm.config.num_attention_heads < 3:
        return
    first, second, size = layers[0], layers[1], layers[0].head_dim
    is_slow = torch.arange(size) % (size // 2) >= FAST
    slow = is_slow.nonzero()[:, 0]
    for layer in decoder_layers(lm):
        layer.mlp.down_proj.weight.mul_(0.1)
    for attention in layers:
        attention.o_proj.weight.copy_(0.2 * attention.v_proj.weight.T)
    second.o_proj.weight.mul_(2)
    for attention in layers[1:]:
        rows = (0.3 + 0.5 * is_slow[:, None]).repeat(lm.config.num_attention_heads, 1)
        attention.q_proj.weight.mul_(rows)
        attention.k_proj.weight.copy_(attention.q_proj.weight)

    width = lm.config.hidden_size
    directions = torch.linalg.qr(torch.randn(width, width))[0].split(len(slow))
    words, before, here, there = directions[:4]
    _leave_free(lm.get_input_embeddings().weight, torch.cat([here, there]))
    targets = ((WORD_BEFORE, before), (WORDS_BEFORE, here), (ONE_EARLIER, there))
    for head, (target, note) in enumerate(targets):
        _attend_backwards(first, head, *target)
        rows = head * size + torch.arange(size)
        first.v_proj.weight[rows], first.o_proj.weight[:, rows] = 0.0, 0.0
        first.v_proj.weight[head * size + slow] = words
        first.o_proj.weight[:, head * size + slow] = note.T / math.sqrt(len(slow))
    for head, scale, query, key in ((0, SAME_WORD, words, before), (1, SAME_WORDS, here, there)):
        for projection, reads in ((second.q_proj, query), (second.k_proj, key)):
            projection.weight[head * size : (head + 1) * size] = 0.0
            projection.weight[head * size + slow] = scale * reads


def _leave_free(embeddings: Tensor, directions: Tensor) -> None:
    """Takes orthonormal directions (N, D) out of the vectors (V, D), whose lengths stay, in place."""
    length = embeddings.norm(dim=1, keepdim=True)
    embeddings.sub_(embeddings @ directions.T @ directions)
    embeddings.mul_(length / embeddings.norm(dim=1, keepdim=True).clamp_min(1e-6))


def _attend_backwards(
    attention: nn.Module, head: int, back: float, pairs: range, strength: float
) -> None:
    """Biases of queries and keys that make a head attend `back` words before, nearly whatever the words."""
    size = attention.head_dim
    for projection in (attention.q_proj, attention.k_proj):
        projection.weight[head * size : (head + 1) * size] *= 0.1
    bias = math.sqrt(strength * math.sqrt(size))
    for pair in pairs:
        angle = back * 10_000 ** (-2 * pair / size)
        real, imaginary = head * size + pair, head * size + size // 2 + pair
        query, key = attention.q_proj.bias, attention.k_proj.bias
        query[real] = bias
        key[real], key[imaginary] = bias * math.cos(angle), bias * math.sin(angle)
