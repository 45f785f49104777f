"""Lesson 06: what the exercise on the lowest point of a curve is tried on, the best size, and common mistakes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from teaching.exercises import number
from teaching.scaling_split import uniform


def valley(sizes: Sequence[float], losses: Sequence[float]) -> tuple[float, bool]:
    x = np.log(sizes)
    bend, slope, _ = np.polyfit(x, losses, 2)
    best = -slope / (2 * bend)
    inside = bool(bend > 0 and x.min() < best < x.max())
    if not inside:
        best = x[np.argmin(losses)]
    return float(np.exp(best)), inside


def valley_inputs(
    generator: torch.Generator, centre: tuple[float, float] = (-0.25, 0.25), bend: float = 1.0
) -> tuple[list, dict]:
    """Losses near a parabola over log size, at five sizes; centre: of its vertex, 1 = the edge."""
    middle, step = uniform(generator, 8, 11), uniform(generator, 0.4, 0.7)
    sizes = [math.exp(middle + step * (i - 2 + uniform(generator, -0.2, 0.2))) for i in range(5)]
    vertex = middle + 2 * step * uniform(generator, *centre)
    curve = bend * uniform(generator, 0.1, 0.3)
    losses = [
        2 + curve * (math.log(size) - vertex) ** 2 + uniform(generator, -0.003, 0.003)
        for size in sizes
    ]
    return [sizes, losses], {}


def plain_axis(values):
    return values


def vertex(sizes, losses, axis=np.log, back=np.exp, factor=-0.5, inside=True):
    bend, slope, _ = np.polyfit(axis(np.array(sizes)), losses, 2)
    return [float(back(factor * slope / bend)), inside]


def lowest(sizes, losses, inside=True):
    return [float(sizes[int(np.argmin(losses))]), inside]


VALLEY_MISTAKES = {
    "that is the size with the lowest measured loss: the parabola's lowest point lies between sizes, "
    "or you compared ln N with N.": (
        lambda s, y: lowest(s, y),
        lambda s, y: lowest(s, y, False),
    ),
    "the parabola runs over the size: it should run over its logarithm.": (
        lambda s, y: vertex(s, y, plain_axis, plain_axis)
    ),
    "that is the logarithm of the best size: take it back with exp.": lambda s, y: vertex(
        s, y, back=plain_axis
    ),
    "logarithms to base 10 go back with a power of 10, not with exp.": lambda s, y: vertex(
        s, y, axis=np.log10
    ),
    "the lowest point of a x^2 + b x + c has a minus sign: -b / (2 a).": lambda s, y: vertex(
        s, y, factor=0.5, back=lambda x: np.exp(min(x, 500))
    ),
    "the lowest point of a x^2 + b x + c is -b / (2 a): the 2 is missing.": lambda s, y: vertex(
        s, y, factor=-1, back=lambda x: np.exp(min(x, 500))
    ),
    "the size is right, but here the lowest point does lie between the smallest and largest size.": (
        lambda s, y: vertex(s, y, inside=False)
    ),
}


def nearer_edge(sizes, losses, inside=False):
    at = np.log(vertex(sizes, losses)[0])
    return [float(min((sizes[0], sizes[-1]), key=lambda size: abs(np.log(size) - at))), inside]


def clear_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Inputs on which a parabola over the size itself has a minimum inside, too: so that it is called by its own name."""
    while True:
        (sizes, losses), _ = valley_inputs(generator)
        bend, slope, _ = np.polyfit(sizes, losses, 2)
        if bend > 0 and min(sizes) < -slope / (2 * bend) < max(sizes):
            return [sizes, losses], {}


HIGHEST = {
    "that size has the highest measured loss: return the one with the lowest, with False.": (
        lambda s, y: lowest(s, -np.array(y), inside=False)
    ),
}
EDGE_MISTAKES = HIGHEST | {
    "the parabola's lowest point lies outside of the sizes that were tried: return the best measured size "
    "instead, with False.": (
        lambda s, y: vertex(s, y),
        lambda s, y: vertex(s, y, inside=False),
    ),
    "the size is right; but the minimum is not between the sizes that were tried: False.": lowest,
}
BENT_MISTAKES = HIGHEST | {
    "here the parabola opens downward, so its vertex is the *highest* point: return the best measured size, "
    "with False.": (
        lambda s, y: vertex(s, y),
        lambda s, y: vertex(s, y, inside=False),
    ),
    "the size is right; but a parabola that opens downward has no minimum: False.": lowest,
    "that is the edge nearer to the vertex; the size with the lowest *measured* loss is asked for.": (
        lambda s, y: nearer_edge(s, y),
        lambda s, y: nearer_edge(s, y, inside=True),
    ),
}
SHUFFLED_MISTAKES = {
    "here the sizes don't come in order, and the lowest point does lie between the smallest and the largest: "
    "compare with min(x) and max(x), not with the first and the last.": (
        lambda s, y: lowest(s, y, inside=False)
    ),
}


def shuffled_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Sizes out of order, so that the parabola's lowest point isn't between the first and the last."""
    while True:
        (sizes, losses), _ = valley_inputs(generator)
        order = torch.randperm(len(sizes), generator=generator).tolist()
        sizes, losses = [sizes[i] for i in order], [losses[i] for i in order]
        best, _ = valley(sizes, losses)
        if not min(sizes[0], sizes[-1]) < best < max(sizes[0], sizes[-1]):
            return [sizes, losses], {}


def outside_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Losses whose parabola has its lowest point beyond the smallest or the largest size."""
    centre = [(1.6, 2.2), (-2.2, -1.6)][int(torch.randint(2, (), generator=generator))]
    return valley_inputs(generator, centre)


def dented_inputs(generator: torch.Generator, bent: bool) -> tuple[list, dict]:
    """Losses whose lowest one is measured between the smallest and the largest size, but whose parabola has no lowest point there.

    bent  it opens downward, with its vertex inside; else its lowest point lies outside
    """
    while True:
        if bent:
            (sizes, losses), _ = valley_inputs(generator, bend=-1.0)
            losses[number(generator, 1, 3)] = min(losses) - uniform(generator, 0.01, 0.05)
        else:
            (sizes, losses), _ = valley_inputs(generator, centre=(1.8, 3))
            losses[-1] = losses[-2] + uniform(generator, 0.005, 0.02)
        bend, slope, _ = np.polyfit(x := np.log(sizes), losses, 2)
        inside = x.min() < -slope / (2 * bend) < x.max()
        if 0 < np.argmin(losses) < 4 and (bend < 0 if bent else bend > 0) and inside == bent:
            return [sizes, losses], {}


def dented_mistakes(why: str) -> dict:
    """What to say to an answer that looks where the lowest loss was measured. why: of the parabola."""
    return {
        "the lowest *measured* loss lies between the smallest and the largest size here, and yet the parabola "
        f"{why}. The parabola decides, not the measured losses: return the best measured size, with False.": (
            lambda s, y: vertex(s, y),
            lambda s, y: vertex(s, y, inside=False),
        ),
        "the size is right, and it lies inside; but the parabola has no lowest point inside: False.": lowest,
    }


DENTED_MISTAKES = dented_mistakes("has its lowest point outside")
DENTED_BENT_MISTAKES = dented_mistakes("opens downward and has no lowest point")
