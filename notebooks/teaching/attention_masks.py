"""Lesson 01's checks of masks: inputs, and the mistakes that have a name."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from teaching import attention_answers as answers
from teaching.exercises import Exercise, number, rule, rule_on

prefix_mask, reachable = answers.prefix_mask, answers.reachable


def prefix_inputs(generator: torch.Generator, edge: bool = False) -> tuple[list, dict]:
    """A prefix inside the sequence; edge: empty, or all of it."""
    length = number(generator, 5, 7)
    inside = number(generator, 3, length - 2)
    return [(0, length)[number(generator, 0, 1)] if edge else inside, length], {}


def prefix_closed_to_text(prefix_length: int, length: int) -> Tensor:
    """`prefix_mask` whose text attends to text only."""
    allowed = prefix_mask(prefix_length, length)
    allowed[prefix_length:, :prefix_length] = False
    return allowed


def same_level(prefix_length: int, length: int) -> Tensor:
    """True for two positions of the prefix."""
    inside = torch.arange(length) < prefix_length
    return inside[:, None] & inside


PREFIX_MISTAKES = {
    "it is upside down: True must mean 'may attend'.": lambda p, n: ~prefix_mask(p, n),
    "that is the transpose: rows are queries, columns are keys.": lambda p, n: prefix_mask(p, n).T,
    "that is causal: the prefix must also attend to its own later tokens. Which level do they all share?": (
        lambda p, n: prefix_mask(0, n)
    ),
    "every position attends to the prefix, but the text no longer to its own past.": lambda p, n: (
        torch.arange(n) < p
    ).expand(n, n),
    "the text attends to the whole text, future included: its levels must grow.": lambda p, n: (
        prefix_mask(n, n)
    ),
    "one position too many belongs to the prefix: the first text token has a level of its own.": (
        lambda p, n: prefix_mask(p + 1, n)
    ),
    "text does not attend to the prefix: it may attend to all of it.": prefix_closed_to_text,
    "a position must attend to itself: levels are compared by <=, not by <.": lambda p, n: (
        prefix_mask(p, n) & ~torch.eye(n).bool() & ~same_level(p, n)
    ),
    "the prefix attends to the text as well: open the columns of the prefix, not its rows.": (
        lambda p, n: torch.ones(n, n).tril().bool() | (torch.arange(n) < p)[:, None]
    ),
    "these are groups (==); levels are compared by <=: the text attends to the prefix and to its own past.": (
        lambda p, n: same_level(p, n) | torch.eye(n).bool()
    ),
    "one position too few belongs to the prefix: it is the positions 0 to prefix_length - 1.": (
        lambda p, n: prefix_mask(max(0, p - 1), n)
    ),
}


def packed_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Two or three documents in each row, with padding at either end that carries a document's number."""
    rows, T = [], number(generator, 7, 9)
    for row in range(2):
        cuts = 3 + torch.randperm(T - 5, generator=generator)[: 1 + row].sort().values
        rows.append(torch.bucketize(torch.arange(T), cuts, right=True) + 1)
    is_token = torch.ones(2, T).bool()
    is_token[0, : number(generator, 1, 2)] = False
    is_token[1, -number(generator, 1, 2) :] = False
    return [torch.stack(rows), is_token], {}


def packed_result(document, is_token, parts=("document", "causal", "padding"), **changes) -> Tensor:
    """packed_mask as the intersection of its parts; other arguments make mistakes."""
    T = document.shape[1]
    masks = {
        "document": document[:, :, None] == document[:, None, :],
        "causal": torch.ones(T, T).tril().bool().expand(len(document), T, T),
        "past": torch.ones(T, T).tril(-1).bool().expand(len(document), T, T),
        "future": torch.ones(T, T).triu().bool().expand(len(document), T, T),
        "padding": is_token[:, None, :].expand(-1, T, -1),
        "padded queries": is_token[:, :, None].expand(-1, -1, T),
        "real or padding": is_token[:, :, None] == is_token[:, None, :],
        "pads": ~is_token[:, None, :].expand(-1, T, -1),
    }
    allowed = torch.stack([masks[part] for part in parts])
    allowed = allowed.any(0) if changes.get("union") else allowed.all(0)
    return (allowed | torch.eye(T).bool() if changes.get("diagonal") else allowed)[:, None]


