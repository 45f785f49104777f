"""Lesson 11: the checks of the exercises on the Perceiver's cost and its positions."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import perceiver_reference as reference
from teaching.exercises import Exercise, number, rule

# 1. Pairs.


def pair_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """M inputs, R latents, K repeats, L self-attends."""
    R = number(generator, 5, 19)
    return [
        number(generator, 3, 9) * R + 1,
        R,
        number(generator, 2, 4),
        number(generator, 5, 7),
    ], {}


def pairs(M, R, K, L, perceiver=None, transformer=None) -> list:
    """attention_pairs with another formula for one of both."""
    right = reference.attention_pairs(M, R, K, L)
    given = (perceiver, transformer)
    return [one if of is None else of(M, R, K, L) for one, of in zip(right, given)]


of_perceiver = lambda formula: partial(pairs, perceiver=formula)  # noqa: E731
of_transformer = lambda formula: partial(pairs, transformer=formula)  # noqa: E731
PAIR_MISTAKES = {
    "the two numbers are exchanged: the Perceiver's comes first.": lambda *args: pairs(*args)[::-1],
    "the Perceiver's self-attends are counted once; all K repeats have L of them.": of_perceiver(
        lambda M, R, K, L: K * M * R + L * R**2
    ),
    "the Perceiver's cross-attends are counted once; there are K of them.": of_perceiver(
        lambda M, R, K, L: M * R + K * L * R**2
    ),
    "each repeat has L self-attends; yours has one.": of_perceiver(
        lambda M, R, K, L: K * (M * R + R**2)
    ),
    "the Perceiver's self-attends run among the latents, R of them, not between latents and inputs.": (
        of_perceiver(lambda M, R, K, L: K * (1 + L) * M * R)
    ),
    "the Perceiver's self-attends run among its latents, not among the inputs.": of_perceiver(
        lambda M, R, K, L: K * (M * R + L * M**2)
    ),
    "the self-attends are missing: only the cross-attends are counted.": of_perceiver(
        lambda M, R, K, L: K * M * R
    ),
    "only the self-attends of the Perceiver are counted; its cross-attends have pairs, too.": (
        of_perceiver(lambda M, R, K, L: K * L * R**2)
    ),
    "each cross-attend has R queries and M keys: M times R pairs, not their sum.": of_perceiver(
        lambda M, R, K, L: K * (M + R + L * R**2)
    ),
    "the first repeat alone is counted; there are K.": of_perceiver(
        lambda M, R, K, L: M * R + L * R**2
    ),
    "the Transformer is as deep as the Perceiver: one layer for each cross-attend, too.": of_transformer(
        lambda M, R, K, L: K * L * M**2
    ),
    "the Transformer has K times (1 + L) layers; yours has fewer.": (
        of_transformer(lambda M, R, K, L: M**2),
        of_transformer(lambda M, R, K, L: (1 + L) * M**2),
        of_transformer(lambda M, R, K, L: L * M**2),
        of_transformer(lambda M, R, K, L: (K + L) * M**2),
        of_transformer(lambda M, R, K, L: K * M**2),
    ),
    "in the Transformer each input attends to all M inputs; there are no latents.": (
        of_transformer(lambda M, R, K, L: K * (1 + L) * M * R),
        of_transformer(lambda M, R, K, L: K * (1 + L) * R**2),
        of_transformer(lambda M, R, K, L: K * (1 + L) * M),
    ),
}


def explain_pairs(got: object, wanted: list, *_) -> str | None:
    if isinstance(got, (int, float)):
        return "that is one number; wanted are two: the Perceiver's pairs, and the Transformer's."
    if isinstance(got, (tuple, list)) and any(isinstance(one, float) for one in got):
        return "pairs are whole numbers: multiply integers, without /."
    return None


# 2. Fourier features.


def fourier_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Positions with one to three coordinates."""
    d = number(generator, 2, 3)
    positions = 2 * torch.rand(2, 4, d, generator=generator) - 1
    return [positions, number(generator, 4, 6), float(number(generator, 5, 9) * 2)], {}


