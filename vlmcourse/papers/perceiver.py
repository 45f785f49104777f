"""Perceiver: General Perception with Iterative Attention (Jaegle et al. 2021, arXiv 2103.03206), and
Perceiver IO: A General Architecture for Structured Inputs & Outputs (Jaegle et al. 2021, arXiv 2107.14795).

A latent array of R vectors cross-attends to M inputs, then to itself: the cost is M * R instead of M squared, and any list of
vectors can be an input (pixels, words, points). Perceiver cross-attends several times and averages its latents; Perceiver IO
cross-attends once, and decodes one output for each output query.

Scaled down here: the sizes. Kept: pre-norm attention, weights shared between the repeats of Perceiver except for its first
cross-attend, Fourier features concatenated to the input, no residual from output queries to outputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vlmcourse.parts.attention import Attention
from vlmcourse.parts.bert import WordEmbedding
from vlmcourse.parts.layers import FeedForward, Transformer


@dataclass(frozen=True)
class PerceiverConfig:
    """In the margin: the ImageNet model of the first paper."""

    input_width: int  # of an input vector with its position. paper: 3 + 258 Fourier features
    latents: int = 16  # paper: 512
    width: int = 64  # of a latent. paper: 1024
    num_cross_attends: int = 2  # of Perceiver (Perceiver IO: one). paper: 8
    depth: int = 2  # self-attends after each cross-attend. paper: 6
    cross_attend_heads: int = 1  # paper: 1
    heads: int = 4  # paper: 8
    hidden: int | None = None  # of the feed-forwards; default 4 * width. paper: width


class CrossAttend(nn.Module):
    """Cross-attention of x to inputs, then a feed-forward: (B, R, D), (B, M, C) -> (B, R, D).

    residual  False: without the first residual connection, as in the decoder of Perceiver IO (Sec. E.2)
    """

    def __init__(
        self,
        width: int,
        input_width: int,
        heads: int,
        hidden: int | None = None,
        residual: bool = True,
    ):
        super().__init__()
        self.norm_x, self.norm_inputs, self.norm = (
            nn.LayerNorm(width),
            nn.LayerNorm(input_width),
            nn.LayerNorm(width),
        )
        self.attention = Attention(width, heads, input_width)
        self.feedforward = FeedForward(width, hidden or 4 * width)
        self.residual = residual

    def forward(self, x: Tensor, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        attended = self.attention(self.norm_x(x), self.norm_inputs(inputs), mask)
        x = x + attended if self.residual else attended
        return x + self.feedforward(self.norm(x))


class LatentArray(nn.Module):
    """What both papers share: the latent array, its first cross-attend, and a stack of self-attends."""

    def __init__(self, config: PerceiverConfig):
        super().__init__()
        self.config = c = config
        self.latents = nn.Parameter(
            nn.init.trunc_normal_(torch.empty(c.latents, c.width), std=0.02, a=-2, b=2)
        )
        self.cross_attend = CrossAttend(c.width, c.input_width, c.cross_attend_heads, c.hidden)
        self.self_attends = Transformer(c.depth, c.width, c.heads, c.hidden)

    def first_cross_attend(
        self, inputs: Tensor, input_mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Latents (B, R, D) after the first cross-attend, and the mask of later ones. Raises ValueError for other inputs.

        inputs (B, M, C); input_mask (B, M) booleans, False at padding
        """
        if inputs.dim() != 3 or inputs.shape[-1] != self.config.input_width or not inputs.shape[1]:
            raise ValueError(
                f"inputs are {tuple(inputs.shape)}; expected (batch, any number from 1, {self.config.input_width}): "
                "one vector for each pixel, word or point, with its position."
            )
        mask = (
            None if input_mask is None else input_mask[:, None, None, :]
        )  # the same for all latents and heads
        return self.cross_attend(self.latents.expand(len(inputs), -1, -1), inputs, mask), mask


