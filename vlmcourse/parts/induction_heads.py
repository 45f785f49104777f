"""Initial weights with which a decoder binds names early: heads that attend backwards, match, and copy.

Random layers need thousands of steps before one head attends to the word before and another to what came after an earlier
occurrence of the same word
(induction heads: Olsson et al. 2022, arXiv 2209.11895). Layers that start near such functions learn in far fewer; starting
queries alike with keys, and outputs with values, is the mimetic initialisation of Trockman & Kolter 2023 (arXiv 2305.09828).
"""

from __future__ import annotations

import math

import torch
from torch import nn

from vlmcourse.parts.language import Decoder, decoder_layers

FAST = 6
"""The first pairs of a head's dimensions turn fast with the position (RoPE); the others, slow, can match over a distance."""
WORD_BEFORE, FIVE_BEFORE, NOT_ITSELF = (
    (1, range(FAST), 5.0),
    (5, range(3, 7), 2.5),
    (None, range(2, 5), 2.0),
)
"""(words back, pairs of dimensions, strength): where a head attends by its biases; None: least to itself."""


@torch.no_grad()
def init_induction_heads(lm: Decoder) -> None:
    """Sets initial weights of a Llama with biases, rotary positions, at least two layers and three heads; others stay as they are.

    First layer: head 0 attends to the word before, head 1 to the words around five before; both rotate what they copy.
    Second layer: head 0 attends to a word that came after the same word as this one (an induction head), head 1 to a
    position with the same words before it. All other heads match like with like. All heads copy what they find. Random numbers are
    of the global generator.
    """
    layers = [layer.self_attn for layer in decoder_layers(lm)]
    if len(layers) < 2 or lm.config.num_attention_heads < 3:
        return
    first, second, size = layers[0], layers[1], layers[0].head_dim
    slow = (torch.arange(size) % (size // 2) >= FAST)[:, None].float()
    code = torch.linalg.qr(torch.randn(lm.config.hidden_size, lm.config.hidden_size))[0]
    for attention in layers:
        attention.o_proj.weight.copy_(0.2 * attention.v_proj.weight.T)
    first.o_proj.weight.copy_(code @ first.o_proj.weight)
    second.o_proj.weight.mul_(2)
    for layer in decoder_layers(lm):
        layer.mlp.down_proj.weight.mul_(0.1)
    for attention in layers[1:]:
        rows = (0.3 + 0.5 * slow).repeat(lm.config.num_attention_heads, 1)
        attention.q_proj.weight.mul_(rows)
        attention.k_proj.weight.copy_(attention.q_proj.weight)
    for head, target in ((0, WORD_BEFORE), (1, FIVE_BEFORE)):
        first.q_proj.weight[_rows(head, size)] *= 0.1
        first.k_proj.weight[_rows(head, size)] *= 0.1
        _set_position_bias(first, head, *target)
    before, around = (first.v_proj.weight[_rows(head, size)] * slow for head in (0, 1))
    second.q_proj.weight[_rows(0, size)] = 2 * before
    second.k_proj.weight[_rows(0, size)] = 2 * before @ code.T
    for projection in (second.q_proj, second.k_proj):
        projection.weight[_rows(1, size)] = 2.2 * around @ code.T
    _set_position_bias(second, 1, *NOT_ITSELF)


def _rows(head: int, size: int) -> slice:
    return slice(head * size, (head + 1) * size)


def _set_position_bias(
    attention: nn.Module, head: int, back: int | None, pairs: range, strength: float
) -> None:
    """Biases of queries and keys that make a head attend `back` words before, whatever the words; None: least to itself."""
    size = attention.head_dim
    bias = math.sqrt(strength * math.sqrt(size))
    for pair in pairs:
        angle = math.pi if back is None else back * 10_000 ** (-2 * pair / size)
        real, imaginary = head * size + pair, head * size + size // 2 + pair
        query, key = attention.q_proj.bias, attention.k_proj.bias
        query[real] = bias
        key[real], key[imaginary] = bias * math.cos(angle), bias * math.sin(angle)
