"""Lesson 01's checks of attention and positions: inputs, and the mistakes that have a name."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import attention_answers as answers
from teaching.exercises import (
    Exercise,
    normal,
    number,
    rule,
    run_with_gradients,
)
from vlmgrader.checks import driver_source


def variant(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None = None,
    dim: int = -1,
    softmax: bool = True,
) -> tuple[Tensor, Tensor]:
    """`attention` with another scale, a softmax over another axis, or none."""
    scores = q @ k.transpose(-1, -2) * (scale if scale is not None else q.shape[-1] ** -0.5)
    weights = scores.softmax(dim) if softmax else scores
    return weights @ v, weights


def with_weights(v: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    return weights @ v, weights


def attention_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """q, k, v of random sizes; numbers of queries and of keys and the width are different, and the width is not 8."""
    B, H, D = number(generator, 2, 3), number(generator, 2, 4), number(generator, 9, 12)
    Q, K = number(generator, 2, 5), number(generator, 5, 7)
    return [normal(generator, B, H, length, D) for length in (Q, K, K)], {}


ATTENTION_MISTAKES = {
    "the dot products are not scaled: the larger d, the larger they are.": lambda q, k, v: variant(
        q, k, v, 1.0
    ),
    "the dot products are divided by d: the formula has its square root.": lambda q, k, v: variant(
        q, k, v, 1 / q.shape[-1]
    ),
    "the dot products are multiplied by the square root of d; they must be divided by it.": (
        lambda q, k, v: variant(q, k, v, q.shape[-1] ** 0.5)
    ),
    "the scale is a fixed number (8 is right for d = 64 only): take the width d of a head.": (
        lambda q, k, v: variant(q, k, v, 1 / 8)
    ),
    "k is reshaped: that keeps the order of its numbers and mixes the keys. Exchange its last two axes (transpose).": (
        lambda q, k, v: variant(
            q, k.flatten(-2).unflatten(-1, (k.shape[-1], -1)).transpose(-1, -2), v
        )
    ),
    "the scale is made from another axis (number of keys, queries, heads or examples), not from the width d of a head.": (
        lambda q, k, v: variant(q, k, v, q.shape[0] ** -0.5),
        lambda q, k, v: variant(q, k, v, k.shape[-2] ** -0.5),
        lambda q, k, v: variant(q, k, v, q.shape[-2] ** -0.5),
        lambda q, k, v: variant(q, k, v, q.shape[1] ** -0.5),
    ),
    "the softmax runs over the queries: the weights of one query must sum to 1 over the keys.": (
        lambda q, k, v: variant(q, k, v, dim=-2)
    ),
    "the softmax runs over the heads or the batch: the weights of one query must sum to 1 over the keys.": (
        lambda q, k, v: variant(q, k, v, dim=1),
        lambda q, k, v: variant(q, k, v, dim=0),
    ),
    "the weights are divided by the square root of d; divide the scores, before the softmax.": (
        lambda q, k, v: with_weights(v, (q @ k.transpose(-1, -2)).softmax(-1) / q.shape[-1] ** 0.5)
    ),
    "these are logarithms of the weights: softmax, not log_softmax.": lambda q, k, v: with_weights(
        v, _scores(q, k).log_softmax(-1)
    ),
    "a sigmoid judges each key alone; the keys compete, so the weights of one query sum to 1: softmax.": (
        lambda q, k, v: with_weights(v, _scores(q, k).sigmoid())
    ),
    "the second value holds the scores; the weights, after the softmax, are wanted.": (
        lambda q, k, v: (variant(q, k, v)[0], _scores(q, k))
    ),
    "the scores are used as weights without a softmax.": lambda q, k, v: variant(
        q, k, v, softmax=False
    ),
    "the order is exchanged: return the result first, then the weights.": lambda q, k, v: variant(
        q, k, v
    )[::-1],
    "return both, the result and the weights.": (
        lambda q, k, v: variant(q, k, v)[0],
        lambda q, k, v: variant(q, k, v)[1],
    ),
    "the weights are applied to the keys instead of the values.": lambda q, k, v: variant(q, k, k),
}


def additive_attention(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
    """The mistake of several public codes: the most negative number is added to forbidden scores."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    lowest = torch.finfo(scores.dtype).min
    return (scores + torch.zeros_like(scores).masked_fill(~allowed, lowest)).softmax(-1) @ v


def masked_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """q, k, v and a mask with one empty row, and a row that may attend to everything."""
    B, H, L, D = number(generator, 1, 2), number(generator, 1, 2), number(generator, 4, 6), 8
    allowed = torch.rand(B, 1, L, L, generator=generator) < 0.5
    allowed[..., 0, :], allowed[..., 1, :], allowed[..., 2, 0] = True, False, True
    return [*(normal(generator, B, H, L, D) for _ in range(3)), allowed], {}


def _scores(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])


