"""Attention over groups of keys, each query looking at whole groups: words at pictures that are R latents each.

Where no query sees more than one group (Flamingo: the last picture), queries are sorted by the group they see, and keys of
other groups are never computed with: at five pictures a fifth of the work. Fused kernels with a mask compute it all.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vlmcourse.parts.attention import Attention, attend


class GroupedAttention(Attention):
    """x (B, T, D), groups (B, N, R, C), sees (B, T, N) booleans -> (B, T, D). What sees no group gets exactly zero (+ bias)."""

    def forward(self, x: Tensor, groups: Tensor, sees: Tensor) -> Tensor:
        B, N, R, _ = groups.shape
        longest = int(sees.sum(1).max())  # most queries that one group has
        if (
            N * longest > 2 * x.shape[1] or (sees.sum(-1) > 1).any()
        ):  # sorting would not pay, or not do
            return super().forward(x, groups.flatten(1, 2), dense(sees, R))
        b, t, n = sees.nonzero(as_tuple=True)
        place, group = sees.long().cumsum(1)[b, t, n] - 1, b * N + n
        q = self.query(x)  # (B, T, I)
        sorted_q = q.new_zeros(B * N, longest, q.shape[-1]).index_put((group, place), q[b, t])
        k, v = self.key_value(groups.flatten(0, 1)).chunk(2, dim=-1)  # (B * N, R, I)
        found = (
            attend(self._split(sorted_q), self._split(k), self._split(v)).transpose(1, 2).flatten(2)
        )  # (B * N, longest, I)
        return self.out(torch.zeros_like(q).index_put((b, t), found[group, place]))

    def weights(self, x: Tensor, groups: Tensor, sees: Tensor) -> Tensor:
        """The probabilities (B, H, T, N * R) behind `forward`, to look at."""
        return super().weights(x, groups.flatten(1, 2), dense(sees, groups.shape[2]))


def dense(sees: Tensor, size: int) -> Tensor:
    """Booleans for every key: (B, T, N), groups of `size` keys -> (B, 1, T, N * size)."""
    return sees.repeat_interleave(size, dim=-1)[:, None]
