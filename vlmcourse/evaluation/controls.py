"""The controls that could refute a score, the spread over seeds, and verdicts by a stated rule."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@contextmanager
def eval_mode(model: nn.Module):
    """Evaluation mode without gradients; training mode comes back afterwards."""
    was = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was)


@dataclass(frozen=True)
class Controls:
    """A score beside what it would be without seeing: one grey image for all, other pairs' images, and chance."""

    model: float
    blind: float
    shuffled: float
    chance: float

    def __str__(self) -> str:
        return f"{self.model:.3f} (blind {self.blind:.3f}, shuffled images {self.shuffled:.3f}, chance {self.chance:.3f})"


def measure_controls(
    score: Callable[[Tensor], float], pixel_values: Tensor, chance: float
) -> Controls:
    """score(pixel_values) with the right images, with grey ones, and with each image replaced by another pair's.

    The shuffle is one big cycle in random order, so no image stays where it belongs.
    """
    order = torch.randperm(len(pixel_values), generator=torch.Generator().manual_seed(0))
    shuffled = torch.empty_like(order)
    shuffled[order] = order.roll(1)
    return Controls(
        score(pixel_values),
        score(torch.zeros_like(pixel_values)),
        score(pixel_values[shuffled]),
        chance,
    )


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of the same measurement over seeds (or draws)."""

    mean: float
    std: float
    values: tuple[float, ...]

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.std:.3f} ({len(self.values)} runs)"


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation (0 for a single value). Raises ValueError without values."""
    values = tuple(map(float, values))
    if not values:
        raise ValueError("a spread of no values; expected at least one.")
    return Spread(
        statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0, values
    )


def _gaps(first: Sequence[float], second: Sequence[float]) -> tuple[list[float], float]:
    """First minus second of each seed, and the pooled standard deviation."""
    if len(first) != len(second) or not first:
        raise ValueError(
            f"{len(first)} and {len(second)} values; expected one of each for each seed."
        )
    pooled = math.sqrt((spread(first).std ** 2 + spread(second).std ** 2) / 2)
    return [a - b for a, b in zip(first, second)], pooled


def verdict_of_equality(
    first: Sequence[float], second: Sequence[float], margin: float = 0.05
) -> str:
    """Does a measurement repeat a paper's claim that two scores are equal? One value of each for each seed.

    "agrees": the gap is at most `margin` in every seed; "disagrees": `verdict` finds one of them higher; "within noise": neither.
    A single seed is within noise. Raises ValueError for unequal or no numbers of seeds.
    """
    gaps, _ = _gaps(first, second)
    if len(gaps) > 1 and max(map(abs, gaps)) <= margin:
        return "agrees"
    return "within noise" if verdict(first, second) == "within noise" else "disagrees"


def verdict(higher: Sequence[float], lower: Sequence[float]) -> str:
    """Does a measurement repeat a paper's claim that the first is higher than the second? One value of each for each seed.

    "agrees": it is in every seed, and the mean gap is above two pooled standard deviations; "disagrees": so the other way round;
    "within noise": neither. A single seed is within noise. Raises ValueError for unequal or no numbers of seeds.
    """
    gaps, pooled = _gaps(higher, lower)
    if len(gaps) < 2 or abs(statistics.fmean(gaps)) <= 2 * pooled:
        return "within noise"
    if all(gap > 0 for gap in gaps):
        return "agrees"
    return "disagrees" if all(gap < 0 for gap in gaps) else "within noise"
