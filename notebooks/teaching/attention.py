"""Lesson 01, attention and masks: exercises, quizzes, and a player for masks."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from teaching.exercises import Exercise, number, rule
from vlmcourse.parts import masks
from vlmcourse.plots import mask as draw_mask
from vlmcourse.widgets.interactive import buttons, dropdown, interactive, text_field


def prefix(seen: int, length: int) -> Tensor:
    """(length, length): all positions see the first `seen`, later ones also themselves and what is before them."""
    key, query = torch.arange(length)[None, :], torch.arange(length)[:, None]
    return (key < seen) | (key <= query)


def prefix_inputs(generator: torch.Generator, edge: bool = False) -> tuple[list, dict]:
    length = number(generator, 5, 7)
    inside = number(generator, 3, length - 2)
    return [(0, length)[number(generator, 0, 1)] if edge else inside, length], {}


PREFIX_MISTAKES = {
    "it is upside down: True must mean 'may attend'.": lambda s, n: ~prefix(s, n),
    "that is the transpose: rows are queries, columns are keys.": lambda s, n: prefix(s, n).T,
    "that is causal: the prefix must also see its own later tokens. Which level do they all share?": lambda s, n: (
        prefix(0, n)
    ),
    "everybody sees the prefix, but the text no longer sees its own past.": lambda s, n: (
        torch.arange(n) < s
    ).expand(n, n),
    "the text sees the whole text, future included: its levels must grow.": lambda s, n: prefix(
        n, n
    ),
    "one position too many belongs to the prefix: the first text token has level 1, not 0.": lambda s, n: (
        prefix(s + 1, n)
    ),
    "one position too few belongs to the prefix: positions 0 to seen - 1 share level 0.": lambda s, n: (
        prefix(max(0, s - 1), n)
    ),
}


def last_image(is_tag: Tensor, image: Tensor, shift: int = 0, include: bool = True) -> Tensor:
    """(T, K): a token attends to keys of image number phi, the tags up to and including it."""
    phi = is_tag.long().cumsum(0) - (0 if include else is_tag.long())
    return phi[:, None] + shift == image[None, :]


def at_least(is_tag: Tensor, image: Tensor, sign: int) -> Tensor:
    return sign * is_tag.long().cumsum(0)[:, None] >= sign * image[None, :]


def tags_inputs(generator: torch.Generator) -> tuple[list, dict]:
    length, images = number(generator, 6, 9), number(generator, 2, 3)
    is_tag = torch.zeros(length, dtype=torch.bool)
    is_tag[1 + torch.randperm(length - 1, generator=generator)[:images]] = True  # text comes first
    image = torch.arange(1, images + 1).repeat_interleave(number(generator, 1, 2))
    return [is_tag, image], {}


EXERCISES = {
    "prefix": Exercise(
        "The first positions share level 0, then levels count up.",
        (
            rule("my_prefix", prefix_inputs, prefix, PREFIX_MISTAKES),
            rule("my_prefix", partial(prefix_inputs, edge=True), prefix, PREFIX_MISTAKES),
        ),
    ),
    "last_image": Exercise(
        "phi is a running count of tags, and a token attends to the keys of image number phi.",
        (
            rule(
                "my_last_image",
                tags_inputs,
                last_image,
                {
                    "it is upside down: True must mean 'may attend'.": lambda t, i: (
                        ~last_image(t, i)
                    ),
                    "that is the transpose: rows are tokens, columns are keys.": lambda t, i: (
                        last_image(t, i).T
                    ),
                    "tokens see every image so far: == is wanted where you have <= or >=.": lambda t, i: (
                        at_least(t, i, 1)
                    ),
                    "tokens see the images still to come: compare for equality.": lambda t, i: (
                        at_least(t, i, -1)
                    ),
                    "an image tag doesn't see its own image: count the tags up to *and including* the token.": lambda t, i: (
                        last_image(t, i, include=False)
                    ),
                    "text before the first image looks at image 1: with no image yet phi is 0, and 0 matches nothing.": lambda t, i: (
                        t.long().cumsum(0).clamp(min=1)[:, None] == i[None, :]
                    ),
                    "every token sees the next image: phi starts at 0, and images are numbered from 1.": lambda t, i: (
                        last_image(t, i, shift=1)
                    ),
                },
            ),
        ),
    ),
}


COMPARISONS = {
    "level(key) <= level(query)": masks.less_equal_mask,
    "group(key) == group(query)": masks.same_group_mask,
}
EXAMPLES = {
    "causal": (0, "0 1 2 3 4 5"),
    "prefix": (0, "0 0 0 1 2 3"),
    "uni-modal": (1, "0 0 0 1 1 1"),
    "bi-directional": (0, "0 0 0 0 0 0"),
    "two documents": (1, "1 1 1 2 2 2"),
}


def mask_of(comparison: str, integers: str) -> masks.Mask:
    """The mask of a comparison (a key of COMPARISONS) on integers typed as text. Raises ValueError for anything else."""
    words = integers.replace(",", " ").split()
    if not 1 <= len(words) <= 16 or not all(word.lstrip("-").isdigit() for word in words):
        raise ValueError(f"'{integers}': expected 1 to 16 whole numbers, such as 0 0 1 2.")
    return COMPARISONS[comparison](torch.tensor([int(word) for word in words]), name=comparison)


def mask_player() -> None:
    """Displays a rule and integers to choose, and the mask that they make."""
    example = dropdown("start from", list(EXAMPLES))
    comparison = buttons("rule", list(COMPARISONS), width="18em")
    integers = text_field("integers", EXAMPLES["causal"][1])

    def start(change: dict) -> None:
        index, numbers = EXAMPLES[change["new"]]
        comparison.value, integers.value = list(COMPARISONS)[index], numbers

    example.observe(start, "value")
    interactive(
        [example, comparison, integers],
        lambda: draw_mask(mask_of(comparison.value, integers.value)),
    )
