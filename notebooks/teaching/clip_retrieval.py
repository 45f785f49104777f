"""Lesson 02: formulas of the exercise on retrieval, and what each likely mistake would give."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching.exercises import listed, normal, number


def recall_at_k(
    similarity: Tensor,
    k: int,
    ahead: Callable = torch.ge,
    axis: int = 1,
) -> float:
    """Share of images whose own text is among the k most similar; ties count against it. (N, N) -> 0 to 1."""
    table = similarity if axis == 1 else similarity.T
    better = ahead(table, table.diagonal()[:, None])
    better.fill_diagonal_(False)
    return (better.sum(1) < k).float().mean().item()


def recall_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Similarities and k. Four of five images have a wrong text that is as similar as the right one, and some texts a wrong image."""
    N, k = 240, number(generator, 4, 8)
    table, images = normal(generator, N, N) + normal(generator, N, 1, scale=2), torch.arange(N)
    table.fill_diagonal_(-math.inf)
    sizes, order = table.sort(dim=1, descending=True)
    better = torch.randint(0, 2 * k, (N,), generator=generator)  # texts before the right one
    above = sizes[images, (better - 1).clamp(min=0)] + (better == 0)
    table[images, images] = (above + sizes[images, better]) / 2
    tied = torch.rand(N, generator=generator) < 0.8
    behind = better + torch.randint(0, 100, (N,), generator=generator)
    table[images[tied], order[images, behind][tied]] = table.diagonal()[tied]
    for column in range(0, N, 3):
        table[(column + 5) % N, column] = table[column, column]
    return [table, k], {}


def sorted_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """The same, drawn again until no other mistake gives what a sorting of equal values might give.

    Raises RuntimeError after a thousand draws.
    """
    for _ in range(1000):
        (table, k), _ = recall_inputs(generator)
        lowest, highest = recall_at_k(table, k), recall_at_k(table, k, torch.gt)
        values = [formula(table, k) for each in RECALL.values() for formula in listed(each)]
        if not any(lowest < value < highest for value in values):
            return [table, k], {}
    raise RuntimeError("in a thousand draws some mistake always gave what a sorting might give.")


def constant_inputs(generator: torch.Generator) -> tuple[list, dict]:
    return [torch.full((number(generator, 5, 9),) * 2, 0.5), number(generator, 1, 3)], {}


RECALL = {
    "ties count for the model: texts that are as similar as the right one stand before it.": (
        partial(recall_at_k, ahead=torch.gt)
    ),
    "neither the right text nor the ties are counted: >= counts both.": (
        lambda s, k: recall_at_k(s, k + 1, torch.gt)
    ),
    "that is text to image: `similarity` has images in its rows.": (
        partial(recall_at_k, axis=0),
        partial(recall_at_k, axis=0, ahead=torch.gt),
    ),
    "k is one too large: rank k is still among the first k, rank k + 1 is not.": lambda s, k: (
        recall_at_k(s, k + 1)
    ),
    "k is one too small: rank k is among the first k. Does the right text count as its own rival?": (
        lambda s, k: recall_at_k(s, k - 1)
    ),
    "that is recall at 1: use k.": (
        lambda s, k: recall_at_k(s, 1),
        lambda s, k: (s.argmax(1) == torch.arange(len(s))).float().mean().item(),
    ),
    "that is the number of images: their share is wanted.": lambda s, k: len(s) * recall_at_k(s, k),
    "the least similar texts are taken: the most similar come first.": lambda s, k: recall_at_k(
        -s, k
    ),
    "these are percent: the share, from 0 to 1, is wanted.": lambda s, k: 100 * recall_at_k(s, k),
    "divide by the number of images, not by k.": lambda s, k: len(s) * recall_at_k(s, k) / k,
    "the diagonal lies along the columns, so each entry is compared with another image's right text; make it a column.": (
        lambda s, k: ((s >= s.diagonal()).sum(1) <= k).float().mean().item()
    ),
    "that is the share of failures.": lambda s, k: 1 - recall_at_k(s, k),
}


def ties_by_accident(got: object, wanted: float, table: Tensor, k: int) -> str | None:
    """What sorting leaves to chance lies between ties that all count against the model and ties that all count for it."""
    is_number = isinstance(got, float) or (isinstance(got, Tensor) and got.dim() == 0)
    if is_number and wanted < float(got) < recall_at_k(table, k, torch.gt):
        return (
            "texts as similar as the right one come before or after it as the sorting happens to leave "
            "them: all of them must count as before it."
        )
    return None
