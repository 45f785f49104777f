"""Lesson 11: figures on the Perceiver: what it costs, what it makes of clouds of points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from teaching.perceiver_model import SHAPES, PlaceReader, grid, on_shape, test_clouds
from vlmcourse import plots
from vlmcourse.evaluation import eval_mode
from vlmcourse.introspection import count_flops
from vlmcourse.papers.perceiver import Perceiver, PerceiverConfig
from vlmcourse.parts.layers import Transformer
from vlmcourse.plots.style import DARK, course_style, describe, figure, hide_axes

LENGTHS = (64, 128, 256, 512, 1024, 2048)
R, K, L, D = 32, 2, 2, 64
"""Of the Perceiver whose operations are counted: latents, cross-attends, self-attends after each, width."""


def cost_curves(pairs: Callable[[int, int, int, int], tuple[int, int]]):
    """Query-key pairs over the number of inputs M, by `pairs`, of a Perceiver and of a Transformer as deep."""
    counted = {M: pairs(M, R, K, L) for M in LENGTHS}
    series = {
        name: {M: both[which] for M, both in counted.items()}
        for which, name in enumerate(("Perceiver", "Transformer"))
    }
    return plots.curves(series, "M (inputs)", "query-key pairs", xlog=True, ylog=True)


def measured_flops() -> dict[str, dict[int, float]]:
    """Floating-point operations of a forward pass, counted by torch, of both, by M; all linear layers included."""
    config = PerceiverConfig(D, R, D, K, L, heads=4)
    models = {
        "Perceiver": Perceiver(config, 10).eval(),
        "Transformer": Transformer(K * (1 + L), D, 4).eval(),
    }
    return {
        name: {M: count_flops(lambda: model(torch.zeros(1, M, D))) / 1e9 for M in LENGTHS}
        for name, model in models.items()
    }


def slope(series: dict[int, float]) -> float:
    """By which power of M the series grows between its last two points."""
    (low, first), (high, second) = list(series.items())[-2:]
    return float(np.log(second / first) / np.log(high / low))


@course_style()
def answered_places(model: PlaceReader, count: int = 3, points: int = 24, side: int = 40):
    """Clouds, the truth, and what the model answers at every place of a grid."""
    cloud, kind, size = test_clouds(64, points)
    chosen = [int((kind == shape).nonzero()[0]) for shape in range(count)]
    places = grid(side)[None].expand(count, -1, -1)
    with eval_mode(model):
        answers = model(cloud[chosen], places).sigmoid().reshape(count, side, side)
    truth = on_shape(places, kind[chosen], size[chosen]).reshape(count, side, side)
    drawn, axes = figure(7.2, 2.5 * count, count, 3)
    shares = []
    for row, number in enumerate(chosen):
        pictures, answer = axes[3 * row : 3 * row + 3], answers[row]
        pictures[0].scatter(*cloud[number].T.numpy(), s=14, color=DARK)
        pictures[0].set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal")
        pictures[1].imshow(truth[row].float(), cmap="Greys", vmin=0, vmax=1)
        cells = pictures[2].imshow(answer, cmap="Greys", vmin=0, vmax=1)
        for panel, title in zip(pictures, (f"{points} points", f"truth: {SHAPES[row]}", "answers")):
            panel.set_title(title, fontsize=10)
            hide_axes(panel)
            for spine in panel.spines.values():
                spine.set(visible=True, color="#999999")
        same = ((answer > 0.5) == truth[row]).float().mean().item()
        shares.append(f"{SHAPES[row]} {same:.2f}")
    drawn.colorbar(cells, ax=axes, label="probability of being on the shape", shrink=0.5)
    words = f"Share of {side * side} places answered rightly: {', '.join(shares)}."
    return describe(drawn, f"Clouds of {points} points and Perceiver IO's answers. {words}")


def places_report(model: PlaceReader, points: int = 24, side: int = 20) -> dict[str, float]:
    """On 128 new clouds: share of places answered rightly, and what "never on the shape" would get."""
    cloud, kind, size = test_clouds(128, points)
    places = grid(side)[None].expand(len(cloud), -1, -1)
    truth = on_shape(places, kind, size)
    with eval_mode(model):
        right = (model(cloud, places) > 0) == truth
    return {"right": right.float().mean().item(), "always no": 1 - truth.float().mean().item()}


def who_moves(model: PlaceReader, change: int = 2) -> list[int]:
    """Numbers of the answers that move when one of five output queries is exchanged."""
    cloud, *_ = test_clouds(1, 24)
    places = 2 * torch.rand(1, 5, 2, generator=torch.Generator().manual_seed(0)) - 1
    other: Tensor = places.clone()
    other[0, change] = -places[0, change]
    with eval_mode(model):
        latents = model.encode(cloud)
        moved = (model.answer(latents, other) - model.answer(latents, places)).abs()[0]
    return (moved > 1e-6).nonzero()[:, 0].tolist()