packed = partial(partial, packed_result)
PACKED_MISTAKES = {
    "padding is still attended to: columns of padding must be False.": packed(
        parts=("document", "causal")
    ),
    "texts attend to the future: the mask is not causal.": packed(parts=("document", "padding")),
    "texts attend to earlier documents: two documents in one row must not see each other.": packed(
        parts=("causal", "padding")
    ),
    "a token must attend to itself: not later than the query includes the query.": packed(
        parts=("document", "past", "padding")
    ),
    "only the causal mask is there: close other documents and padding, too.": packed(
        parts=("causal",)
    ),
    "padding must be closed as keys (columns); yours closes it as queries (rows).": packed(
        parts=("document", "causal", "padded queries")
    ),
    "the rows of padding are closed, too: close its columns, and leave its rows as they are.": packed(
        parts=("document", "causal", "padding", "padded queries")
    ),
    "tokens of padding attend to each other: no query may attend to padding, so close its columns.": packed(
        parts=("document", "causal", "real or padding")
    ),
    "padding attends to itself, because the diagonal is opened in the end: an empty row stays empty.": packed(
        diagonal=True
    ),
    "the three conditions must hold together (&); yours asks for any of them (|).": packed(
        union=True
    ),
    "is_token is used upside down: it is True where a token is real.": packed(
        parts=("document", "causal", "pads")
    ),
    "texts attend to the future instead of the past: rows are queries, columns are keys.": packed(
        parts=("document", "future", "padding")
    ),
    "the axis of the heads is missing: expected (B, 1, T, T).": lambda *args: packed_result(*args)[
        :, 0
    ],
    "it is upside down: True must mean 'may attend'.": lambda *args: ~packed_result(*args),
}


def last_image(is_tag: Tensor, image: Tensor, shift: int = 0, include: bool = True) -> Tensor:
    """(T, K): a token attends to keys of image number phi, the image tokens up to and including it."""
    phi = is_tag.long().cumsum(0) - (0 if include else is_tag.long())
    return phi[:, None] + shift == image[None, :]


def at_least(is_tag: Tensor, image: Tensor, sign: int) -> Tensor:
    """All images so far (sign 1), or the last one and all that follow (-1)."""
    return sign * is_tag.long().cumsum(0)[:, None] >= sign * image[None, :]


def tags_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """A text that starts with a word, two or three image tokens in it, and their visual tokens."""
    length, images = number(generator, 6, 9), number(generator, 2, 3)
    is_tag = torch.zeros(length, dtype=torch.bool)
    is_tag[1 + torch.randperm(length - 1, generator=generator)[:images]] = True
    image = torch.arange(1, images + 1).repeat_interleave(number(generator, 1, 2))
    return [is_tag, image], {}


LAST_IMAGE_MISTAKES = {
    "it is upside down: True must mean 'may attend'.": lambda t, i: ~last_image(t, i),
    "that is the transpose: rows are tokens, columns are keys.": lambda t, i: last_image(t, i).T,
    "tokens attend to every image so far: == is wanted where you have <= or >=.": lambda t, i: (
        at_least(t, i, 1)
    ),
    "tokens attend to images still to come: compare for equality.": lambda t, i: at_least(t, i, -1),
    "an image token doesn't attend to its own image: count the image tokens up to *and including* it.": (
        lambda t, i: last_image(t, i, include=False)
    ),
    "only image tokens attend, all of them to image 1: number the images by a running count (cumsum) of their tokens.": (
        lambda t, i: t.long()[:, None] == i[None, :]
    ),
    "text before the first image attends to image 1: with no image yet the count is 0, and 0 matches nothing.": (
        lambda t, i: t.long().cumsum(0).clamp(min=1)[:, None] == i[None, :]
    ),
    "every token attends to the image before its own: the count is 1 at the first image token, 2 at the second.": (
        lambda t, i: last_image(t, i, shift=-1)
    ),
    "every token attends to the next image: the count starts at 0, and images are numbered from 1.": (
        lambda t, i: last_image(t, i, shift=1)
    ),
}


