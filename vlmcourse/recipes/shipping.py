"""The command `vlmcourse train --ship`: stages into the package, one or all, each behind those it is built on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from vlmcourse.recipes.recipe import get, names
from vlmcourse.training import stages
from vlmcourse.training.fit import Step
from vlmcourse.training.scale import Scale


@dataclass(frozen=True)
class Shipped:
    """A stage in the package: its report on held-out data, its file, the seconds that its training took."""

    name: str
    report: dict
    path: Path
    seconds: float


def shipped_names() -> list[str]:
    """Recipes whose stages the package holds, each behind those it is built on."""
    in_order: list[str] = []

    def add(name: str) -> None:
        for needed in built_on(name):
            add(needed)
        if name not in in_order:
            in_order.append(name)

    for name in names():
        if (stages.SHIPPED / f"{name}.safetensors").exists():
            add(name)
    return in_order


def built_on(name: str) -> list[str]:
    """Recipes whose stages this one takes, as its setup asks for them."""
    scale, taken = Scale.of("smoke"), []

    def stage(wanted: str, seed: int = 0, **options) -> nn.Module:
        taken.append(wanted)
        return get(wanted).prepare(scale, seed, False, **options).model

    recipe = get(name)
    recipe.setup(scale, recipe.sizes[scale.name], 0, stage)
    return taken


def ship(
    name: str,
    scale: Scale | str | None = None,
    seed: int = 0,
    steps: int | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Shipped:
    """Trains a recipe anew, tests it, and writes its stage into the package."""
    recipe = get(name)
    stage = recipe.train_or_load(scale, seed, steps=steps, on_step=on_step, retrain=True)
    path = stages.ship(name, stage, recipe.shipped_dtype)
    return Shipped(name, recipe.evaluate(stage.model, scale), path, stage.history[-1].seconds)