class Perceiver(LatentArray):
    """Perceiver (Fig. 1): `outputs` logits from the mean of its latents.

    The self-attends are shared by all repeats, the second cross-attend by all but the first.
    """

    def __init__(self, config: PerceiverConfig, outputs: int):
        super().__init__(config)
        self.cross_attend_again = CrossAttend(
            config.width, config.input_width, config.cross_attend_heads, config.hidden
        )
        self.norm_out, self.head = nn.LayerNorm(config.width), nn.Linear(config.width, outputs)

    def encode(self, inputs: Tensor, input_mask: Tensor | None = None) -> Tensor:
        """(B, M, C) -> (B, R, D)."""
        x, mask = self.first_cross_attend(inputs, input_mask)
        x = self.self_attends(x)
        for _ in range(self.config.num_cross_attends - 1):
            x = self.self_attends(self.cross_attend_again(x, inputs, mask))
        return x

    def forward(self, inputs: Tensor, input_mask: Tensor | None = None) -> Tensor:
        """(B, M, C) -> (B, outputs)."""
        return self.head(self.norm_out(self.encode(inputs, input_mask).mean(1)))


class PerceiverIO(LatentArray):
    """Perceiver IO (Fig. 2): inputs (B, M, C) and output queries (B, O, Q) -> outputs (B, O, outputs).

    query_width  of the output queries, such as positions or tasks
    repeats      how often the stack of self-attends is used. paper: 8 blocks of 6 for ImageNet, 1 of 26 for language
    """

    def __init__(self, config: PerceiverConfig, query_width: int, outputs: int, repeats: int = 1):
        super().__init__(config)
        self.repeats = repeats
        self.decoder = CrossAttend(
            query_width, config.width, config.cross_attend_heads, residual=False
        )
        self.head = nn.Linear(query_width, outputs)

    def encode(self, inputs: Tensor, input_mask: Tensor | None = None) -> Tensor:
        """One cross-attend, then the self-attends: (B, M, C) -> (B, R, D)."""
        x, _ = self.first_cross_attend(inputs, input_mask)
        for _ in range(self.repeats):
            x = self.self_attends(x)
        return x

    def decode(self, latents: Tensor, queries: Tensor) -> Tensor:
        """One output per query, independent of the others: (B, R, D), (B, O, Q) -> (B, O, outputs)."""
        return self.head(self.decoder(queries, latents))

    def forward(self, inputs: Tensor, queries: Tensor, input_mask: Tensor | None = None) -> Tensor:
        return self.decode(self.encode(inputs, input_mask), queries)


# Three kinds of inputs.


def fourier_features(positions: Tensor, bands: int, resolution: float) -> Tensor:
    """Positions (..., K) in [-1, 1] with their sines and cosines -> (..., K * (2 * bands + 1)) (Perceiver, Sec. 3.2).

    The frequencies are `bands` from 1 to resolution / 2; resolution: number of positions along an axis.
    """
    frequencies = torch.linspace(1, resolution / 2, bands, device=positions.device)
    angles = math.pi * positions[..., None] * frequencies  # (..., K, bands)
    return torch.cat([angles.sin().flatten(-2), angles.cos().flatten(-2), positions], dim=-1)


def pixel_input(pixel_values: Tensor, bands: int = 6) -> Tensor:
    """One input per pixel: (B, 3, S, S) -> (B, S * S, 3 + 2 * (2 * bands + 1))."""
    S = pixel_values.shape[-1]
    axis = torch.linspace(-1, 1, S, device=pixel_values.device)
    positions = fourier_features(torch.cartesian_prod(axis, axis), bands, S)  # (S * S, ...)
    colours = pixel_values.flatten(2).transpose(1, 2)
    return torch.cat([colours, positions.expand(len(pixel_values), -1, -1)], dim=-1)


def point_input(points: Tensor, bands: int = 6, resolution: float = 16) -> Tensor:
    """One input per point, coordinates in [-1, 1]: (B, M, K) -> (B, M, K * (2 * bands + 1))."""
    return fourier_features(points, bands, resolution)


class TextInput(nn.Module):
    """One input per token: (B, T) ids -> (B, T, width + 2 * bands + 1). Raises ValueError for longer texts than `context`."""

    def __init__(self, vocabulary: int, width: int, context: int, bands: int = 6):
        super().__init__()
        self.words = WordEmbedding(vocabulary, width, context)
        self.context, self.bands = context, bands

    def forward(self, ids: Tensor) -> Tensor:
        steps = torch.arange(ids.shape[1], device=ids.device)[:, None]
        positions = 2 * steps / max(1, self.context - 1) - 1  # (T, 1), in [-1, 1]
        positions = fourier_features(positions, self.bands, self.context)
        return torch.cat([self.words(ids), positions.expand(len(ids), -1, -1)], dim=-1)
