"""Lesson 04: the checks of the exercises on co-attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from teaching import vilbert_reference as reference
from teaching.exercises import Exercise, listed, normal, number, rule
from vlmcourse.parts.bert import CrossAttentionBlock

Pair = Sequence[Tensor]


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    is_key: Tensor,
    scale: float | None = None,
    axis: int = -1,
    fill: float = -torch.inf,
) -> Tensor:
    scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    return scores.masked_fill(~is_key[:, None, None], fill).softmax(axis) @ v


def crossed(image: Pair, text: Pair, is_region: Tensor, is_word: Tensor, **how) -> list[Tensor]:
    return [
        attend(image[0], *text[1:], is_word, **how),
        attend(text[0], *image[1:], is_region, **how),
    ]


def no_padding(image: Pair, text: Pair, is_region: Tensor, is_word: Tensor, **how) -> list[Tensor]:
    return crossed(image, text, torch.ones_like(is_region), torch.ones_like(is_word), **how)


def zero_scores(image: Pair, text: Pair, *masks: Tensor) -> list[Tensor]:
    """Scores of padding are 0 in place of minus infinity."""
    return [
        (q @ k.mT * q.shape[-1] ** -0.5 * is_key[:, None, None]).softmax(-1) @ v
        for (q, _, _), (_, k, v), is_key in ((image, text, masks[1]), (text, image, masks[0]))
    ]


def one_map(
    image: Pair, text: Pair, is_region: Tensor, is_word: Tensor, before: bool
) -> list[Tensor]:
    """The regions' map serves the words, too, transposed before or after its softmax."""
    scores = image[0] @ text[1].mT * image[0].shape[-1] ** -0.5
    masked = scores.masked_fill(~is_word[:, None, None], -torch.inf)
    back = scores.mT.masked_fill(~is_region[:, None, None], -torch.inf).softmax(-1)
    return [masked.softmax(-1) @ text[2], (back if before else masked.softmax(-1).mT) @ image[2]]


def chained(
    image: Pair, text: Pair, is_region: Tensor, is_word: Tensor, keys: bool
) -> list[Tensor]:
    """The words attend to what the regions got, in place of the regions: as values, or as keys, too."""
    to_image = attend(image[0], *text[1:], is_word)
    return [to_image, attend(text[0], to_image if keys else image[1], to_image, is_region)]


def chained_back(
    image: Pair, text: Pair, is_region: Tensor, is_word: Tensor, keys: bool
) -> list[Tensor]:
    """The same in the other order: the regions attend to what the words got."""
    return chained(text, image, is_word, is_region, keys)[::-1]


def query_masks(image: Pair, text: Pair, is_region: Tensor, is_word: Tensor) -> list[Tensor]:
    """Queries at padding get nothing in place of keys at padding."""
    return [
        (q @ k.mT * q.shape[-1] ** -0.5)
        .masked_fill(~is_query[:, None, :, None], -torch.inf)
        .softmax(-1)
        @ v
        for (q, _, _), (_, k, v), is_query in ((image, text, is_region), (text, image, is_word))
    ]


def zero_weights(image: Pair, text: Pair, *masks: Tensor) -> list[Tensor]:
    """Weights of padding are set to 0 after the softmax."""
    return [
        (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1) * is_key[:, None, None] @ v
        for (q, _, _), (_, k, v), is_key in ((image, text, masks[1]), (text, image, masks[0]))
    ]


