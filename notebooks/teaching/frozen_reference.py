"""Lesson 07: the course's own answers to the exercises, which stand in where the student's don't pass yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vlmcourse.parts.language import freeze, next_token_loss
from vlmcourse.parts.soft_prompts import insert_vectors

Parts = list[object]
"""A prompt: texts, and pictures of any type that is not a text."""


class VisualPrefix(nn.Module):
    """Features of pictures (M, F) -> n vectors of each (M, n, D)."""

    def __init__(self, features: int, n: int, width: int):
        super().__init__()
        self.n, self.linear = n, nn.Linear(features, n * width)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(features).unflatten(-1, (self.n, -1))


def interleave(words: Tensor, prefix: Tensor, is_slot: Tensor) -> Tensor:
    """words (B, T, D) with the vectors of prefix (M, n, D) at is_slot (B, T), in reading order."""
    return insert_vectors(words, is_slot, prefix.flatten(0, 1))


def prefix_gradients(loss_of: Callable[[Tensor], Tensor], prefix: Tensor) -> Tensor:
    """Norms (M, n) of the gradient of loss_of with respect to each vector of prefix (M, n, D)."""
    prefix = prefix.detach().requires_grad_()
    return torch.autograd.grad(loss_of(prefix), prefix)[0].norm(dim=-1)


def caption_mask(ids: Tensor, image_id: int, end_id: int, pad_id: int) -> Tensor:
    """(B, T): True at what follows the full stop after the last slot, but for the end token and padding."""
    is_slot = ids == image_id
    later = is_slot.cumsum(1) == is_slot.sum(1, keepdim=True)
    later &= ~is_slot & (ids != end_id) & (ids != pad_id)
    return later & (later.cumsum(1) > 1)


caption_loss = next_token_loss


def few_shot_prompt(
    examples: Sequence[tuple[object, str, str]], query: object, question: str
) -> Parts:
    """Parts: each example's picture, question and answer; then the query and its open question."""
    parts: Parts = []
    for picture, asked, answer in examples:
        parts += [picture, f"question : {asked} answer : {answer} ."]
    return [*parts, query, f"question : {question} answer :"]


def naming_prompt(
    examples: Sequence[tuple[object, str]], query: object, induction: bool, repeats: int
) -> Parts:
    """Parts: a sentence with the names, if `induction`; the examples 1 + `repeats` times; the query and its question."""
    names = list(dict.fromkeys(name for _, name in examples))
    parts: Parts = [f"answer with {' or '.join(names)} ."] if induction else []
    for picture, name in list(examples) * (1 + repeats):
        parts += [picture, f"this is a {name} ."]
    return [*parts, query, "question : what is this ? answer : this is a"]


def swap_examples(prompts: Sequence[Sequence[object]]) -> list[Parts]:
    """Each prompt with the pictures of the next prompt's examples, and its own query."""
    pictures = [[part for part in prompt if not isinstance(part, str)] for prompt in prompts]
    swapped = []
    for prompt, own, given in zip(prompts, pictures, [*pictures[1:], pictures[0]]):
        shown = iter([*given[:-1], own[-1]])
        swapped.append([part if isinstance(part, str) else next(shown) for part in prompt])
    return swapped


def rotate(x: Tensor, positions: Tensor, frequencies: Tensor) -> Tensor:
    """x (T, d), positions (T,), frequencies (d / 2,): entry i turned with entry i + d / 2."""
    angle = positions[:, None] * frequencies
    first, second = x.chunk(2, dim=-1)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


def word_hull(vectors: Tensor, words: Tensor, share: float, sharpness: float) -> Tensor:
    """(N, D): vectors, of which a `share` is the mean of `words` (V, D), weighted by a softmax over cosines."""
    cosine = normalize(vectors, dim=-1) @ normalize(words, dim=-1).T
    return (1 - share) * vectors + share * ((sharpness * cosine).softmax(-1) @ words)


PARTS: dict[str, Callable] = {
    "VisualPrefix": VisualPrefix,
    "interleave": interleave,
    "freeze": freeze,
    "caption_mask": caption_mask,
    "caption_loss": caption_loss,
}
"""What teaching.frozen_model.BuiltFrozen is put together from."""
