"""Lesson 02: formulas of the exercises on data and the Vision Transformer's input, and what each likely mistake would give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from teaching.exercises import normal, number

# 1. Data collection.


def collect(
    candidates: Sequence[tuple],
    most: int,
    key: Callable = lambda pair: pair[1:],
    group: Callable = lambda pair: pair[0],
    duplicates_count: bool = False,
    remember_all: bool = False,
) -> list[tuple]:
    """(query, image, text) candidates, in order, without repeated pairs and at most `most` of a query."""
    collected, known, counts = [], set(), Counter()
    for pair in candidates:
        new, room = key(pair) not in known, counts[group(pair)] < most
        if new and room:
            collected.append(pair)
        if (new and room) or remember_all:
            known.add(key(pair))
        counts[group(pair)] += (new and room) or (duplicates_count and not new)
    return collected


def candidates_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Ninety-one candidates, the first of which is repeated at once, and a limit for each query."""
    queries, texts = ("dog", "red dog", "boat"), ("my dog", "IMG_001", "for sale")
    rows = [
        (queries[number(generator, 0, 2)], number(generator, 1, 6), texts[number(generator, 0, 2)])
        for _ in range(90)
    ]
    return [[rows[0], *rows], number(generator, 4, 6)], {}


COLLECT = {
    "no query is cut off: count the pairs taken from each, and stop at `most`.": lambda c, m: (
        collect(c, 10**9)
    ),
    "a pair that two queries find is in it twice: the query is no part of the pair.": lambda c, m: (
        collect(c, m, key=lambda pair: pair)
    ),
    "a pair is in it more than once: compare each with those already taken.": lambda c, m: collect(
        c, m, key=lambda pair: object()
    ),
    "only the image decides what is a repeat: the same image with another text is another pair.": (
        lambda c, m: collect(c, m, key=lambda pair: pair[1])
    ),
    "only the text decides what is a repeat: the same text with another image is another pair.": (
        lambda c, m: collect(c, m, key=lambda pair: pair[2])
    ),
    "`most` is applied to all queries together: each query has its own limit.": lambda c, m: (
        collect(c, m, group=lambda pair: None)
    ),
    "a pair that one query had no room for is refused to a later query, too.": lambda c, m: collect(
        c, m, remember_all=True
    ),
    "a repeat takes one of its query's places: only pairs that are taken count.": lambda c, m: (
        collect(c, m, duplicates_count=True)
    ),
    "the last candidates are taken: they come most relevant first.": (
        lambda c, m: collect(c[::-1], m)[::-1],
        lambda c, m: collect(c[::-1], m),
    ),
    "the order has changed: go through the candidates once, and append.": (
        lambda c, m: sorted(collect(c, m)),
        lambda c, m: sorted(collect(c, m), key=lambda pair: pair[0]),
        lambda c, m: [
            pair
            for query in dict.fromkeys(pair[0] for pair in c)
            for pair in collect(c, m)
            if pair[0] == query
        ],
    ),
    "one pair of each query is missing: `most` pairs are allowed.": lambda c, m: collect(c, m - 1),
    "there is one pair of a query too many.": lambda c, m: collect(c, m + 1),
}


# 2. and 3. The image tower's input.


def patchify(pixel_values: Tensor, p: int, order: tuple[int, ...] = (0, 2, 4, 1, 3, 5)) -> Tensor:
    """(B, C, S, S) -> (B, P, C * p * p): patches row by row, each flattened channel by channel."""
    B, C, S, _ = pixel_values.shape
    grid = S // p
    x = pixel_values.reshape(B, C, grid, p, grid, p).permute(order)
    return x.reshape(B, grid * grid, C * p * p)


def pixels_inputs(generator: torch.Generator) -> tuple[list, dict]:
    p = number(generator, 2, 3)
    grid = p + number(generator, 1, 2)
    return [normal(generator, number(generator, 2, 3), 3, p * grid, p * grid), p], {}