def fourier(positions, bands, resolution, frequencies=None, scale=math.pi, join=None) -> Tensor:
    """fourier_features with other frequencies, factor or order."""
    f = torch.linspace(1, resolution / 2, bands)
    f = f if frequencies is None else frequencies(bands, resolution)
    angles = scale * positions[..., None] * f
    parts = angles.sin(), angles.cos()
    if join is not None:
        return join(*parts, positions)
    return torch.cat([*(part.flatten(-2) for part in parts), positions], dim=-1)


def spread(low: float = 1, high: Callable = lambda r: r / 2) -> Callable:
    return partial(fourier, frequencies=lambda n, r: torch.linspace(low, high(r), n))


def joined(order: Callable) -> Callable:
    return partial(fourier, join=order)


FOURIER_MISTAKES = {
    "the positions themselves are missing at the end.": joined(
        lambda s, c, x: torch.cat([s.flatten(-2), c.flatten(-2)], -1)
    ),
    "the cosines are missing.": joined(lambda s, c, x: torch.cat([s.flatten(-2), x], -1)),
    "the sines are missing.": joined(lambda s, c, x: torch.cat([c.flatten(-2), x], -1)),
    "the order of the parts is another: first all sines, then all cosines, then the positions.": (
        joined(lambda s, c, x: torch.cat([c.flatten(-2), s.flatten(-2), x], -1)),
        joined(lambda s, c, x: torch.cat([x, s.flatten(-2), c.flatten(-2)], -1)),
        joined(lambda s, c, x: torch.cat([torch.stack([s, c], -1).flatten(-3), x], -1)),
        joined(lambda s, c, x: torch.cat([torch.cat([s, c], -1).flatten(-2), x], -1)),
        joined(lambda s, c, x: torch.cat([torch.cat([s, c, x[..., None]], -1).flatten(-2)], -1)),
    ),
    "each coordinate's bands belong together; yours come band by band.": joined(
        lambda s, c, x: torch.cat([s.mT.flatten(-2), c.mT.flatten(-2), x], -1)
    ),
    "the factor pi is missing in the angles.": partial(fourier, scale=1.0),
    "the factor is pi, not 2 pi: positions run from -1 to 1.": partial(fourier, scale=2 * math.pi),
    "the highest frequency is resolution / 2, not the resolution.": spread(high=lambda r: r),
    "the lowest frequency is 1, not 0.": spread(low=0),
    "the frequencies are powers of 2; they lie at equal distances from 1 to resolution / 2.": partial(
        fourier, frequencies=lambda n, r: 2.0 ** torch.arange(n)
    ),
    "the frequencies are 1, 2, 3, ...; they reach from 1 to resolution / 2.": partial(
        fourier, frequencies=lambda n, r: 1.0 + torch.arange(n)
    ),
    "the frequencies grow by equal factors; they lie at equal distances.": partial(
        fourier,
        frequencies=lambda n, r: torch.logspace(0, math.log10(r / 2), n),
    ),
    "the last frequency is missing: resolution / 2 belongs to the bands.": partial(
        fourier, frequencies=lambda n, r: torch.linspace(1, r / 2, n + 1)[:-1]
    ),
}  # fmt: skip


EXERCISES = {
    "attention_pairs": Exercise(
        "The Perceiver's cost grows with M, the Transformer's with its square.",
        (
            rule(
                "attention_pairs",
                pair_inputs,
                pairs,
                PAIR_MISTAKES,
                explain=explain_pairs,
            ),
        ),
        reference=reference.attention_pairs,
    ),
    "fourier_features": Exercise(
        "Low frequencies give the rough position, high ones the exact one.",
        (rule("fourier_features", fourier_inputs, fourier, FOURIER_MISTAKES),),
        reference=reference.fourier_features,
    ),
}
