"""Cross-attention to groups of keys, such as the R latents of each of N images (Flamingo).

Where each query attends to at most one group (the last image), queries are sorted by group, and other groups' keys are never
computed with: with five images a fifth of the work. A fused kernel with a mask computes all of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vlmcourse.parts.attention import Attention, attend


class GroupedAttention(Attention):
    """x (B, T, D), context (B, N, R, C), mask (B, T, N) booleans -> (B, T, D). Tokens with no group get exactly zero (+ bias)."""

    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        B, N, R, _ = context.shape
        largest = int(mask.sum(1).max())  # queries of the largest group
        if (
            N * largest > 2 * x.shape[1] or (mask.sum(-1) > 1).any()
        ):  # sorting costs more, or is impossible
            return super().forward(x, context.flatten(1, 2), expand_groups(mask, R))
        b, t, n = mask.nonzero(as_tuple=True)
        position, group = mask.long().cumsum(1)[b, t, n] - 1, b * N + n
        q = self.query(x)  # (B, T, I)
        sorted_q = q.new_zeros(B * N, largest, q.shape[-1]).index_put((group, position), q[b, t])
        k, v = self.project_kv(context.flatten(0, 1))  # (B * N, H, R, I / H)
        attended = attend(self.split_heads(sorted_q), k, v).transpose(1, 2).flatten(2)
        return self.out(torch.zeros_like(q).index_put((b, t), attended[group, position]))

    def weights(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Attention probabilities (B, H, T, N * R) of `forward`."""
        return super().weights(x, context.flatten(1, 2), expand_groups(mask, context.shape[2]))


def expand_groups(mask: Tensor, size: int) -> Tensor:
    """Mask over groups of `size` keys -> mask over keys: (B, T, N) -> (B, 1, T, N * size)."""
    return mask.repeat_interleave(size, dim=-1)[:, None]
