"""Lesson 01's failure lab: layers that are given the same mask, and those among them that break it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from teaching.exercises import question
from vlmcourse.parts.attention import attend


def _softmax_over_queries(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    weights = scores.masked_fill(~allowed, -torch.inf).softmax(-2)
    return weights.masked_fill(~allowed, 0) @ v


def _additive(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    lowest = torch.finfo(scores.dtype).min
    return (scores + torch.zeros(allowed.shape).masked_fill(~allowed, lowest)).softmax(-1) @ v


FAULTS = {
    "no fault": attend,
    "the softmax runs over the queries": _softmax_over_queries,
    "the most negative number (finfo.min) is added to forbidden scores": _additive,
}


def runs(id: str) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """The layers of a failure lab by their letters: each maps x (1, L, D) and a mask (1, 1, L, L) to (1, L, D)."""
    causes = question("failures", id)["causes"]

    def layer(function: Callable) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda x, allowed: function(x[:, None], x[:, None], x[:, None], allowed)[:, 0]

    return {letter: layer(FAULTS[cause]) for letter, cause in causes.items()}
