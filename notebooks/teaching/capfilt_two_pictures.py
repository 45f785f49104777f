"""Lesson 09: the check of the exercise on a block that reads two pictures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from teaching import capfilt_reference as reference
from teaching.exercises import Exercise, normal, number, rule
from vlmcourse.parts.layers import PostNormBlock
from vlmgrader.checks import driver_source


def block_inputs(generator: torch.Generator) -> tuple[list, dict]:
    B, T, P, D = number(generator, 2, 3), number(generator, 3, 5), 4, 8
    mask = torch.ones(B, 1, 1, T, dtype=torch.bool)
    mask[0, ..., -1] = False
    seed = number(generator, 0, 10_000)
    learned = bool(number(generator, 0, 1))
    x, left, right = (normal(generator, B, length, D) for length in (T, P, P))
    return [x, mask.expand(B, 1, T, T), left, right, learned, seed], {}


def run_two_pictures(target, x, mask, left, right, learned, seed):
    """Driver: two_picture_block on a block that depends on the seed alone."""
    import torch

    from vlmcourse.parts.attention import Attention
    from vlmcourse.parts.layers import PostNormBlock

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        block = PostNormBlock(8, 2, context_width=8)
        other = Attention(8, 2, 8)
        merge = torch.nn.Linear(16, 8) if learned else None
        for parameter in [*block.parameters(), *other.parameters()]:
            torch.nn.init.normal_(parameter, std=0.5)
    with torch.no_grad():
        return target(block, other, merge, x, mask, left, right)


def merged(
    block: PostNormBlock,
    other: nn.Module,
    merge: nn.Module | None,
    x: Tensor,
    mask: Tensor,
    left: Tensor,
    right: Tensor,
    both: Callable = lambda block, other, x, left, right: (
        block.cross(x, context=left),
        other(x, context=right),
    ),
    mean: Callable = lambda both: sum(both) / 2,
    learned: bool | None = None,
    order: int = 1,
    residual: bool = True,
    norm: str = "norm_cross",
    attend: Callable = lambda block, x, mask: block.norm1(x + block.attention(x, mask=mask)),
    last: Callable = lambda block, x: block.norm2(x + block.feedforward(x)),
    early: bool = False,
) -> Tensor:
    """two_picture_block with other choices. early: cross-attention gets the x before self-attention."""
    before, x = x, attend(block, x, mask)
    parts = both(block, other, before if early else x, left, right)[::order]
    use_merge = merge is not None if learned is None else learned and merge is not None
    read = merge(torch.cat(parts, dim=-1)) if use_merge else mean(parts)
    x = getattr(block, norm)(x * residual + read) if norm else x * residual + read
    return last(block, x)


def one_after_the_other(block, other, merge, x, mask, left, right) -> Tensor:
    x = block.norm1(x + block.attention(x, mask=mask))
    x = block.norm_cross(x + block.cross(x, context=left))
    x = block.norm_cross(x + other(x, context=right))
    return block.norm2(x + block.feedforward(x))


def one_residual_after_the_other(block, other, merge, x, mask, left, right) -> Tensor:
    x = block.norm1(x + block.attention(x, mask=mask))
    x = x + block.cross(x, context=left)
    x = block.norm_cross(x + other(x, context=right))
    return block.norm2(x + block.feedforward(x))


def right_behind_left(block, other, x, left, right) -> tuple[Tensor, Tensor]:
    """What the right cross-attention reads, for x and what the left one has read."""
    read = block.cross(x, context=left)
    return read, other(x + read, context=right)


def right_of_left(block, other, x, left, right) -> tuple[Tensor, Tensor]:
    read = block.cross(x, context=left)
    return read, other(read, context=right)


def right_behind_norm(block, other, x, left, right) -> tuple[Tensor, Tensor]:
    read = block.cross(x, context=left)
    return read, other(block.norm_cross(x + read), context=right)


def one_long_picture(block, other, merge, x, mask, left, right) -> Tensor:
    x = block.norm1(x + block.attention(x, mask=mask))
    x = block.norm_cross(x + block.cross(x, context=torch.cat([left, right], 1)))
    return block.norm2(x + block.feedforward(x))


def two_picture_mistake(formula: Callable = merged, **choices) -> Callable:
    return lambda *args: run_two_pictures(partial(formula, **choices), *args)


def with_merge(flag: bool) -> Callable:
    """Inputs with a linear layer, or without."""

    def inputs(generator: torch.Generator) -> tuple[list, dict]:
        args, options = block_inputs(generator)
        args[4] = flag
        return args, options

    return inputs


TWO_PICTURE_MISTAKES = {
    "both pictures are read by the same cross-attention: the right one has its own.": (
        two_picture_mistake(
            both=lambda b, o, x, l, r: (b.cross(x, context=l), b.cross(x, context=r))  # noqa: E741
        )
    ),
    "left and right are exchanged: the block's own cross-attention reads the left picture.": (
        two_picture_mistake(
            both=lambda b, o, x, l, r: (o(x, context=l), b.cross(x, context=r))  # noqa: E741
        ),
        two_picture_mistake(
            both=lambda b, o, x, l, r: (b.cross(x, context=r), o(x, context=l))  # noqa: E741
        ),
    ),
    "the pictures are read one after the other: both cross-attentions get the same x.": (
        two_picture_mistake(one_after_the_other),
        two_picture_mistake(one_residual_after_the_other),
        two_picture_mistake(both=right_behind_left),
        two_picture_mistake(both=right_of_left),
        two_picture_mistake(both=right_behind_norm),
    ),
    "both pictures form one long context: that is how films are read.": two_picture_mistake(
        one_long_picture
    ),
    "self-attention is missing.": two_picture_mistake(attend=lambda block, x, mask: x),
    "the mask of self-attention is not used.": two_picture_mistake(
        attend=lambda block, x, mask: block.norm1(x + block.attention(x))
    ),
    "the residual connection round self-attention is missing.": two_picture_mistake(
        attend=lambda block, x, mask: block.norm1(block.attention(x, mask=mask))
    ),
    "the LayerNorm after self-attention is missing.": two_picture_mistake(
        attend=lambda block, x, mask: x + block.attention(x, mask=mask)
    ),
    "the cross-attentions get the x before self-attention: they get the x behind `norm1`.": (
        two_picture_mistake(early=True)
    ),
    "the residual connection round the two cross-attentions is missing.": two_picture_mistake(
        residual=False
    ),
    "the LayerNorm after the cross-attentions is missing.": two_picture_mistake(norm=""),
    "the LayerNorm after the cross-attentions is another one: it is `norm_cross`.": (
        two_picture_mistake(norm="norm2")
    ),
    "the feed-forward network is missing.": two_picture_mistake(last=lambda block, x: x),
    "the residual connection round the feed-forward network is missing.": two_picture_mistake(
        last=lambda block, x: block.norm2(block.feedforward(x))
    ),
    "the LayerNorm after the feed-forward network is missing.": two_picture_mistake(
        last=lambda block, x: x + block.feedforward(x)
    ),
    "the LayerNorms stand behind the residual connections here, not before the layers.": (
        two_picture_mistake(
            attend=lambda block, x, mask: x + block.attention(block.norm1(x), mask=mask),
            both=lambda b, o, x, l, r: (  # noqa: E741
                b.cross(b.norm_cross(x), context=l),
                o(b.norm_cross(x), context=r),
            ),
            norm="",
            last=lambda block, x: x + block.feedforward(block.norm2(x)),
        )
    ),
}
MEAN_MISTAKES = TWO_PICTURE_MISTAKES | {
    "the outputs are added: without `merge` take their mean.": two_picture_mistake(mean=sum),
    "only the left picture is read.": two_picture_mistake(mean=lambda both: both[0]),
    "only the right picture is read.": two_picture_mistake(mean=lambda both: both[1]),
}
LEARNED_MISTAKES = TWO_PICTURE_MISTAKES | {
    "`merge` is not used: where it is given, it takes the place of the mean.": two_picture_mistake(
        learned=False
    ),
    "the outputs stand in the wrong order before `merge`: left, then right.": two_picture_mistake(
        order=-1
    ),
}

EXERCISES = {
    "two_picture_block": Exercise(
        "One text reads two pictures at once.",
        (
            rule(
                "two_picture_block",
                with_merge(False),
                partial(run_two_pictures, reference.two_picture_block),
                MEAN_MISTAKES,
                driver=driver_source(run_two_pictures),
                rounds=2,
            ),
            rule(
                "two_picture_block",
                with_merge(True),
                partial(run_two_pictures, reference.two_picture_block),
                LEARNED_MISTAKES,
                driver=driver_source(run_two_pictures),
                rounds=2,
            ),
        ),
        reference=reference.two_picture_block,
    ),
}