def infinite_attention(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
    """Right values, NaN gradients: -inf is added before the softmax, and zero replaces NaN after it."""
    forbidden = torch.zeros(allowed.shape).masked_fill(~allowed, -torch.inf)
    return (_scores(q, k) + forbidden).softmax(-1).nan_to_num() @ v


def late_zeros(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
    """Right values, NaN gradients of v: zero replaces NaN after the product with v."""
    return (_scores(q, k).masked_fill(~allowed, -torch.inf).softmax(-1) @ v).nan_to_num()


def counted_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """`masked_inputs` behind the number of arguments whose gradient is wanted."""
    args, named = masked_inputs(generator)
    return [3, *args], named


def gradients(formula: Callable, first: int, *args) -> list[Tensor]:
    """Gradients of formula(*args), summed, by its `first` arguments."""
    return run_with_gradients(formula, first, *args)


MASKED_MISTAKES = {
    "the mask is not used.": lambda q, k, v, a: variant(q, k, v)[0],
    "the mask is used upside down: True means that the query may attend to the key.": (
        lambda q, k, v, a: answers.masked_attention(q, k, v, ~a)
    ),
    "the mask is transposed: its rows are queries, its columns keys.": lambda q, k, v, a: (
        answers.masked_attention(q, k, v, a.transpose(-1, -2))
    ),
    "a query that may attend to nothing gives NaN: a softmax over no key is 0 / 0. It must give zero.": (
        lambda q, k, v, a: _scores(q, k).masked_fill(~a, -torch.inf).softmax(-1) @ v
    ),
    "a query that may attend to nothing gets the mean of all values: where all scores are equally small, the "
    "softmax is uniform. It must give zero.": additive_attention,
    "forbidden weights are set to zero after the softmax, so a row no longer sums to 1.": (
        lambda q, k, v, a: (_scores(q, k).softmax(-1) * a) @ v
    ),
    "forbidden scores are set to 0; exp(0) is 1, so those keys still get weight.": (
        lambda q, k, v, a: (_scores(q, k) * a).softmax(-1) @ v,
        lambda q, k, v, a: ((_scores(q, k) * a).softmax(-1) * a.any(-1, keepdim=True)) @ v,
    ),
    "the dot products are not scaled by the square root of d.": lambda q, k, v, a: (
        answers.masked_attention(q * math.sqrt(q.shape[-1]), k, v, a)
    ),
}


def positions_variant(
    length: int, width: int, start: int = 0, step: float = 2, sign: int = -1
) -> Tensor:
    """(length, width): sin and cos of position / 10000^(2 i / width), alternating (Vaswani et al. 2017, Sec. 3.5)."""
    position = torch.arange(start, start + length, dtype=torch.float32)[:, None]
    factor = 10_000 ** (step * torch.arange(width // 2) / width)
    angle = position * factor if sign > 0 else position / factor
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


def positions_inputs(generator: torch.Generator) -> tuple[list, dict]:
    return [number(generator, 5, 9), 2 * number(generator, 3, 6)], {}


def _halves(length: int, width: int) -> Tensor:
    table = positions_variant(length, width)
    return torch.cat([table[:, 0::2], table[:, 1::2]], dim=1)


def _own_exponents(length: int, width: int) -> Tensor:
    """Each column has its own exponent, 2i for the sine and 2i + 1 for the cosine."""
    column = torch.arange(width)
    angle = torch.arange(length, dtype=torch.float32)[:, None] / 10_000.0 ** (column / width)
    return torch.where(column % 2 == 0, angle.sin(), angle.cos())


POSITIONS_MISTAKES = {
    "sines fill the first half and cosines the second; in the formula they alternate.": _halves,
    "sine and cosine are exchanged: even columns are sines.": lambda L, D: (
        positions_variant(L, D).unflatten(1, (-1, 2)).flip(-1).flatten(1)
    ),
    "the first position is 0, not 1.": lambda L, D: positions_variant(L, D, start=1),
    "the exponent grows half as fast as it should: it is 2i / D for the i-th pair.": lambda L, D: (
        positions_variant(L, D, step=1)
    ),
    "the sine and the cosine of a pair have the same angle; yours differ.": _own_exponents,
    "the position is multiplied by 10000^(2i / D); it must be divided by it.": lambda L, D: (
        positions_variant(L, D, sign=1)
    ),
    "each pair has a sine and a cosine; yours has two sines.": lambda L, D: positions_variant(L, D)[
        :, 0::2
    ].repeat_interleave(2, dim=1),
    "the exponent grows twice as fast as it should: it is 2i / D for the i-th pair.": lambda L, D: (
        positions_variant(L, D, step=4)
    ),
    "the table is transposed: rows are positions.": lambda L, D: positions_variant(L, D).T,
    "the columns stand in the opposite order: the fastest oscillation comes first.": lambda L, D: (
        positions_variant(L, D).unflatten(1, (-1, 2)).flip(1).flatten(1)
    ),
}


ATTENTION = Exercise(
    "Each row of weights sums to 1, and each result is a weighted mean of the values.",
    (
        rule(
            "attention",
            attention_inputs,
            answers.attention,
            ATTENTION_MISTAKES,
        ),
    ),
    reference=answers.attention,
)
MASKED = Exercise(
    "Forbidden keys get no weight; a query without any key gives zero, and its gradient is zero.",
    (
        rule(
            "masked_attention",
            masked_inputs,
            answers.masked_attention,
            MASKED_MISTAKES,
        ),
        rule(
            "masked_attention",
            counted_inputs,
            partial(gradients, answers.masked_attention),
            {
                "the values are right, but no gradient arrives at q, k and v: a detach or no_grad cuts it.": (
                    lambda first, *args: [torch.zeros_like(value) for value in args[:first]]
                ),
                "the values are right, but the gradient is NaN: where -inf was added to all scores of a row, the softmax "
                "is NaN, and so is its gradient. Fill forbidden scores instead (masked_fill).": (
                    partial(gradients, infinite_attention)
                ),
                "the values are right, but the gradient of v is NaN: zero replaces the NaN of an empty row only after "
                "the product with v. Replace it in the weights, before that product.": (
                    partial(gradients, late_zeros)
                ),
            },
            driver=driver_source(run_with_gradients),
            tolerance=1e-3,
        ),
    ),
    reference=answers.masked_attention,
)
POSITIONS = Exercise(
    "Every position has its own vector, and a shift by k positions is the same rotation everywhere.",
    (
        rule(
            "sinusoidal_positions",
            positions_inputs,
            answers.sinusoidal_positions,
            POSITIONS_MISTAKES,
        ),
    ),
    reference=answers.sinusoidal_positions,
)