def reachable_inputs(generator: torch.Generator, deep: bool = False) -> tuple[list, dict]:
    """A sparse mask that is not symmetric and lacks some of its diagonal, and a depth of 2 or 3.

    deep: a depth of 4, and a mask so large that not even 2^4 blocks reach everything
    """
    length = number(generator, 19, 21) if deep else number(generator, 8, 10)
    allowed = torch.zeros(length, length).bool()
    order = torch.randperm(length, generator=generator)
    allowed[order[1:], order[:-1]] = True  # a chain in random order, and one more connection
    allowed[order[-1], order[0]] = True
    allowed[order[0], order[0]] = True
    return [allowed, 4 if deep else number(generator, 2, 3)], {}


def _powers(allowed: Tensor, depth: int) -> Tensor:
    """Without the residual connections."""
    reach = torch.eye(len(allowed)).bool()
    for _ in range(depth):
        reach = (allowed.float() @ reach.float()) > 0
    return reach


def _paths(allowed: Tensor, depth: int) -> Tensor:
    return torch.matrix_power((allowed | torch.eye(len(allowed)).bool()).float(), depth)


REACHABLE_MISTAKES = {
    "the residual connections are missing: every position also keeps what it has.": _powers,
    "each step doubles the depth: the table is multiplied by itself, not by the one of a single block.": (
        lambda a, depth: reachable(a, 2**depth),
        lambda a, depth: reachable(a, 2 ** (depth - 1)),
    ),
    "the residual connections are missing inside: the diagonal must be added to each block, not only in the end.": (
        lambda a, depth: _powers(a, depth) | torch.eye(len(a)).bool()
    ),
    "that is one layer less than asked for.": lambda a, depth: reachable(a, depth - 1),
    "that is one layer more than asked for.": lambda a, depth: reachable(a, depth + 1),
    "that is the transpose: rows are outputs, columns are inputs.": lambda a, depth: (
        reachable(a, depth).T
    ),
    "the first layer alone: the depth is not used.": lambda a, depth: reachable(a, 1),
    "the number of layers is without effect in the end: the result has everything that any depth could reach.": (
        lambda a, depth: reachable(a, 50)
    ),
    "return booleans: is there any path at all?": _paths,
    "it is upside down: True means that the input can change the output.": lambda a, depth: (
        ~reachable(a, depth)
    ),
}


PREFIX = Exercise(
    "The prefix shares level 0, then levels count up.",
    (
        rule("prefix_mask", prefix_inputs, prefix_mask, PREFIX_MISTAKES),
        rule_on("prefix_mask", partial(prefix_inputs, edge=True), prefix_mask, PREFIX_MISTAKES),
    ),
    reference=prefix_mask,
)
PACKED = Exercise(
    "Groups, levels and padding are three conditions that hold together.",
    (
        rule(
            "packed_mask",
            packed_inputs,
            answers.packed_mask,
            PACKED_MISTAKES,
        ),
    ),
    reference=answers.packed_mask,
)
LAST_IMAGE = Exercise(
    "The count of image tokens is the group of a token, and its keys are those of the same group.",
    (
        rule(
            "last_image_mask",
            tags_inputs,
            answers.last_image_mask,
            LAST_IMAGE_MISTAKES,
        ),
    ),
    reference=answers.last_image_mask,
)
REACHABLE = Exercise(
    "Depth extends a mask along paths, and residual connections let information wait.",
    (
        rule("reachable", partial(reachable_inputs, deep=True), reachable, REACHABLE_MISTAKES),
        rule_on("reachable", reachable_inputs, reachable, REACHABLE_MISTAKES),
    ),
    reference=reachable,
)
