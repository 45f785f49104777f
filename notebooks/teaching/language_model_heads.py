"""Lesson 05's checks of attention heads: their scores, and one head removed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import language_model_answers as answers
from teaching.exercises import Exercise, normal, number, pure_rule, rule


def score_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """weights (B, H, T, T), causal, and booleans is_own, is_other (B, T): one and two or more positions of each text."""
    batch, heads, length = (
        number(generator, 3, 4),
        number(generator, 2, 2),
        number(generator, 8, 10),
    )
    causal = torch.ones(length, length).tril().bool()
    scores = 2 * normal(generator, batch, heads, length, length)
    weights = scores.masked_fill(~causal, -torch.inf).softmax(-1)
    others = number(generator, 2, 3)
    is_own, is_other = (torch.zeros(batch, length, dtype=torch.bool) for _ in range(2))
    for row in range(batch):
        places = torch.randperm(length - 1, generator=generator)[: 1 + others]
        is_own[row, places[0]], is_other[row, places[1:]] = True, True
    return [weights, is_own, is_other], {}


def scored(weights: Tensor, is_own: Tensor, is_other: Tensor, rows=None, reduce=None):
    """`head_scores` with other rows (B, H, T) of the weights, or another reduction of (B, H)."""
    last = weights[:, :, -1] if rows is None else rows(weights)
    own = (last * is_own[:, None]).sum(-1)
    other = (last * is_other[:, None]).sum(-1) / is_other.sum(-1)[:, None]
    reduce = reduce or (lambda values: values.mean(0))
    return [reduce(own), reduce(other)]


def other_sums(weights: Tensor, is_own: Tensor, is_other: Tensor) -> list[Tensor]:
    own, other = scored(weights, is_own, is_other)
    return [own, other * is_other.sum(-1)[0]]


SCORE_MISTAKES = {
    "keys and queries are exchanged: rows are queries, and the last axis holds the keys.": partial(
        scored, rows=lambda weights: weights[..., -1]
    ),
    "the first query is used; the last position is the one that predicts.": partial(
        scored, rows=lambda weights: weights[:, :, 0]
    ),
    "all queries are averaged; only the last position predicts the name.": partial(
        scored, rows=lambda weights: weights.mean(2)
    ),
    "the weights on the other names are summed: their mean is wanted, to compare with one name.": (
        other_sums
    ),
    "the weights are averaged over all positions of the text, names or not.": lambda w, o, n: [
        (w[:, :, -1] * mask[:, None]).mean((0, -1)) for mask in (o, n)
    ],
    "all positions but the right name's count as others: is_other says which ones do.": (
        lambda w, o, n: scored(w, o, ~o)
    ),
    "the heads are averaged: keep one score for each head, and average over the texts.": partial(
        scored, reduce=lambda values: values.mean(1)
    ),
    "the scores of each text are returned: average over the texts.": partial(
        scored, reduce=lambda values: values
    ),
    "the scores are summed over the texts: their mean is wanted.": partial(
        scored, reduce=lambda values: values.sum(0)
    ),
    "the order is exchanged: the right name's weight comes first.": lambda w, o, n: scored(w, o, n)[
        ::-1
    ],
    "only the first text counts: average over all of them.": partial(
        scored, reduce=lambda values: values[0]
    ),
}


def silence_inputs(generator: torch.Generator) -> tuple[list, dict]:
    heads, size = number(generator, 3, 4), number(generator, 2, 5)
    size += size == heads
    x = normal(generator, 2, number(generator, 5, 6), heads * size)
    return [x, number(generator, 1, heads - 2), heads], {}


def zeroed(select: Callable) -> Callable:
    """A copy of x (B, T, D) with zeros at select(x, head, heads)."""

    def answer(x: Tensor, head: int, heads: int) -> Tensor:
        changed = x.clone()
        changed[select(x, head, heads)] = 0
        return changed

    return answer


def columns(choose: Callable) -> Callable:
    """`zeroed` at columns choose(head, heads, width of a head)."""
    return zeroed(lambda x, head, heads: (..., choose(head, heads, x.shape[-1] // heads)))


def own_columns(x: Tensor, head: int, heads: int) -> slice:
    """The columns of x (B, T, D) that a head has written."""
    size = x.shape[-1] // heads
    return slice(head * size, (head + 1) * size)


SILENCE_MISTAKES = {
    "single columns far apart are zero: the outputs of a head stand side by side.": columns(
        lambda head, heads, size: slice(head, None, heads)
    ),
    "only one number is zero; a head has D / heads of them.": columns(
        lambda head, heads, size: slice(head, head + 1)
    ),
    "as many columns as there are heads are zero; a head has D / heads of them.": columns(
        lambda head, heads, size: slice(head * heads, (head + 1) * heads)
    ),
    "the next head is zero: heads are counted from 0.": columns(
        lambda head, heads, size: slice((head + 1) * size, (head + 2) * size)
    ),
    "the head before is zero.": columns(
        lambda head, heads, size: slice((head - 1) * size, head * size)
    ),
    "all heads up to this one are zero.": columns(
        lambda head, heads, size: slice(0, (head + 1) * size)
    ),
    "all heads are zero; only one of them is to be silent.": lambda x, head, heads: 0 * x,
    "all other heads are zero, and this one stays.": lambda x, head, heads: (
        x - answers.silence_head(x, head, heads)
    ),
    "a position of the text is zero; zero the head's numbers at all positions.": zeroed(
        lambda x, head, heads: (slice(None), head)
    ),
    "only the last position has changed: the head must be silent at all positions.": zeroed(
        lambda x, head, heads: (slice(None), -1, own_columns(x, head, heads))
    ),
    "the head's numbers are cut out: the width must stay, with zeros there.": lambda x, head, heads: (
        torch.cat([part for i, part in enumerate(x.chunk(heads, -1)) if i != head], -1)
    ),
    "nothing has changed.": lambda x, head, heads: x,
}

SCORES = Exercise(
    "A head that copies puts most of its weight on the right name.",
    (
        rule(
            "head_scores",
            score_inputs,
            scored,
            SCORE_MISTAKES,
        ),
    ),
    reference=answers.head_scores,
)
SILENCE = Exercise(
    "This head adds nothing to the residual stream; the others do what they did.",
    (
        pure_rule(
            "silence_head",
            silence_inputs,
            answers.silence_head,
            SILENCE_MISTAKES,
            "x itself was changed: work on a copy (clone), or the model's own tensor is damaged.",
        ),
    ),
    reference=answers.silence_head,
)