PATCHIFY = {
    "the patches come column by column: go along a row of patches first.": partial(
        patchify, order=(0, 4, 2, 1, 3, 5)
    ),
    "each patch is flattened pixel by pixel: all of channel 0 comes first, then channel 1, then 2.": (
        partial(patchify, order=(0, 2, 4, 3, 5, 1))
    ),
    "each patch is transposed: within a channel, pixels go row by row.": partial(
        patchify, order=(0, 2, 4, 1, 5, 3)
    ),
    "reshape alone mixes pixels of different patches: the axes must change their order in between.": (
        lambda x, p: x.reshape(len(x), (x.shape[2] // p) ** 2, -1),
        lambda x, p: x.reshape(len(x), 3 * p * p, -1).mT,
    ),
    "the channels come before the patches in the order of the axes.": partial(
        patchify, order=(0, 1, 2, 4, 3, 5)
    ),
    "the last two axes are exchanged: (batch, patches, values) is wanted.": lambda x, p: patchify(
        x, p
    ).transpose(1, 2),
    "these patches overlap: the next one starts `patch` pixels further.": lambda x, p: (
        torch.nn.functional.unfold(x, p).transpose(1, 2)
    ),
    "rows and columns are exchanged: patches go row by row, and so do the pixels of each.": partial(
        patchify, order=(0, 4, 2, 1, 5, 3)
    ),
    "the patch's size and the number of patches in a row are exchanged: reshape S to (S / p, p), not (p, S / p).": (
        lambda x, p: patchify(x, x.shape[2] // p),
        lambda x, p: patchify(x, x.shape[2] // p).reshape(len(x), -1, 3 * p * p),
        lambda x, p: patchify(x, x.shape[2] // p, order=(0, 3, 5, 1, 2, 4)).reshape(
            len(x), -1, 3 * p * p
        ),
    ),
}


def image_tokens(
    patches: Tensor,
    weight: Tensor,
    class_token: Tensor,
    positions: Tensor,
    join: Callable = lambda first, x: [first, x],
    start: Callable = lambda token, x: token,
) -> Tensor:
    """(B, P, K), (D, K), (D,), (1 + P, D) -> (B, 1 + P, D)."""
    x = patches @ weight.T
    first = start(class_token, x).expand(len(x), 1, -1)
    return torch.cat(join(first, x), dim=1) + positions


def tokens_inputs(generator: torch.Generator) -> tuple[list, dict]:
    P, width = number(generator, 4, 6), number(generator, 7, 9)
    shapes = (3, P, 5), (width, 5), (width,), (1 + P, width)
    return [normal(generator, *shape) for shape in shapes], {}


def only_patches_have_positions(patches, weight, class_token, positions):
    without = torch.cat([torch.zeros(1, positions.shape[1]), positions[1:]])
    return image_tokens(patches, weight, class_token, without)


TOKENS = {
    "the class token is at the end: it comes first.": partial(
        image_tokens, join=lambda first, x: [x, first]
    ),
    "the class token has no position: it has a row of `positions` too, the first.": (
        only_patches_have_positions,
        lambda x, w, c, p: only_patches_have_positions(x, w, c, p.roll(1, 0)),
    ),
    "there are no positions: add them.": lambda x, w, c, p: image_tokens(x, w, c, 0 * p),
    "the positions are shifted: row 0 belongs to the class token, row 1 to the first patch.": (
        lambda x, w, c, p: image_tokens(x, w, c, p.roll(1, 0)),
        lambda x, w, c, p: image_tokens(x, w, c, p.roll(-1, 0)),
    ),
    "the first token is the mean of the patches: CLIP's ViT has a learned one.": partial(
        image_tokens, start=lambda token, x: x.mean(1, keepdim=True)
    ),
    "the class token is missing: 1 + P tokens are wanted.": lambda x, w, c, p: (
        x @ w.T + p[1:],
        x @ w.T + p[:-1],
    )[0],
    "the class token is not used: the first token is zero before its position is added.": partial(
        image_tokens, start=lambda token, x: 0 * token
    ),
    "the positions are multiplied: add them.": lambda x, w, c, p: image_tokens(x, w, c, 0 * p) * p,
}
