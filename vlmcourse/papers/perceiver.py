"""Perceiver: General Perception with Iterative Attention (Jaegle et al. 2021, arXiv 2103.03206), and
Perceiver IO: A General Architecture for Structured Inputs & Outputs (Jaegle et al. 2021, arXiv 2107.14795).

A few learnt vectors, the latents, ask the input; all depth is spent among the latents. So an input of M vectors costs M
times R, not M squared, and anything that can be written as a list of vectors can be an input: pixels, words, points.
Perceiver reads several times and averages its latents; Perceiver IO reads once, and answers as many questions as one asks.

Scaled down here: the sizes. Kept: pre-norm attention, weights shared between the repeats of Perceiver except for its first
cross-attend, Fourier features joined to the input (not added), output queries that are not passed through to the output.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vlmcourse.parts.attention import Attention
from vlmcourse.parts.layers import FeedForward, Transformer


@dataclass(frozen=True)
class PerceiverConfig:
    """Sizes of the latents and of what they read. In the margin: the ImageNet model of the first paper."""

    input_width: (
        int  # of one input vector, positions included. paper: 3 colours + 258 Fourier features
    )
    latents: int = 16  # paper: 512
    width: int = 64  # of a latent. paper: 1024
    num_cross_attends: int = 2  # cross-attends of Perceiver (Perceiver IO: one). paper: 8
    depth: int = 2  # self-attends after each read. paper: 6
    cross_attend_heads: int = 1  # paper: 1
    heads: int = 4  # paper: 8
    hidden: int | None = None  # of the feed-forwards; default 4 * width. paper: width


class CrossAttend(nn.Module):
    """A cross-attend: x asks `inputs`, then a feed-forward. (B, R, D), (B, M, C) -> (B, R, D).

    Decoders leave out the first residual (Perceiver IO, Sec. E.2): a query says what is asked, not what the answer begins with.
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
        read = self.attention(self.norm_x(x), self.norm_inputs(inputs), mask)
        x = x + read if self.residual else read
        return x + self.feedforward(self.norm(x))


class LatentArray(nn.Module):
    """What both papers share: learnt latents, a first read, and a stack of self-attends."""

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
        """The latents after the first read, and the mask of later ones. inputs (B, M, C); real (B, M), False at padding."""
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
    """Reads again and again (Fig. 1): latents (B, R, D) of inputs (B, M, C), and their mean, mapped to `outputs` numbers.

    The stack of self-attends is one, used after each read; so is the second cross-attend, used for all reads but the first.
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
    """Encode, process, decode (Perceiver IO, Fig. 2): inputs (B, M, C) and queries (B, O, Q) -> answers (B, O, outputs).

    query_width  of the output queries: a position to fill in, a task to answer
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
        """One read, then all the depth: (B, M, C) -> (B, R, D)."""
        x, _ = self.first_cross_attend(inputs, input_mask)
        for _ in range(self.repeats):
            x = self.self_attends(x)
        return x

    def decode(self, latents: Tensor, queries: Tensor) -> Tensor:
        """Each query is answered by itself: (B, R, D), (B, O, Q) -> (B, O, outputs)."""
        return self.head(self.decoder(queries, latents))

    def forward(self, inputs: Tensor, queries: Tensor, input_mask: Tensor | None = None) -> Tensor:
        return self.decode(self.encode(inputs, input_mask), queries)


# Three kinds of input, each a list of vectors that carry their positions with them.


def fourier_features(positions: Tensor, bands: int, resolution: float) -> Tensor:
    """Positions (..., K) in [-1, 1] as sines and cosines of `bands` frequencies from 1 to largest / 2, and themselves:
    (..., K) -> (..., K * (2 * bands + 1)) (Perceiver, Sec. 3.2). largest: how many positions there are along an axis."""
    frequencies = torch.linspace(1, resolution / 2, bands, device=positions.device)
    turns = math.pi * positions[..., None] * frequencies  # (..., K, bands)
    return torch.cat([turns.sin().flatten(-2), turns.cos().flatten(-2), positions], dim=-1)


def pixel_input(pixel_values: Tensor, bands: int = 6) -> Tensor:
    """Every pixel is an input: (B, 3, S, S) -> (B, S * S, 3 + 2 * (2 * bands + 1)). No patches, no convolution."""
    S = pixel_values.shape[-1]
    axis = torch.linspace(-1, 1, S, device=pixel_values.device)
    places = fourier_features(
        torch.cartesian_prod(axis, axis), bands, S
    )  # (S * S, ...), row by row
    return torch.cat(
        [pixel_values.flatten(2).transpose(1, 2), places.expand(len(pixel_values), -1, -1)], dim=-1
    )


def point_input(points: Tensor, bands: int = 6, resolution: float = 16) -> Tensor:
    """A point is its coordinates (..., K) in [-1, 1]: (B, M, K) -> (B, M, K * (2 * bands + 1))."""
    return fourier_features(points, bands, resolution)


class TextInput(nn.Module):
    """Words with learnt embeddings, joined to their positions: (B, T) ids -> (B, T, width + 2 * bands + 1)."""

    def __init__(self, vocabulary: int, width: int, context: int, bands: int = 6):
        super().__init__()
        self.words, self.context, self.bands = nn.Embedding(vocabulary, width), context, bands

    def forward(self, ids: Tensor) -> Tensor:
        if ids.shape[1] > self.context:
            raise ValueError(
                f"texts of {ids.shape[1]} tokens; this input was made for at most {self.context}."
            )
        places = (torch.arange(ids.shape[1], device=ids.device) / max(1, self.context - 1) * 2 - 1)[
            :, None
        ]
        return torch.cat(
            [
                self.words(ids),
                fourier_features(places, self.bands, self.context).expand(len(ids), -1, -1),
            ],
            dim=-1,
        )
