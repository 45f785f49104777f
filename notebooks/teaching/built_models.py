"""What several lessons ask of a model that is put together from a student's functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from vlmcourse.training.stages import seeded

Parts = Mapping[str, Callable]
"""What the student writes, by name."""


def count_own(parts: Parts, course: Parts) -> int:
    """How many of the parts are not the course's own."""
    return sum(part is not course[name] for name, part in parts.items())


def loss_differences(
    model: nn.Module, built: nn.Module, batch: Mapping[str, Tensor]
) -> dict[str, float]:
    """How far the losses of two models with the same weights lie apart, by name, with the same random numbers."""
    found = []
    for one in (model, built):
        with seeded(0), torch.no_grad():
            found.append(one.losses(batch))
    return {name: float((found[0][name] - found[1][name]).abs()) for name in found[0]}
