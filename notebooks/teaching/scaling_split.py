"""Lesson 06: what its fifth exercise is tried on, the best split of a budget by a formula, and common mistakes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import torch


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * torch.rand((), generator=generator).item()


def best_split(flops: float, fit: Mapping[str, float]) -> tuple[float, float]:
    alpha, beta = fit["alpha"], fit["beta"]
    balance = alpha * fit["A"] / (beta * fit["B"])
    parameters = balance ** (1 / (alpha + beta)) * (flops / 6) ** (beta / (alpha + beta))
    return parameters, flops / (6 * parameters)


def split_inputs(generator: torch.Generator) -> tuple[list, dict]:
    fit = {
        "E": uniform(generator, 1.5, 2),
        "A": uniform(generator, 300, 600),
        "B": uniform(generator, 800, 2000),
        "alpha": uniform(generator, 0.3, 0.34),
        "beta": uniform(generator, 0.36, 0.4),
    }
    return [10 ** uniform(generator, 19, 24), fit], {}


def split(flops, fit, swap=False, invert=False, six=6.0, rooted=True, ratio=True, tokens_six=6.0):
    """best_split with single steps done wrongly."""
    alpha, beta = fit["alpha"], fit["beta"]
    balance = (alpha if ratio else 1) * fit["A"] / ((beta if ratio else 1) * fit["B"])
    balance = 1 / balance if invert else balance
    power = (alpha if swap else beta) / (alpha + beta)
    n = balance ** (1 / (alpha + beta) if rooted else 1) * (flops / six) ** power
    return [n, flops / (tokens_six * n)]


def wrong(**how):
    return lambda flops, fit: split(flops, fit, **how)


SPLIT_MISTAKES = {
    "parameters and tokens are exchanged: parameters come first.": lambda c, f: split(c, f)[::-1],
    "the budget's exponent is alpha / (alpha + beta); for the parameters it is beta / (alpha + beta).": wrong(
        swap=True
    ),
    "the balance alpha A / (beta B) is upside down.": wrong(invert=True),
    "C = 6 N D: the 6 is missing.": wrong(six=1.0, tokens_six=1.0),
    "C = 6 N D: the 6 is missing in the parameters.": wrong(six=1.0),
    "C = 6 N D: the 6 is missing in the tokens.": wrong(tokens_six=1.0),
    "the balance alpha A / (beta B) needs the power 1 / (alpha + beta).": wrong(rooted=False),
    "that equates A / N^alpha and B / D^beta; at the minimum their *derivatives* balance.": wrong(
        ratio=False
    ),
    "that is N = D, the square root of C / 6: the constants are not used.": lambda c, f: (
        [math.sqrt(c / 6)] * 2
    ),
    "that is 20 tokens per parameter, whatever the constants are: minimise this loss.": lambda c, f: (
        [math.sqrt(c / 120), 20 * math.sqrt(c / 120)]
    ),
}


def clear_split_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Inputs on which no two of the formulas come within two per cent of each other: an answer may be off by one."""
    while True:
        args, options = split_inputs(generator)
        values = [list(best_split(*args)), *(one(*args) for one in SPLIT_MISTAKES.values())]
        pairs = itertools.combinations(values, 2)
        if all(any(abs(a - b) > 0.02 * abs(b) for a, b in zip(x, y)) for x, y in pairs):
            return args, options
