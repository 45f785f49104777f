"""Instant checks of the lessons' exercises. Each tries the answer on fresh random inputs and names the likely mistake."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from teaching.clip import _matrix
from teaching.exercises import Mistake
from vlmcourse.parts import masks
from vlmcourse.plots import compare_masks


def _mask(got: Tensor, wanted: Tensor, likely: dict[str, Tensor]) -> None:
    """Raises the Mistake whose mask is the one we got, with a picture of the difference."""
    if torch.equal(got, wanted):
        return
    named = next(
        (name for name, mask in likely.items() if torch.equal(got, mask)),
        "the dark cells are not the right ones.",
    )
    raise Mistake(named, compare_masks(got, wanted))


def prefix(answer: Callable[[int, int], Tensor]) -> str:
    """Lesson 01, exercise 1: prefix(seen, length) -> booleans (length, length)."""
    for seen, length in ((2, 5), (3, 7), (0, 4), (4, 4)):
        wanted = masks.prefix(seen, length).to_bool()[0, 0]
        causal, late = torch.ones(length, length).tril().bool(), torch.arange(length) < seen
        got = _matrix(answer(seen, length), wanted, "prefix()")
        _mask(
            got,
            wanted,
            {
                "it is upside down: True must mean 'may look'.": ~wanted,
                "that is the transpose: rows are queries, columns are keys.": wanted.T,
                "that is causal: the prefix must also see its own later tokens. Which level do they all share?": causal,
                "everybody sees the prefix, but the text no longer sees its own past.": late[
                    None, :
                ].expand(length, length),
                "the text sees the whole text, future included: its levels must grow.": torch.ones(
                    length, length
                ).bool(),
                "one position too many belongs to the prefix: the first text token has level 1, not 0.": masks.prefix(
                    min(seen + 1, length), length
                ).to_bool()[0, 0],
            },
        )
    return "The first positions share level 0, then levels count up."


def last_image(answer: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Lesson 01, exercise 2: last_image(is_tag (T,), image_of_key (K,)) -> booleans (T, K)."""
    for tags, keys in (("0100100", "1122"), ("0010", "11"), ("10101", "112233")):
        is_tag = torch.tensor([int(tag) for tag in tags]).bool()
        image = torch.tensor([int(key) for key in keys])
        phi = masks.phi(is_tag)
        wanted = phi[:, None] == image[None, :]
        got = _matrix(answer(is_tag, image), wanted, "last_image()")
        before = phi - is_tag.long()
        _mask(
            got,
            wanted,
            {
                "it is upside down: True must mean 'may look'.": ~wanted,
                "tokens see every image so far: == is wanted where you have <= or >=.": image[
                    None, :
                ]
                <= phi[:, None],
                "tokens see the images still to come: compare for equality.": image[None, :]
                >= phi[:, None],
                "an image tag doesn't see its own image: count the tags up to *and including* the token.": before[
                    :, None
                ]
                == image[None, :],
                "text before the first image looks at image 1: with no image yet phi is 0, and 0 matches nothing.": phi.clamp(
                    min=1
                )[:, None]
                == image[None, :],
            },
        )
    return "phi is a running count of tags, and a token sees the keys of image number phi."


def leak(answer: str) -> str:
    """Lesson 01, failure lab: which queries got what they must not, and why."""
    reasons = {
        "a": "the scores are scaled correctly: look at the rows instead. Which row has no dark cell in the declared mask?",
        "b": "a NaN would show as a missing value everywhere after softmax. These numbers are finite: that is the danger.",
        "d": "the mask's polarity is right: rows 1 to 6 see exactly what they should.",
    }
    if answer not in ("a", "b", "c", "d"):
        raise Mistake(f"{answer!r}: expected one of the letters 'a', 'b', 'c', 'd'.")
    if answer in reasons:
        raise Mistake(reasons[answer])
    return (
        "Adding the most negative number to *every* score of a row shifts them all alike, and softmax ignores a shift: "
        "the row that may look at nothing looks at everything, evenly."
    )
