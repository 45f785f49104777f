"""Multi-head attention (Vaswani et al. 2017, arXiv 1706.03762, Eq. 1) on PyTorch's fused kernels.

The type of the mask selects the kernel: None or booleans run SDPA, a BlockMask runs FlexAttention. Masks are boolean, True =
may attend: a query that may attend to no key gives exactly zero, where additive masks of finfo.min give uniform attention.
"""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

KeyValues = tuple[Tensor, Tensor]
"""Projected keys and values, (B, H, K, D / H) each."""


@cache
def _compiled_flex_attention():
    """FlexAttention, compiled when first used: compiling takes seconds and needs a C++ compiler."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)


def attend(q: Tensor, k: Tensor, v: Tensor, mask=None) -> Tensor:
    """softmax(q k^T / sqrt(D)) v over the keys that each query may attend to: (B, H, Q, D).

    q     (B, H, Q, D); k, v (B, H, K, D)
    mask  None, booleans that broadcast to (B, H, Q, K) (`Mask.to_bool()`), or a BlockMask (`Mask.to_block_mask()`)

    A query without any allowed key gets zero, and its gradient is zero. FlexAttention has no backward on CPU (torch 2.13): train
    with booleans there. Raises ValueError for a mask of another dtype.
    """
    if q.device.type == "cpu" and q.dtype == torch.bfloat16:
        # On CPU the backward of the fused kernel takes ten times as long in bfloat16 as in float32 (torch 2.13).
        with torch.autocast("cpu", enabled=False):
            return attend(q.float(), k.float(), v.float(), mask).bfloat16()
    if mask is None:
        return scaled_dot_product_attention(q, k, v)
    if isinstance(mask, Tensor):
        if mask.dtype != torch.bool:
            raise ValueError(
                f"attention mask of {mask.dtype}: expected booleans, True = may attend (Mask.to_bool()). "
                "Additive masks give uniform attention where a query may attend to nothing."
            )
        # Backends of SDPA differ on rows without any key (zero, mean of the values, NaN): here they are always zero.
        attended = scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return attended.where(mask.any(-1, keepdim=True), 0)
    return _compiled_flex_attention()(q, k, v, block_mask=mask)


class KVCache(dict):
    """Keys and values of the tokens so far, by attention layer: {Attention: KeyValues}."""

    def get_seq_length(self) -> int:
        """Number of cached tokens (the name is that of transformers' caches)."""
        return next(iter(self.values()))[0].shape[2] if self else 0

    def reorder_cache(self, order: Tensor) -> None:
        """Row i becomes the former row order[i] (B,): beam search continues some sequences and drops others."""
        self.update({layer: (k[order], v[order]) for layer, (k, v) in self.items()})


def cached_length(cache) -> int:
    """Number of tokens that a KVCache or a cache of transformers holds; 0 for None."""
    return 0 if cache is None else cache.get_seq_length()


class Attention(nn.Module):
    """Multi-head attention, self-attention or cross-attention to a `context`.

    width          of x and of the output
    heads          H; must divide the width unless head_width is given
    context_width  C of the context; default: width
    head_width     of one head; default: width / heads
    Raises ValueError if the width is not a multiple of heads.
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
        self.heads, inner_width = heads, (head_width or width // heads) * heads
        self.query = nn.Linear(width, inner_width, bias)
        self.key_value = nn.Linear(context_width or width, 2 * inner_width, bias)
        self.out = nn.Linear(inner_width, width, bias)

    def split_heads(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, H, L, D / H)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def project_kv(self, context: Tensor) -> KeyValues:
        """Keys and values of a context (B, K, C), to pass to `forward` instead of it when it is attended to several times."""
        k, v = self.key_value(context).chunk(2, dim=-1)
        return self.split_heads(k), self.split_heads(v)

    def _project(self, x: Tensor, context: Tensor | KeyValues | None) -> tuple[Tensor, KeyValues]:
        kv = (
            context
            if isinstance(context, tuple)
            else self.project_kv(x if context is None else context)
        )
        return self.split_heads(self.query(x)), kv

    def forward(
        self,
        x: Tensor,
        context: Tensor | KeyValues | None = None,
        mask=None,
        cache: KVCache | dict | None = None,
    ) -> Tensor:
        """x (B, Q, D); context (B, K, C), its `project_kv`, or None for self-attention -> (B, Q, D).

        mask   see `attend`
        cache  of earlier tokens, for self-attention only: x holds the new tokens, which are added to it; the mask has a row
               for each new token and a column for every token so far
        """
        q, (k, v) = self._project(x, context)
        if cache is not None and context is None:
            if self in cache:
                k, v = (torch.cat(pair, dim=2) for pair in zip(cache[self], (k, v)))
            cache[self] = (k, v)
        return self.out(attend(q, k, v, mask).transpose(1, 2).flatten(2))

    def weights(
        self, x: Tensor, context: Tensor | KeyValues | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Attention probabilities (B, H, Q, K) of `forward`, recomputed from the same projections; rows without a key are 0."""
        q, (k, _) = self._project(x, context)
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        if mask is None:
            return scores.softmax(-1)
        return (
            scores.masked_fill(~mask, -torch.inf).softmax(-1).where(mask.any(-1, keepdim=True), 0)
        )
