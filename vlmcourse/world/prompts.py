"""Pages as a model reads them: ids with places for pictures, and the pixels of those pictures.

A page is a sequence of texts and Scenes (see pages.py). `image_prefix` is what stands in the text for a picture: one image tag
for models that look aside (Flamingo), several for models that read a picture as several words (Frozen).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vlmcourse.world import tokenizer
from vlmcourse.world.pages import Part, page_text, question_prompt, scenes
from vlmcourse.world.pairs import Pairs
from vlmcourse.world.questions import VQAPairs
from vlmcourse.world.rendering import render, to_pixels
from vlmcourse.world.scenes import Scene

Page = Sequence[Part]
View = Callable[[np.ndarray], Tensor]


def blank_images(images: np.ndarray) -> Tensor:
    """In the place of `to_pixels`: every picture is the same grey. For models trained or tested blind."""
    return torch.zeros_like(to_pixels(images))


def swap_pictures(pages: Sequence[Page]) -> list[Page]:
    """The same texts with the pictures of the next page: what is said of them is then unfounded.

    Raises ValueError unless all pages have as many pictures.
    """
    if len({len(scenes(page)) for page in pages}) > 1:
        raise ValueError(
            "pages with different numbers of pictures can't swap them; expected the same number on each."
        )
    swapped = []
    for page, donor in zip(pages, [*pages[1:], pages[0]]):
        given = iter(scenes(donor))
        swapped.append([next(given) if isinstance(part, Scene) else part for part in page])
    return swapped


def page_pixels(pages: Sequence[Page], size: int, view: View = to_pixels) -> Tensor:
    """All pictures in reading order: (M, 3, size, size); M may be 0."""
    images = [render(scene, size) for page in pages for scene in scenes(page)]
    return view(np.stack(images)) if images else torch.empty(0, 3, size, size)


def prompt_batch(
    pages: Sequence[Page],
    size: int,
    image_prefix: str = "<image>",
    view: View = to_pixels,
    using=None,
) -> dict[str, Tensor]:
    """Open pages, for a model to go on with: `ids` (B, T) padded on the left, `padding_mask` (B, T), `pixel_values` (M, 3, size, size).

    using  another tokenizer than the world's: see tokens.encode
    """
    texts = tokenizer.encode([page_text(page, image_prefix, end="") for page in pages], using=using)
    return {**pad_left(texts), "pixel_values": page_pixels(pages, size, view)}


def pad_left(ids: Tensor) -> dict[str, Tensor]:
    """Texts to go on with, from encoded ones, padded on the right: `ids` (B, T) without end token, padded on the left, `padding_mask`."""
    lengths = _lengths(ids) - 1  # the text goes on: its end token is left out
    longest = int(lengths.max())
    source = torch.arange(longest) - (longest - lengths)[:, None]  # (B, T), negative at padding
    padding_mask = source >= 0
    return {
        "ids": ids.gather(1, source.clamp(min=0)).where(padding_mask, tokenizer.PAD),
        "padding_mask": padding_mask,
    }


def training_batch(
    pages: Sequence[Page],
    answers: Sequence[str],
    size: int,
    image_prefix: str = "<image>",
    view: View = to_pixels,
    using=None,
) -> dict[str, Tensor]:
    """Pages with what a model should go on with: `ids` (B, T) padded on the right, `loss_mask` (B, T), True at the words of
    the answer, and `pixel_values` (M, 3, size, size).

    The end token is not asked for. In the texts a language model has read, more follows a caption; a picture that had to
    announce an end there would be pulled away from the words it stands for.
    """
    given = [page_text(page, image_prefix, end="") for page in pages]
    ids = tokenizer.encode(
        [f"{text} {answer}" for text, answer in zip(given, answers, strict=True)], using=using
    )
    first, end, at = (
        _lengths(tokenizer.encode(given, using=using)) - 1,
        _lengths(ids) - 1,
        torch.arange(ids.shape[1]),
    )
    return {
        "ids": ids,
        "loss_mask": (at >= first[:, None]) & (at < end[:, None]),
        "pixel_values": page_pixels(pages, size, view),
    }


def _lengths(ids: Tensor) -> Tensor:
    return ids.ne(tokenizer.PAD).sum(1)


@dataclass(frozen=True)
class Prompts:
    """Open pages as data: `batch(indices)` is `to_write` of those pages."""

    pages: Sequence[Page]
    size: int
    image_prefix: str = "<image>"
    view: View = to_pixels
    using: object = None  # another tokenizer than the world's

    def __len__(self) -> int:
        return len(self.pages)

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        return prompt_batch(
            [self.pages[index] for index in indices],
            self.size,
            self.image_prefix,
            self.view,
            self.using,
        )


@dataclass(frozen=True)
class CaptionDataset:
    """Pictures and what is said of them, to learn from: pair number i of `pairs`, the caption after its picture."""

    pairs: Pairs
    image_prefix: str = "<image>"
    view: View = to_pixels
    using: object = None

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        return training_batch(
            [(self.pairs.scene(index),) for index in indices],
            [self.pairs.text(index) for index in indices],
            self.pairs.size,
            self.image_prefix,
            self.view,
            self.using,
        )


@dataclass(frozen=True)
class VQADataset:
    """Pictures, questions and answers, to learn from: visual question answering as a text to go on with."""

    asked: VQAPairs
    image_prefix: str = "<image>"
    view: View = to_pixels

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        questions = [self.asked.question(index) for index in indices]
        return training_batch(
            [
                (self.asked.pairs.scene(index), question_prompt(one))
                for index, one in zip(indices, questions)
            ],
            [one.answer for one in questions],
            self.asked.pairs.size,
            self.image_prefix,
            self.view,
        )
