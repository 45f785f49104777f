"""Lesson 06, its first half: the checks of the exercises on compute, sizes and their laws."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from teaching.exercises import Exercise, number, rule
from teaching.scaling_split import SPLIT_MISTAKES, best_split, explain_split, split_inputs, uniform
from teaching.scaling_valley import (
    BENT_MISTAKES,
    DENTED_BENT_MISTAKES,
    DENTED_MISTAKES,
    EDGE_MISTAKES,
    SHUFFLED_MISTAKES,
    VALLEY_MISTAKES,
    clear_inputs,
    dented_inputs,
    outside_inputs,
    plain_axis,
    shuffled_inputs,
    valley,
    valley_inputs,
)
from vlmgrader.checks import driver_source

# Exercise 1


def training_tokens(flops: float, parameters: float) -> float:
    return flops / (6 * parameters)


def token_inputs(generator: torch.Generator) -> tuple[list, dict]:
    return [10 ** uniform(generator, 9, 12), float(number(generator, 2000, 90_000))], {}


TOKEN_MISTAKES = {
    "that counts 2 operations per parameter and token: the backward pass takes 4 more.": lambda c, n: (
        c / (2 * n)
    ),
    "that counts 4 operations per parameter and token: the forward pass takes 2 more.": lambda c, n: (
        c / (4 * n)
    ),
    "each parameter and token takes more than one operation.": lambda c, n: c / n,
    "the number of operations per parameter stands on the wrong side of the fraction.": lambda c, n: (
        6 * c / n
    ),
    "those are the operations, not the tokens: solve C = 6 N D for D.": lambda c, n: 6 * n * c,
    "the budget is missing: those are the operations of a single token.": lambda c, n: 6 * n,
    "the fraction is upside down.": lambda c, n: 6 * n / c,
    "that is the number of tokens per parameter: you divided by N twice.": lambda c, n: (
        c / (6 * n**2)
    ),
    "N is missing: divide by the number of parameters, too.": lambda c, n: c / 6,
    "that multiplies by N: write c / (6 * N), with brackets, or divide twice.": lambda c, n: (
        c / 6 * n
    ),
    "C isn't used: 20 tokens per parameter is a rule for the best split (section 4), not an equation.": (
        lambda c, n: 20 * n
    ),
}

# Exercise 2


def block_parameters(width: int, depth: int) -> int:
    attention = 4 * width * width
    feedforward = 2 * width * 4 * width
    return depth * (attention + feedforward)


def size_inputs(generator: torch.Generator) -> tuple[list, dict]:
    return [4 * number(generator, 5, 40), number(generator, 3, 11)], {}


def times(factor: float):
    return lambda width, depth: factor * depth * width**2


SIZE_MISTAKES = {
    "only the attention is counted: the feed-forward's two matrices are missing.": times(4),
    "that is 8 d squared a layer: the attention is missing, or one matrix of the feed-forward.": times(
        8
    ),
    "the attention has a fourth matrix, behind the heads.": times(11),
    "the attention is counted as one matrix: it has four, for queries, keys, values and output.": times(
        9
    ),
    "the feed-forward is four times as wide inside.": times(6),
    "that is one layer: there are `depth`.": lambda width, depth: 12 * width**2,
    "a matrix from d to d has d squared numbers, not d.": lambda width, depth: 12 * depth * width,
    "the attention has four matrices: two of them are missing.": times(10),
    "the feed-forward is one matrix of d by d here: it has two, from d to 4 d and back.": times(5),
    "a matrix from d to 4 d has 4 d squared numbers, not 16 d squared.": times(36),
    "that is twice too much: count weights, not operations.": times(24),
    "the depth is squared: each layer has its own matrices, so multiply by it once.": (
        lambda width, depth: 12 * depth**2 * width**2
    ),
    "the width has the power 3: a matrix has two sides.": lambda width, depth: (
        12 * depth * width**3
    ),
    "leave out the biases: only the matrices count.": lambda width, depth: (
        depth * (12 * width**2 + 9 * width)
    ),
}


def run_pair(target, *args):
    """Driver: two numbers, or a number and a boolean, as plain values."""
    pair = target(*args)
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        return pair

    def plain(value):
        kind = type(value).__name__
        return bool(value) if kind in ("bool", "bool_", "numpy.bool") else float(value)

    return [plain(value) for value in pair]


def pair(function):
    return lambda *args: list(function(*args))


# Exercise 4


def power_law(budgets: Sequence[float], sizes: Sequence[float]) -> tuple[float, float]:
    slope, start = np.polyfit(np.log(budgets), np.log(sizes), 1)
    return float(slope), float(np.exp(start))


def law_inputs(generator: torch.Generator) -> tuple[list, dict]:
    exponent, factor = uniform(generator, 0.3, 0.8), uniform(generator, 1.5, 6)
    budgets = [10 ** (i + uniform(generator, 1.0, 1.6)) for i in range(4)]
    sizes = [factor * c**exponent * math.exp(uniform(generator, -0.2, 0.2)) for c in budgets]
    return [budgets, sizes], {}


def line(x, y, back=np.exp):
    slope, start = np.polyfit(x, y, 1)
    return [float(slope), float(back(start))]


LAW_MISTAKES = {
    "the two results are exchanged: the exponent comes first.": lambda c, n: list(power_law(c, n))[
        ::-1
    ],
    "the factor is still a logarithm: take it back with exp.": lambda c, n: line(
        np.log(c), np.log(n), plain_axis
    ),
    "the factor is still a logarithm to base 10: take it back with a power of 10.": lambda c, n: (
        line(np.log10(c), np.log10(n), plain_axis)
    ),
    "that is the slope from the first to the last point, and the factor is no factor of it.": (
        lambda c, n: [float(np.log(n[-1] / n[0]) / np.log(c[-1] / c[0])), 1.0]
    ),
    "the line runs through the numbers themselves: a power law is a line between logarithms.": lambda c, n: (
        line(c, n, plain_axis)
    ),
    "only the budgets are logarithms: take those of the sizes, too.": lambda c, n: line(
        np.log(c), n, plain_axis
    ),
    "only the sizes are logarithms: take those of the budgets, too.": lambda c, n: line(
        c, np.log(n)
    ),
    "the axes are exchanged: the size is a power of the budget, not the other way round.": lambda c, n: (
        line(np.log(n), np.log(c))
    ),
    "that is the line through the first and last point: use all of them.": lambda c, n: line(
        np.log([c[0], c[-1]]), np.log([n[0], n[-1]])
    ),
    "logarithms to base 10 go back with a power of 10, not with exp.": lambda c, n: line(
        np.log10(c), np.log10(n)
    ),
}


PAIRS = {"driver": driver_source(run_pair)}
EXERCISES = {
    "training_tokens": Exercise(
        "A budget and a size decide how many tokens can be read.",
        (rule("training_tokens", token_inputs, training_tokens, TOKEN_MISTAKES),),
        reference=training_tokens,
    ),
    "block_parameters": Exercise(
        "12 d squared a layer: four matrices of d by d in attention, the size of eight in the feed-forward.",
        (rule("block_parameters", size_inputs, lambda *a: float(block_parameters(*a)), SIZE_MISTAKES),),
        reference=block_parameters,
    ),
    "valley": Exercise(
        "A parabola over log size, and an honest answer where there is no minimum inside.",
        (
            rule("valley", clear_inputs, pair(valley), VALLEY_MISTAKES, **PAIRS),
            rule("valley", outside_inputs, pair(valley), EDGE_MISTAKES, **PAIRS),
            rule("valley", lambda g: valley_inputs(g, bend=-1.0), pair(valley), BENT_MISTAKES, **PAIRS),
            rule("valley", shuffled_inputs, pair(valley), SHUFFLED_MISTAKES, **PAIRS),
            rule("valley", lambda g: dented_inputs(g, bent=False), pair(valley), DENTED_MISTAKES, **PAIRS),
            rule("valley", lambda g: dented_inputs(g, bent=True), pair(valley), DENTED_BENT_MISTAKES, **PAIRS),
        ),
        reference=valley,
    ),
    "power_law": Exercise(
        "The slope between logarithms is the exponent.",
        (rule("power_law", law_inputs, pair(power_law), LAW_MISTAKES, **PAIRS),),
        reference=power_law,
    ),
    "best_split": Exercise(
        "The loss formula alone gives the best size for a budget.",
        (
            rule("best_split", split_inputs, pair(best_split), SPLIT_MISTAKES, tolerance=1e-2,
                 explain=explain_split, **PAIRS),
        ),
        reference=best_split,
    ),
}  # fmt: skip