def uniform_if_empty(image: Pair, text: Pair, is_region: Tensor, is_word: Tensor) -> list[Tensor]:
    """The masks inverted, with a large negative number in place of minus infinity."""
    return [
        (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(is_key[:, None, None], -1e9).softmax(-1) @ v
        for (q, _, _), (_, k, v), is_key in ((image, text, is_word), (text, image, is_region))
    ]


def co_inputs(generator: torch.Generator, as_many: bool = False) -> tuple[list, dict]:
    """as_many: as many words as regions, with other padding, so that the wrong stream's mask has the right shape."""
    regions, width = number(generator, 4, 5), number(generator, 6, 9)
    words = regions if as_many else regions + number(generator, 1, 2)
    streams = [
        tuple(normal(generator, 2, 2, length, width) for _ in range(3))
        for length in (regions, words)
    ]
    sizes = torch.tensor([[regions], [regions - 1]]), torch.tensor([[words - 2], [words]])
    masks = [torch.arange(length) < size for length, size in zip((regions, words), sizes)]
    return [*streams, *masks], {}


CO_MISTAKES = {
    "that is self-attention, twice: keys and values must come from the other stream.": lambda i, t, r, w: [
        attend(*i, r),
        attend(*t, w),
    ],
    "the two results are exchanged: what the regions get comes first.": lambda *args: crossed(
        *args
    )[::-1],
    "the two results are exchanged, and the scores are not divided by the square root of the width.": lambda *args: (
        crossed(*args, scale=1.0)[::-1]
    ),
    "the scores are not divided by the square root of the width.": partial(crossed, scale=1.0),
    "the scores are divided by the width of a head: divide by its square root.": (
        lambda i, *args: crossed(i, *args, scale=1 / i[0].shape[-1])
    ),
    "the scores are divided by the square root of all heads' width: one head's is wanted.": (
        lambda i, *args: crossed(i, *args, scale=(i[0].shape[1] * i[0].shape[-1]) ** -0.5)
    ),
    "the softmax runs over the heads (dim 1): each query's weights over the keys must sum to 1.": (
        lambda *args: [part.nan_to_num() for part in crossed(*args, axis=1)],
        lambda *args: crossed(*args, axis=1, fill=-1e9),
    ),
    "padding is attended to: leave out keys where the mask is False.": no_padding,
    "padding is attended to, and the scores are not divided by the square root of the width.": partial(
        no_padding, scale=1.0
    ),
    "the masks are inverted: True means a real key, so leave out keys where the mask is False.": (
        lambda i, t, r, w: crossed(i, t, ~r, ~w),
        uniform_if_empty,
    ),
    "the masks are exchanged: leave out padding of the stream that gives the keys.": lambda i, t, r, w: (
        crossed(i, t, w, r)
    ),
    "the mask is laid over the queries: it must leave out keys, the last axis of the scores.": query_masks,
    "weights of padding are set to 0 after the softmax, so the others no longer sum to 1: mask the scores before it.": zero_weights,
    "a masked score of 0 still has weight, because exp(0) is 1: use minus infinity.": zero_scores,
    "a masked score of 0 still has weight: use minus infinity. Also, the scores are not divided by the "
    "square root of the width.": partial(crossed, scale=1.0, fill=0.0),
    "the second direction reads the first's result: both read the states from before the layer.": (
        partial(chained, keys=True),
        partial(chained, keys=False),
        partial(chained_back, keys=True),
        partial(chained_back, keys=False),
    ),
    "one map serves both directions, transposed after its softmax: its rows no longer sum to 1.": partial(
        one_map, before=False
    ),
    "the words' map is the regions' map, transposed: words have queries of their own.": partial(
        one_map, before=True
    ),
    "the softmax runs over the queries; each query's weights over the keys must sum to 1.": lambda *args: [
        part.nan_to_num() for part in no_padding(*args, axis=-2)
    ],
}


def block_inputs(generator: torch.Generator) -> tuple[list, dict]:
    heads, width, length = 2, 2 * number(generator, 3, 5), number(generator, 4, 6)
    block = CrossAttentionBlock(width, heads, 8, width)
    for parameter in block.parameters():
        parameter.data = normal(generator, *parameter.shape)
    x = normal(generator, 2, length, width)
    return [x, normal(generator, 2, heads, length, width // heads), block], {}


def merge(attended: Tensor) -> Tensor:
    return attended.transpose(1, 2).flatten(2)


def updated(
    x: Tensor,
    attended: Tensor,
    block: nn.Module,
    join: Callable = merge,
    out: bool = True,
    first: bool = True,
    second: bool = True,
) -> Tensor:
    """post_norm_update with something left out, or heads joined in another way."""
    got = join(attended)
    got = block.attention.out(got) if out else got
    x = block.norm1(x + got if first else got)
    return block.norm2(x + block.feedforward(x) if second else block.feedforward(x))


def pre_norm(x: Tensor, attended: Tensor, block: nn.Module) -> Tensor:
    x = x + block.attention.out(merge(attended))
    return x + block.feedforward(block.norm2(x))


def norm_first(x: Tensor, attended: Tensor, block: nn.Module) -> Tensor:
    x = x + block.norm1(block.attention.out(merge(attended)))
    return x + block.norm2(block.feedforward(x))


def norms_exchanged(x: Tensor, attended: Tensor, block: nn.Module) -> Tensor:
    x = block.norm2(x + block.attention.out(merge(attended)))
    return block.norm1(x + block.feedforward(x))


def with_norms(
    x: Tensor,
    attended: Tensor,
    block: nn.Module,
    first: str | None = "norm1",
    second: str | None = "norm2",
) -> Tensor:
    """The block with other norms, by name; None: none."""
    norm1, norm2 = (getattr(block, name) if name else nn.Identity() for name in (first, second))
    x = norm1(x + block.attention.out(merge(attended)))
    return norm2(x + block.feedforward(x))


def from_input(x: Tensor, attended: Tensor, block: nn.Module, residual: bool) -> Tensor:
    """The block's input is the second residual, or goes into the feed-forward layer, in place of the first norm's output."""
    y = block.norm1(x + block.attention.out(merge(attended)))
    return block.norm2(x + block.feedforward(y) if residual else y + block.feedforward(x))


BLOCK_MISTAKES = {
    "the second residual is the block's input x; it is x', the output of the first norm.": partial(
        from_input, residual=True
    ),
    "the feed-forward layer was given the block's input x; it gets x', the output of the first norm.": partial(
        from_input, residual=False
    ),
    "the heads are joined in the wrong order: first bring (B, H, L, D / H) to (B, L, H, D / H).": partial(
        updated, join=lambda a: a.flatten(1).unflatten(1, (a.shape[2], -1))
    ),
    "`block.attention.out` is missing: it mixes what the heads found.": partial(updated, out=False),
    "the residual of the attention is missing.": partial(updated, first=False),
    "the residual of the feed-forward layer is missing.": partial(updated, second=False),
    "both residuals are missing.": partial(updated, first=False, second=False),
    "that is pre-norm: BERT normalises the sum, after each residual.": pre_norm,
    "the norm is applied before the sum; BERT normalises the sum.": norm_first,
    "the two norms are exchanged.": norms_exchanged,
    "the first norm is missing.": partial(with_norms, first=None),
    "the second norm is missing.": partial(with_norms, second=None),
    "one norm is used twice: norm1 after the attention, norm2 after the feed-forward layer.": (
        partial(with_norms, second="norm1"),
        partial(with_norms, first="norm2"),
    ),
    "the feed-forward layer is missing.": lambda x, a, block: block.norm2(
        block.norm1(x + block.attention.out(merge(a)))
    ),
}


EXERCISES = {
    "co_attention": Exercise(
        "Queries from one stream, keys and values from the other, padding left out.",
        (
            rule("co_attention", partial(co_inputs, as_many=True), crossed, CO_MISTAKES),
            rule("co_attention", co_inputs, crossed, CO_MISTAKES),
        ),
        reference=reference.co_attention,
    ),
    "post_norm_update": Exercise(
        "Heads joined, two residuals, a norm after each sum.",
        (
            rule(
                "post_norm_update",
                block_inputs,
                lambda *args: reference.post_norm_update(*args).detach(),
                {
                    words: [lambda *a, f=wrong: f(*a).detach() for wrong in listed(formulas)]
                    for words, formulas in BLOCK_MISTAKES.items()
                },
                tolerance=1e-3,
            ),
        ),
        reference=reference.post_norm_update,
    ),
}  # fmt: skip
