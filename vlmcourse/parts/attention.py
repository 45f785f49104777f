"""Attention: one call, fused kernels behind it.

    attend(q, k, v, mask)      softmax(q k^T / sqrt(d) + mask) v        (Vaswani et al. 2017, Eq. 1)

The mask's type picks the kernel: none or booleans -> SDPA, a BlockMask -> FlexAttention. Booleans only: a row that may
look at nothing comes out exactly zero, where additive masks of finfo.min would leak uniform attention.
"""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


@cache
def _flex():
    """FlexAttention, compiled at the first use. Not at import: compiling takes seconds and needs a C++ compiler."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)


def attend(q: Tensor, k: Tensor, v: Tensor, mask=None) -> Tensor:
    """Each query's mean of the values it may look at.

    q (B, H, Q, D), k and v (B, H, K, D); mask None, booleans that broadcast to (B, H, Q, K) with True = may look
    (`Mask.to_bool()`), or a BlockMask (`Mask.to_block_mask()`). Returns (B, H, Q, D); a query that may look at nothing gets zero,
    and sends back zero gradient. FlexAttention has no backward on CPU (torch 2.13): train there with `to_bool()`.
    """
    if q.device.type == "cpu" and q.dtype == torch.bfloat16:
        # On CPUs the fused kernel's backward takes ten times as long in bfloat16 as in float32 (torch 2.13).
        with torch.autocast("cpu", enabled=False):
            return attend(q.float(), k.float(), v.float(), mask).bfloat16()
    if mask is None:
        return scaled_dot_product_attention(q, k, v)
    if isinstance(mask, Tensor):
        if mask.dtype != torch.bool:
            raise ValueError(
                f"attention mask of {mask.dtype}: expected booleans, True = may look. "
                "Additive masks leak on rows that may look at nothing; use Mask.dense()."
            )
        # SDPA already gives zero on CPU; backends may differ, and an empty row must never depend on which one ran.
        return scaled_dot_product_attention(q, k, v, attn_mask=mask).where(
            mask.any(-1, keepdim=True), 0
        )
    return _flex()(q, k, v, block_mask=mask)


class KVCache(dict):
    """What Attention remembers of the tokens so far: {attention: (keys, values)}, each (B, H, length, D)."""

    @property
    def length(self) -> int:
        return next(iter(self.values()))[0].shape[2] if self else 0

    def reorder_cache(self, order: Tensor) -> None:
        """Row i goes on as row order[i] did: beam search keeps some sequences and drops others."""
        self.update(
            {attention: (keys[order], values[order]) for attention, (keys, values) in self.items()}
        )


class Attention(nn.Module):
    """Multi-head attention: over itself, or over a `context` when one is passed.

    width          of x (and of the output)
    heads          number of heads; must divide `head_width * heads`
    context_width  of the context, if it is not `width`
    head_width     default width / heads
    """

    def __init__(
        self,
        width: int,
        heads: int,
        context_width: int | None = None,
        head_width: int | None = None,
        bias: bool = True,
    ):
        super().__init__()
        if head_width is None and width % heads:
            raise ValueError(
                f"width {width} cannot be split into {heads} heads: expected a multiple of {heads}."
            )
        self.heads, inner = heads, (head_width or width // heads) * heads
        self.query = nn.Linear(width, inner, bias)
        self.key_value = nn.Linear(context_width or width, 2 * inner, bias)
        self.out = nn.Linear(inner, width, bias)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, L, D) -> (B, H, L, D/H)

    def project_kv(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of a context (B, K, C): two of (B, H, K, D/H). `forward` takes them in its place, so that what is
        looked at several times is projected once."""
        k, v = map(self._split, self.key_value(context).chunk(2, dim=-1))
        return k, v

    def forward(
        self,
        x: Tensor,
        context: Tensor | tuple[Tensor, Tensor] | None = None,
        mask=None,
        cache: dict | None = None,
    ) -> Tensor:
        """x (B, Q, D), context (B, K, C), what `project_kv` made of it, or None for self-attention -> (B, Q, D).

        With `cache` (a dict, empty at first) self-attention remembers keys and values: x holds only the new tokens,
        `mask` has a row for each of them and a column for every token so far. A context is given anew at each call.
        """
        q = self._split(self.query(x))
        k, v = (
            context
            if isinstance(context, tuple)
            else self.project_kv(x if context is None else context)
        )
        if cache is not None and context is None:
            if self in cache:
                k, v = torch.cat([cache[self][0], k], dim=2), torch.cat([cache[self][1], v], dim=2)
            cache[self] = (k, v)
        return self.out(attend(q, k, v, mask).transpose(1, 2).flatten(2))

    def weights(
        self,
        x: Tensor,
        context: Tensor | tuple[Tensor, Tensor] | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """The probabilities (B, H, Q, K) behind `forward`, recomputed from the same projections, to look at."""
        q = self._split(self.query(x))
        k, _ = (
            context
            if isinstance(context, tuple)
            else self.project_kv(x if context is None else context)
        )
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        if mask is None:
            return scores.softmax(-1)
        # Rows without any key would be 0 / 0: they are zero by definition.
        return (
            scores.masked_fill(~mask, -torch.inf).softmax(-1).where(mask.any(-1, keepdim=True), 0)
        )
