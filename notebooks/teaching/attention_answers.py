"""Lesson 01's own answers to its exercises: what later cells use until the student's has passed."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


def attention(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """softmax(q k^T / sqrt(d)) v and the weights: q (B, H, M, d), k and v (B, H, N, d) -> (B, H, M, d), (B, H, M, N)."""
    weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(dim=-1)
    return weights @ v, weights


def prefix_mask(prefix_length: int, length: int) -> Tensor:
    """(length, length): the first `prefix_length` positions attend to each other, the rest is causal."""
    level = (torch.arange(length) - prefix_length + 1).clamp(min=0)
    return level[None, :] <= level[:, None]


def packed_mask(document: Tensor, is_token: Tensor) -> Tensor:
    """(B, 1, T, T): causal, within one document, and never to padding; document and is_token (B, T)."""
    same_document = document[:, :, None] == document[:, None, :]
    causal = torch.ones(document.shape[1], document.shape[1]).tril().bool()
    return (same_document & causal & is_token[:, None, :])[:, None]


def last_image_mask(is_image_token: Tensor, image_of_key: Tensor) -> Tensor:
    """(T, K): each token attends to the visual tokens of the last image up to it (Alayrac et al. 2022, Sec. 2.3)."""
    phi = is_image_token.long().cumsum(0)
    return phi[:, None] == image_of_key[None, :]


def masked_attention(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
    """Attention over allowed keys only: (B, H, L, d); a query without an allowed key gives zero."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    weights = scores.masked_fill(~allowed, -torch.inf).softmax(-1)
    return weights.masked_fill(~allowed, 0) @ v


class MultiHeadAttention(nn.Module):
    """Self-attention with several heads: x (B, L, D), allowed booleans (B or 1, 1, L, L) -> (B, L, D)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        """x (B, L, D) -> (B, L, D)."""
        q, k, v = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        attended = masked_attention(q, k, v, allowed)
        return self.output(attended.transpose(1, 2).flatten(2))


def dependency(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """(Q, K): does output q change when input k is replaced by random numbers? function maps (1, K, D) to (1, Q, D)."""
    before, columns = function(x), []
    for k in range(x.shape[1]):
        changed = x.clone()
        changed[:, k] = torch.randn_like(changed[:, k])
        columns.append((function(changed) - before).abs().amax(dim=(0, 2)) > 1e-6)
    return torch.stack(columns, dim=1)


def sinusoidal_positions(length: int, width: int) -> Tensor:
    """(length, width): sines and cosines of position / 10000^(2 i / width), alternating (Vaswani et al. 2017, Sec. 3.5)."""
    position = torch.arange(length, dtype=torch.float32)[:, None]
    angle = position / 10_000 ** (2 * torch.arange(width // 2) / width)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


class PreNormBlock(nn.Module):
    """Attention and feed-forward network, each normalised before and added to its input: (B, L, D) -> (B, L, D)."""

    def __init__(self, width: int, attention: nn.Module):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = attention
        self.feedforward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        """x (B, L, D), allowed booleans (B or 1, 1, L, L) -> (B, L, D)."""
        x = x + self.attention(self.norm1(x), allowed)
        return x + self.feedforward(self.norm2(x))


def reachable(allowed: Tensor, depth: int) -> Tensor:
    """(L, L): which inputs can change which outputs after `depth` blocks with this mask and residual connections."""
    reach = torch.eye(len(allowed)).bool()
    step = allowed | reach
    for _ in range(depth):
        reach = (step.float() @ reach.float()) > 0
    return reach


def attend_with_cache(layer: nn.Module, x: Tensor, cache: dict[str, Tensor]) -> Tensor:
    """One new token: x (B, 1, D); cache of "k" and "v" (B, H, T, d), extended in place -> (B, 1, D)."""
    q, k, v = (
        part(x).unflatten(-1, (layer.heads, -1)).transpose(1, 2)
        for part in (layer.query, layer.key, layer.value)
    )
    if cache:
        k, v = torch.cat([cache["k"], k], dim=2), torch.cat([cache["v"], v], dim=2)
    cache["k"], cache["v"] = k, v
    return layer.output(attention(q, k, v)[0].transpose(1, 2).flatten(2))
