"""Lesson 11: the checks of the exercises on pages: who attends to which image, tags in texts, new words' embeddings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import flamingo_reference as reference
from teaching.exercises import Exercise, number, rule, rule_on, run_and_watch_inputs
from vlmgrader.checks import driver_source

# 9. The mask.


def mask_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Two texts with tags: the first token is none, and the second text has fewer than N images."""
    T, N, R = number(generator, 10, 12), 3, number(generator, 2, 3)
    tag = number(generator, 4, 9)
    ids = torch.randint(10, 20, (2, T), generator=generator)
    for row, count in zip(ids, (N, N - 1)):
        row[2 + torch.randperm(T - 3, generator=generator)[:count]] = tag
    return [ids, tag, N, R], {}


def masked(ids, tag, N, R, phi=None, compare=torch.eq, first: int = 1, spread=None) -> Tensor:
    """image_mask with another phi, comparison, first number or order of latents."""
    is_image = ids == tag
    number = is_image.long().cumsum(-1) if phi is None else phi(is_image)
    groups = compare(number[..., None], torch.arange(first, first + N))  # (B, T, N)
    return groups.repeat_interleave(R, -1) if spread is None else spread(groups, R)


def by(phi: Callable) -> Callable:
    return partial(masked, phi=phi)


MASK_MISTAKES = {
    "each token attends to all images so far; it attends to the last one only.": partial(
        masked, compare=torch.ge
    ),
    "it is upside down: True means may attend.": partial(masked, compare=torch.ne),
    "tokens before the first image attend to the first image; they attend to none.": by(
        lambda x: x.long().cumsum(-1).clamp(min=1)
    ),
    "every token attends to the next image: are your images numbered from 0?": (
        partial(masked, first=0),
        by(lambda x: x.long().cumsum(-1) + 1),
    ),
    "an image token doesn't attend to its own image; here it does.": by(
        lambda x: x.long().cumsum(-1) - x.long()
    ),
    "only image tokens attend; the words after them do, too.": lambda ids, tag, N, R: (
        masked(ids, tag, N, R) & (ids == tag)[..., None]
    ),
    "image tokens attend to nothing; here they attend to their own image.": lambda ids, tag, N, R: (
        masked(ids, tag, N, R) & (ids != tag)[..., None]
    ),
    "the count runs over the whole batch; it begins anew in each text.": by(
        lambda x: x.flatten().long().cumsum(0).reshape(x.shape)
    ),
    "the count runs from text to text; it runs along each text.": by(lambda x: x.long().cumsum(0)),
    "image tokens are counted from the end of the text; count those up to each token.": by(
        lambda x: x.long().flip(-1).cumsum(-1).flip(-1)
    ),
    "the latents of an image stand side by side; yours come image by image, over and over: repeat each number.": (
        partial(masked, spread=lambda groups, R: groups.repeat(1, 1, R))
    ),
    "all tokens attend to the first image only.": by(
        lambda x: x.any(-1, keepdim=True).long() + 0 * x
    ),
    "all tokens attend to the last image of their text.": by(
        lambda x: x.sum(-1, keepdim=True) + 0 * x
    ),
    "only the first latent of each image is open; all R are.": partial(
        masked,
        spread=lambda groups, R: (
            groups.repeat_interleave(R, -1) & (torch.arange(groups.shape[-1] * R) % R == 0)
        ),
    ),
}


def explain_mask(got: object, wanted: Tensor, ids, tag, N, R) -> str | None:
    if not isinstance(got, Tensor):
        return None
    B, T = ids.shape
    shapes = {
        (B, T, N): "a column for each image; wanted is one for each of the N * R latents.",
        (B, N * R, T): "rows and columns are exchanged: a row for each token.",
        (B, T, N, R): "images and latents are two axes; join them: (B, T, N * R).",
        (B, 1, T, N * R): "an axis for heads is too many here: (B, T, N * R).",
        (T, N * R): "the axis of the batch is missing.",
    }
    return shapes.get(tuple(got.shape))


# 10. Interleaving.

TAG, END = "<image> .", "<EOC>"


