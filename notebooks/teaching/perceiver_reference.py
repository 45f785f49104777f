"""Lesson 11: the course's own answers to the exercises on Perceiver and Perceiver IO."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from vlmcourse.papers import perceiver as package


def attention_pairs(M: int, R: int, K: int, L: int) -> tuple[int, int]:
    """Query-key pairs of a Perceiver (K times one cross-attend and L self-attends), and of a Transformer as deep."""
    return K * (M * R + L * R**2), K * (1 + L) * M**2


def fourier_features(positions: Tensor, bands: int, resolution: float) -> Tensor:
    """positions (..., d) in [-1, 1] -> (..., d * (2 * bands + 1)): all sines, all cosines, the positions."""
    return package.fourier_features(positions, bands, resolution)


def cross_attend(layer: nn.Module, x: Tensor, inputs: Tensor) -> Tensor:
    """x (B, R, D) attends to inputs (B, M, C), with the modules of a CrossAttend -> (B, R, D)."""
    x = x + layer.attention(layer.norm_x(x), layer.norm_inputs(inputs))
    return x + layer.feedforward(layer.norm(x))


def perceive(model: nn.Module, inputs: Tensor) -> Tensor:
    """Latents (B, R, D) after all cross-attends of a Perceiver to inputs (B, M, C)."""
    x = model.latents.expand(len(inputs), -1, -1)
    x = model.self_attends(cross_attend(model.cross_attend, x, inputs))
    for _ in range(model.config.num_cross_attends - 1):
        x = model.self_attends(cross_attend(model.cross_attend_again, x, inputs))
    return x


def decode(layer: nn.Module, queries: Tensor, latents: Tensor) -> Tensor:
    """Output queries (B, O, Q) attend to latents (B, R, D), without a residual from the queries -> (B, O, Q)."""
    x = layer.attention(layer.norm_x(queries), layer.norm_inputs(latents))
    return x + layer.feedforward(layer.norm(x))


PARTS: Mapping[str, Callable] = {
    part.__name__: part for part in (fourier_features, cross_attend, perceive, decode)
}
"""What teaching.perceiver_model is put together from."""
