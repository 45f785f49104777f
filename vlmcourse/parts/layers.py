"""The residual block every paper of the course builds on, and the gate that lets one in quietly."""

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from vlmcourse.parts.attention import Attention


def check_ids(ids: Tensor, vocabulary: int, context: int) -> None:
    """Raises ValueError, with what to do, unless ids are (B, T) integers below `vocabulary`, at most `context` in a text."""
    if ids.dim() != 2 or ids.is_floating_point():
        raise ValueError(
            f"text ids are {tuple(ids.shape)} of {ids.dtype}; expected integers (batch, tokens)."
        )
    if ids.shape[1] > context:
        raise ValueError(
            f"texts of {ids.shape[1]} tokens; this model reads at most {context}. Shorten them."
        )
    if ids.numel() and int(ids.max()) >= vocabulary:
        raise ValueError(
            f"token id {int(ids.max())} is outside the vocabulary of {vocabulary}: "
            "these ids were made by another tokenizer."
        )


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x): the approximation OpenAI's CLIP was trained with. Not interchangeable with GELU."""

    def forward(self, x: Tensor) -> Tensor:
        return silu(1.702 * x) / 1.702  # the same function, by one fused kernel


class FeedForward(nn.Sequential):
    """Two linear maps with a non-linearity between: (..., D) -> (..., hidden) -> (..., D)."""

    def __init__(self, width: int, hidden: int, activation: type[nn.Module] = nn.GELU):
        super().__init__(nn.Linear(width, hidden), activation(), nn.Linear(hidden, width))


class TanhGate(nn.Module):
    """tanh(pace * alpha) * x with alpha starting at zero: what comes through grows from nothing (Flamingo, Sec. 2.2).

    Adam moves every number by about one learning rate a step; a gate, which has a single number, opens slowly then, and until it
    is open nothing behind it learns. The paper has steps enough: its pace is 1.
    """

    def __init__(self, gate_lr_scale: float = 1.0):
        super().__init__()
        self.alpha, self.gate_lr_scale = nn.Parameter(torch.zeros(())), gate_lr_scale

    @property
    def value(self) -> Tensor:
        return (self.gate_lr_scale * self.alpha).tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.value * x


class Block(nn.Module):
    """One pre-norm transformer block: x + attention(norm x), then x + feed-forward(norm x)."""

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

    def forward(self, x: Tensor, mask=None, cache: dict | None = None) -> Tensor:
        x = x + self.attention(self.norm1(x), mask=mask, cache=cache)
        return x + self.feedforward(self.norm2(x))

    def forward_at(self, x: Tensor, positions: Tensor, mask: Tensor | None = None) -> Tensor:
        """Row i of forward(x, mask) at positions[i] alone: (B, L, D), (B,) -> (B, D). The others are only looked at."""
        rows = torch.arange(len(x), device=x.device)
        if mask is not None:
            mask = mask.expand(len(x), -1, -1, -1)[rows, :, positions][
                :, :, None
            ]  # (B, H or 1, 1, L)
        normed, here = self.norm1(x), x[rows, positions][:, None]  # (B, L, D), (B, 1, D)
        here = here + self.attention(normed[rows, positions][:, None], context=normed, mask=mask)
        return (here + self.feedforward(self.norm2(here)))[:, 0]


class Transformer(nn.Module):
    """`depth` blocks, one after the other: (B, L, D) -> (B, L, D). The mask is made once and passed down."""

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
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden, activation, eps) for _ in range(depth)
        )
        self.initialise()

    def initialise(self) -> None:
        """Weights as in OpenAI's CLIP: std width**-0.5, and (2 depth)**-0.5 less into the residual stream.

        A fixed std of 0.02, as in GPT-2, is right for widths near 2,500 and learns nothing at width 128.
        """
        for block in self.blocks:
            narrow = (width := block.norm1.normalized_shape[0]) ** -0.5 * (
                2 * len(self.blocks)
            ) ** -0.5
            for linear, std in (
                (block.attention.query, width**-0.5),
                (block.attention.key_value, width**-0.5),
                (block.attention.out, narrow),
                (block.feedforward[0], (2 * width) ** -0.5),
                (block.feedforward[2], narrow),
            ):
                nn.init.normal_(linear.weight, std=std)
                nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, mask=None, cache: dict | None = None) -> Tensor:
        for block in self.blocks:
            x = block(x, mask, cache)
        return x

    def forward_at(self, x: Tensor, positions: Tensor, mask: Tensor | None = None) -> Tensor:
        """What forward(x, mask) gives at one position of each row, (B, L, D), (B,) -> (B, D), without computing the rest.

        An encoder that is read at one token needs its last block for that token only: five sixths of the block's work, a
        quarter of all that CLIP does here, would be thrown away.
        """
        for block in self.blocks[:-1]:
            x = block(x, mask)
        return self.blocks[-1].forward_at(x, positions, mask)


class PostNormBlock(nn.Module):
    """One block with the norms after the sums, as in BERT: norm(x + attention(x)), then norm(x + feed-forward(x)).

    With `context_width` there is cross-attention between the two, norm(x + cross(x, context)), left out where no context
    is given.
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
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=width**-0.5)
                nn.init.zeros_(module.bias)

    def forward(
        self,
        x: Tensor,
        mask=None,
        context: Tensor | tuple[Tensor, Tensor] | None = None,
        context_mask=None,
        cache: dict | None = None,
    ) -> Tensor:
        """x (B, L, D), context (B, K, C), what `cross.read` made of it, or None -> (B, L, D)."""
        return self._rest(
            self.norm1(x + self.attention(x, mask=mask, cache=cache)), context, context_mask
        )

    def first(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        context: Tensor | tuple[Tensor, Tensor] | None = None,
        context_mask=None,
    ) -> Tensor:
        """forward at the first position alone, (B, D): what a block read at its [CLS] needs. The others are looked at."""
        here = self.attention(x[:, :1], context=x, mask=None if mask is None else mask[:, :, :1])
        return self._rest(self.norm1(x[:, :1] + here), context, context_mask)[:, 0]

    def _rest(
        self, x: Tensor, context: Tensor | tuple[Tensor, Tensor] | None, context_mask
    ) -> Tensor:
        if context is not None:
            x = self.norm_cross(x + self.cross(x, context, context_mask))
        return self.norm2(x + self.feedforward(x))