def page_inputs(generator: torch.Generator, begins: str) -> tuple[list, dict]:
    """A page of texts and pictures (numbers stand for these) that begins with a "text" or a "picture"."""
    words = [f"text {chr(97 + n)} ." for n in torch.randperm(9, generator=generator)[:4].tolist()]
    pictures = torch.randperm(90, generator=generator)[:4].tolist()
    parts = [words[0], pictures[0], words[1], words[2], pictures[1], pictures[2], words[3]]
    parts += [pictures[3]] if number(generator, 0, 1) else []
    return [parts if begins == "text" else parts[1:], TAG, END], {}


def page_of(
    parts, tag, end, before: Callable = lambda done: bool(done), last=True, after=(), joint=" "
) -> list:
    """interleave. before: (what stands so far) -> an end of chunk before a picture? after: kinds of parts with one behind"""
    done, pictures = [], []
    for part in parts:
        if isinstance(part, str):
            done.append(part)
        else:
            done += [end] if before(done) else []
            done.append(tag)
            pictures.append(part)
        if ("text" if isinstance(part, str) else "picture") in after:
            done.append(end)
    return [joint.join([*done, *([end] if last else [])]), pictures]


def never(done) -> bool:
    return False


def page(**options) -> Callable:
    return partial(page_of, **options)


PAGE_MISTAKES = {
    "the end of chunk at the end of the page is missing.": page(last=False),
    "nothing stands before a first picture, so nothing ends there: no end of chunk.": page(
        before=lambda done: True
    ),
    "there is no end of chunk before the pictures.": page(before=never),
    "the ends of chunk are missing.": page(before=never, last=False),
    "a chunk ends before a picture, not after each text.": page(
        before=never, last=False, after=("text",)
    ),
    "a chunk ends before a picture, not after it.": page(before=never, after=("picture",)),
    "an end of chunk stands before a picture only after a text in yours; two pictures in a row need one, too.": (
        page(before=lambda done: bool(done) and done[-1] != TAG)
    ),
    "the parts of the text need a space between them.": page(joint=""),
    "the pictures are in reverse order.": lambda *args: [
        page_of(*args)[0],
        page_of(*args)[1][::-1],
    ],
    "text and pictures are exchanged in your result.": lambda *args: page_of(*args)[::-1],
    "the pictures' tags are missing in the text.": lambda parts, tag, end: [
        " ".join(page_of(parts, "", end)[0].split()),
        page_of(parts, tag, end)[1],
    ],
    "the result lists all parts; wanted are the pictures alone.": lambda parts, tag, end: [
        page_of(parts, tag, end)[0],
        list(parts),
    ],
}
NO_TEXT_BEFORE = "nothing stands before a first picture, so nothing ends there: no end of chunk."


def explain_page(got: object, wanted: list, parts, *_) -> str | None:
    if isinstance(got, str):
        return "that is the text alone; wanted are the text and the list of pictures."
    if isinstance(got, (list, tuple)) and len(got) == 2:
        text, pictures = got
        if isinstance(text, list):
            return "the text is a list of words; join them to one text, with spaces."
        if isinstance(pictures, list) and pictures != wanted[1]:
            return "the text is one thing; look at your list of pictures, too."
    return None


def page_checks() -> tuple:
    only_where = {name: one for name, one in PAGE_MISTAKES.items() if name != NO_TEXT_BEFORE}
    return tuple(
        rule(
            "interleave", partial(page_inputs, begins=begins), page_of, named, explain=explain_page
        )
        for begins, named in (("text", only_where), ("picture", PAGE_MISTAKES))
    )


def same_mask(*args) -> list:
    return [masked(*args), True]


EXERCISES = {
    "image_mask": Exercise(
        "A count of image tokens is all it takes; text before the first image attends to none.",
        (
            rule("image_mask", mask_inputs, masked, MASK_MISTAKES, explain=explain_mask),
            rule_on(
                "image_mask",
                mask_inputs,
                same_mask,
                driver=driver_source(run_and_watch_inputs),
                explain=lambda *_: "the ids were changed; the caller still needs them.",
                rounds=1,
            ),
        ),
        reference=reference.image_mask,
    ),
    "interleave": Exercise(
        "One text, one list: the n-th tag stands for the n-th picture.",
        page_checks(),
        reference=reference.interleave,
    ),
}
