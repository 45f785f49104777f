"""Transformer blocks (pre-norm and post-norm), their initialisation, the tanh gate, and the check of token ids."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from vlmcourse.parts.attention import Attention, KeyValues, KVCache


def check_ids(
    ids: Tensor, vocabulary: int, context_length: int | None = None, start: int = 0
) -> None:
    """Raises ValueError unless ids are integers (B, T), 0 to vocabulary - 1, that end before position `context_length`, if any.

    start  position of the first column, where earlier tokens are cached
    """
    if ids.dim() != 2 or ids.is_floating_point():
        raise ValueError(
            f"text ids are {tuple(ids.shape)} of {ids.dtype}; expected integers (batch, tokens)."
        )
    length = start + ids.shape[1]
    if context_length is not None and length > context_length:
        raise ValueError(
            f"texts of {length} tokens; this model reads at most {context_length}. Shorten them."
        )
    lowest, highest = torch.stack(ids.aminmax()).tolist() if ids.numel() else (0, 0)
    if lowest < 0 or highest >= vocabulary:
        raise ValueError(
            f"token id {lowest if lowest < 0 else highest} is outside the vocabulary of {vocabulary} "
            "(ids from 0): these ids were made by another tokenizer."
        )


def check_batch_sizes(**parts: Tensor) -> None:
    """Raises ValueError unless all parts of a batch, by name, have as many rows: a single one would be broadcast."""
    if len({len(part) for part in parts.values()}) > 1:
        lengths = " and ".join(f"{len(part)} {name}" for name, part in parts.items())
        raise ValueError(f"a batch of {lengths}; expected as many of each, row by row.")


def init_weights(module: nn.Module, std: float | None = None) -> None:
    """Initialises linear layers and embeddings from a normal distribution, biases with zero.

    std  default: input width ** -0.5. BERT's 0.02 is about that for width 768; at width 128 a model hardly learns from 0.02.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=std or part.weight.shape[1] ** -0.5)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the approximation that OpenAI's CLIP was trained with; not interchangeable with GELU."""

    def forward(self, x: Tensor) -> Tensor:
        return silu(1.702 * x) / 1.702  # the same function in one fused kernel


class FeedForward(nn.Sequential):
    """Two linear layers with an activation between: (..., D) -> (..., hidden) -> (..., D)."""

    def __init__(self, width: int, hidden: int, activation: type[nn.Module] = nn.GELU):
        super().__init__(nn.Linear(width, hidden), activation(), nn.Linear(hidden, width))


class TanhGate(nn.Module):
    """tanh(gate_lr_scale * alpha) * x, with a learned scalar alpha that starts at 0 (Flamingo, Sec. 2.2).

    gate_lr_scale  multiplies the effective learning rate of alpha. Adam changes each parameter by about one learning rate a
                   step, so a gate opens slowly, and until then nothing behind it learns. paper: 1, with many more steps
    """

    def __init__(self, gate_lr_scale: float = 1.0):
        super().__init__()
        self.alpha, self.gate_lr_scale = nn.Parameter(torch.zeros(())), gate_lr_scale

    @property
    def value(self) -> Tensor:
        """The factor, a scalar in (-1, 1)."""
        return (self.gate_lr_scale * self.alpha).tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.value * x


def rows_at(x: Tensor, positions: Tensor) -> Tensor:
    """One position of each sequence: x (B, L, ...), positions (B,) -> (B, 1, ...)."""
    return x[torch.arange(len(x), device=x.device), positions][:, None]


def mask_at(mask: Tensor | None, positions: Tensor, length: int) -> Tensor | None:
    """The mask of one query of each sequence: (B or 1, H or 1, L or 1, K), positions (B,) -> (B, H or 1, 1, K)."""
    if mask is None:
        return None
    mask = mask.expand(len(positions), -1, length, -1).transpose(1, 2)  # (B, L, H or 1, K)
    return rows_at(mask, positions).transpose(1, 2)


class Block(nn.Module):
    """Pre-norm transformer block: x + attention(norm x), then x + feed-forward(norm x)."""

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int | None = None,
        activation: type[nn.Module] = nn.GELU,
        eps: float = 1e-5,
    ):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps)
        self.feedforward = FeedForward(width, hidden or 4 * width, activation)

    def forward(self, x: Tensor, mask=None, cache: KVCache | dict | None = None) -> Tensor:
        """x (B, L, D), mask and cache of `Attention.forward` -> (B, L, D)."""
        x = x + self.attention(self.norm1(x), mask=mask, cache=cache)
        return x + self.feedforward(self.norm2(x))

    def forward_at(self, x: Tensor, positions: Tensor, mask: Tensor | None = None) -> Tensor:
        """`forward` at one position of each sequence only: x (B, L, D), positions (B,) -> (B, D)."""
        context, mask = self.norm1(x), mask_at(mask, positions, x.shape[1])
        x = rows_at(x, positions) + self.attention(rows_at(context, positions), context, mask)
        return (x + self.feedforward(self.norm2(x)))[:, 0]


class Transformer(nn.Module):
    """A stack of `depth` pre-norm blocks: (B, L, D) -> (B, L, D)."""

    def __init__(
        self,
        depth: int,
        width: int,
        heads: int,
        hidden: int | None = None,
        activation: type[nn.Module] = nn.GELU,
        eps: float = 1e-5,
    ):
        super().__init__()
        blocks = [Block(width, heads, hidden, activation, eps) for _ in range(depth)]
        self.blocks = nn.ModuleList(blocks)
        # As OpenAI's CLIP: layers that write to the residual stream get a standard deviation smaller by sqrt(2 depth).
        residual_std = width**-0.5 * (2 * depth) ** -0.5
        for block in blocks:
            init_weights(block.attention.query, width**-0.5)
            init_weights(block.attention.key_value, width**-0.5)
            init_weights(block.attention.out, residual_std)
            init_weights(block.feedforward[0], (2 * width) ** -0.5)
            init_weights(block.feedforward[2], residual_std)

    def forward(self, x: Tensor, mask=None, cache: KVCache | dict | None = None) -> Tensor:
        """x (B, L, D), mask and cache of `Attention.forward` -> (B, L, D)."""
        for block in self.blocks:
            x = block(x, mask, cache)
        return x

    def forward_at(self, x: Tensor, positions: Tensor, mask: Tensor | None = None) -> Tensor:
        """`forward` at one position of each sequence: x (B, L, D), positions (B,) -> (B, D).

        The last block computes these positions only, which saves five sixths of it, a quarter of this course's CLIP.
        """
        for block in self.blocks[:-1]:
            x = block(x, mask)
        return self.blocks[-1].forward_at(x, positions, mask)


class PostNormBlock(nn.Module):
    """Post-norm transformer block, as BERT's: norm(x + attention(x)), then norm(x + feed-forward(x)).

    context_width  of a context: adds cross-attention between the two, norm(x + cross(x, context)), skipped without a context
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int | None = None,
        activation: type[nn.Module] = nn.GELU,
        eps: float = 1e-12,
        context_width: int | None = None,
    ):
        super().__init__()
        self.attention = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width, eps)
        if context_width is not None:
            self.cross = Attention(width, heads, context_width)
            self.norm_cross = nn.LayerNorm(width, eps)
        self.feedforward = FeedForward(width, hidden or 4 * width, activation)
        self.norm2 = nn.LayerNorm(width, eps)
        init_weights(self, width**-0.5)

    def forward(
        self,
        x: Tensor,
        mask=None,
        context: Tensor | KeyValues | None = None,
        context_mask=None,
        cache: KVCache | dict | None = None,
    ) -> Tensor:
        """x (B, L, D), context (B, K, C), its `cross.project_kv`, or None -> (B, L, D)."""
        x = self.norm1(x + self.attention(x, mask=mask, cache=cache))
        return self._after_self_attention(x, context, context_mask)

    def forward_at(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        context: Tensor | KeyValues | None = None,
        context_mask=None,
    ) -> Tensor:
        """`forward` at one position of each sequence only: x (B, L, D), positions (B,) -> (B, D)."""
        row, mask = rows_at(x, positions), mask_at(mask, positions, x.shape[1])
        row = self.norm1(row + self.attention(row, x, mask))
        return self._after_self_attention(row, context, context_mask)[:, 0]

    def _after_self_attention(
        self, x: Tensor, context: Tensor | KeyValues | None, context_mask
    ) -> Tensor:
        if context is not None:
            x = self.norm_cross(x + self.cross(x, context, context_mask))
        return self.norm2(x + self.feedforward(x))
