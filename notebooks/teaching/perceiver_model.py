"""Lesson 11: a Perceiver and a Perceiver IO from what the student writes, trained on clouds of points."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from teaching.built_models import Parts
from vlmcourse.evaluation import eval_mode
from vlmcourse.papers.perceiver import CrossAttend, Perceiver, PerceiverConfig, PerceiverIO
from vlmcourse.training.stages import seeded

SHAPES = ("ring", "square", "cross")
BANDS, RESOLUTION, POINTS = 4, 8, 24
BATCH, PLACES = 32, 64
WIDTH = 2 * (2 * BANDS + 1)  # of a point's Fourier features
NEAR = 0.15
"""A place is on the shape if it is nearer than this to its outline; the plane reaches from -1 to 1."""


def clouds(number: int, points: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Points (number, points, 2) of random shapes, which shape (number,), and half the width (number,), 0.45 to 0.85."""
    kind = torch.randint(len(SHAPES), (number,), generator=generator)
    t = torch.rand(number, points, generator=generator) * 2 * math.pi
    size = 0.45 + 0.4 * torch.rand(number, generator=generator)
    ring = torch.stack([t.cos(), t.sin()], -1)
    square = ring / ring.abs().amax(-1, keepdim=True)
    along = t / math.pi - 1
    turned = torch.rand(number, points, generator=generator) < 0.5
    cross = torch.stack([along, along.where(turned, -along)], -1)
    shapes = torch.stack([ring, square, cross], 1)[torch.arange(number), kind]
    noise = torch.randn(shapes.shape, generator=generator)
    return size[:, None, None] * shapes + 0.03 * noise, kind, size


def on_shape(places: Tensor, kind: Tensor, size: Tensor) -> Tensor:
    """Is each of the places (N, O, 2) on the shape of its cloud? (N, O) booleans."""
    size, largest = size[:, None], places.abs().amax(-1)
    diagonal = places.abs().diff(dim=-1)[..., 0].abs() / 2**0.5  # from the nearer diagonal
    distance = torch.stack(
        [
            (places.norm(dim=-1) - size).abs(),
            (largest - size).abs(),
            torch.maximum(diagonal, largest - size),
        ]
    )
    return distance[kind, torch.arange(len(kind))] < NEAR


def grid(side: int) -> Tensor:
    """Places (side * side, 2) over the plane, row by row from the top."""
    axis = torch.linspace(-1, 1, side)
    rows, columns = torch.meshgrid(-axis, axis, indexing="ij")
    return torch.stack([columns, rows], -1).flatten(0, 1)


class BuiltCrossAttend(CrossAttend):
    """A cross-attend that is computed by `cross_attend` of `parts`."""

    parts: Parts = {}

    def forward(self, x: Tensor, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.parts["cross_attend"](self, x, inputs)


def use_own(model: nn.Module, parts: Parts) -> None:
    """Every cross-attend of the model that has a residual is computed by the student's function from now on."""
    for module in model.modules():
        if isinstance(module, CrossAttend) and module.residual:
            module.__class__, module.parts = BuiltCrossAttend, parts


class CloudClassifier(nn.Module):
    """A Perceiver that names the shape of a cloud: points (B, M, 2) -> logits (B, 3)."""

    def __init__(self, parts: Parts):
        super().__init__()
        config = PerceiverConfig(WIDTH, latents=6, width=32, num_cross_attends=3, depth=1, heads=4)
        self.perceiver, self.parts = Perceiver(config, len(SHAPES)), parts
        use_own(self.perceiver, parts)

    def forward(self, points: Tensor) -> Tensor:
        inputs = self.parts["fourier_features"](points, BANDS, RESOLUTION)
        latents = self.parts["perceive"](self.perceiver, inputs)
        return self.perceiver.head(self.perceiver.norm_out(latents.mean(1)))

    def loss(self, generator: torch.Generator) -> Tensor:
        """Cross-entropy of fresh clouds."""
        points, kind, _ = clouds(BATCH, POINTS, generator)
        return cross_entropy(self(points), kind)


class PlaceReader(nn.Module):
    """A Perceiver IO: is this place on the shape? points (B, M, 2), places (B, O, 2) -> logits (B, O)."""

    def __init__(self, parts: Parts):
        super().__init__()
        config = PerceiverConfig(WIDTH, latents=8, width=64, depth=1, heads=4)
        self.io, self.parts = PerceiverIO(config, WIDTH, 1), parts
        use_own(self.io, parts)

    def encode(self, points: Tensor) -> Tensor:
        """Latents (B, R, D)."""
        inputs = self.parts["fourier_features"](points, BANDS, RESOLUTION)
        return self.io.encode(inputs)

    def answer(self, latents: Tensor, places: Tensor) -> Tensor:
        """Logits (B, O) for places (B, O, 2)."""
        queries = self.parts["fourier_features"](places, BANDS, RESOLUTION)
        return self.io.head(self.parts["decode"](self.io.decoder, queries, latents))[..., 0]

    def forward(self, points: Tensor, places: Tensor) -> Tensor:
        return self.answer(self.encode(points), places)

    def loss(self, generator: torch.Generator) -> Tensor:
        """Binary cross-entropy at random places of fresh clouds."""
        points, kind, size = clouds(BATCH, POINTS, generator)
        places = 2 * torch.rand(BATCH, PLACES, 2, generator=generator) - 1
        target = on_shape(places, kind, size).float()
        return binary_cross_entropy_with_logits(self(points, places), target)


def build(model: Callable[[Parts], nn.Module], parts: Parts, seed: int = 0) -> nn.Module:
    """An untrained model, always with the same weights for a seed."""
    with seeded(seed):
        return model(parts)


def train(model: nn.Module, steps: int, rate: float = 6e-3, seed: int = 0) -> list[float]:
    """Trains in place on fresh clouds; the loss of each step."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=max(2, steps))
    losses = []
    for _ in range(steps):
        loss = model.loss(generator)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    model.eval()
    return losses


def test_clouds(number: int, points: int) -> tuple[Tensor, Tensor, Tensor]:
    """Clouds that no training has seen."""
    return clouds(number, points, torch.Generator().manual_seed(10**6 + points))


def accuracy_by_points(model: CloudClassifier, numbers=(3, 6, 12, 24, 48, 96, 192)) -> dict:
    """{points of a cloud: share of 512 new clouds whose shape is named}."""
    found = {}
    with eval_mode(model):
        for points in numbers:
            cloud, kind, _ = test_clouds(512, points)
            found[points] = (model(cloud).argmax(-1) == kind).float().mean().item()
    return found
