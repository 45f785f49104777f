"""Lesson 06: what its fifth exercise is tried on, the best split of a budget by a formula, and common mistakes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

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


def bracketed(size: Callable):
    """best_split with its brackets elsewhere. size: (balance, C / 6, alpha, beta) -> N."""

    def of(flops, fit):
        alpha, beta = fit["alpha"], fit["beta"]
        n = size(alpha * fit["A"] / (beta * fit["B"]), flops / 6, alpha, beta)
        return [n, flops / (6 * n)]

    return of


SPLIT_MISTAKES = {
    "parameters and tokens are exchanged: parameters come first.": lambda c, f: split(c, f)[::-1],
    "the budget's exponent is alpha / (alpha + beta); for the parameters it is beta / (alpha + beta).": wrong(
        swap=True
    ),
    "the balance alpha A / (beta B) is upside down; or, if you search: N and D stand in the loss with "
    "negative powers, A / N^alpha.": wrong(invert=True),
    "C = 6 N D: the 6 is missing.": wrong(six=1.0, tokens_six=1.0),
    "C = 6 N D: the 6 is missing in the parameters.": wrong(six=1.0),
    "C = 6 N D: the 6 is missing in the tokens.": wrong(tokens_six=1.0),
    "an exponent needs brackets: x ** 1 / (a + b) is (x ** 1) / (a + b), and 1 / a + b is (1 / a) + b.": (
        bracketed(lambda balance, c, alpha, beta: balance * c**beta / (alpha + beta)),
        bracketed(lambda balance, c, a, b: balance ** (1 / (a + b)) * c**b / (a + b)),
        bracketed(lambda balance, c, alpha, beta: (balance * c**beta) ** (1 / alpha + beta)),
    ),
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


def explain_split(got: object, wanted: list, flops: float, fit: Mapping[str, float]) -> str | None:
    """What N and D say about the code, first whether they spend the budget."""
    if not isinstance(got, list) or len(got) != 2 or not all(isinstance(one, float) for one in got):
        return None
    if not all(math.isfinite(one) and one > 0 for one in got):
        return f"N and D must be positive numbers; found {got[0]:.3g} and {got[1]:.3g}."
    parameters, tokens = got
    spent = 6 * parameters * tokens
    both = f"your N = {parameters:.4g} parameters and D = {tokens:.4g} tokens"
    if abs(spent / flops - 1) > 0.02:
        return f"{both} don't spend the budget: 6 N D = {spent:.3g}, but C = {flops:.3g}."
    best = f"the lowest loss is at N = {wanted[0]:.4g} and D = {wanted[1]:.4g}"
    if abs(math.log(parameters / wanted[0])) < 0.2:
        return f"{both} are near; {best}. If you search on a grid, make it finer."
    return (
        f"{both} spend the budget, but {best}. If you search on a grid, is it wide enough, "
        "and do both terms fall, one with N and one with D? If you compute, look at the exponents."
    )
