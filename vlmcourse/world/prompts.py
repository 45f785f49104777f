"""Pages as a model reads them: ids with image tokens, and the pixels of the pictures.

A page is a sequence of texts and pictures: scenes, signs, videos (see pages.py). `image_prefix` is what stands in the text for a
picture: one image token for models that cross-attend (Flamingo), several for models that take a picture as several words
(Frozen, BLIP-2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vlmcourse.world import tokenizer
from vlmcourse.world.co_occurrence import Picture, render_picture
from vlmcourse.world.pages import Page, page_text, pictures_of, question_prompt
from vlmcourse.world.pairs import Pairs
from vlmcourse.world.questions import VQAPairs
from vlmcourse.world.rendering import to_pixels
from vlmcourse.world.videos import Video

View = Callable[[np.ndarray], Tensor]
"""uint8 (B, size, size, 3) -> pixels (B, 3, size, size), as `to_pixels`."""
Frames = tuple[Picture, ...]


def blank_images(images: np.ndarray) -> Tensor:
    """A View in which every picture is the same grey: for models trained or tested blind."""
    return torch.zeros_like(to_pixels(images))


def swap_pictures(pages: Sequence[Page]) -> list[Page]:
    """The same texts with the pictures of the next page, as a control.

    Raises ValueError unless all pages have as many pictures.
    """
    if len({len(pictures_of(page)) for page in pages}) > 1:
        raise ValueError(
            "pages with different numbers of pictures can't swap them; expected the same number on each."
        )
    swapped = []
    for page, next_page in zip(pages, [*pages[1:], pages[0]]):
        pictures = iter(pictures_of(next_page))
        swapped.append([part if isinstance(part, str) else next(pictures) for part in page])
    return swapped


def frames_of(pages: Sequence[Page]) -> list[Frames]:
    """Pictures (one frame) and videos (several) of all pages, in the order of their image tokens."""
    pictures = [picture for page in pages for picture in pictures_of(page)]
    return [picture.frames if isinstance(picture, Video) else (picture,) for picture in pictures]


def frame_pixels(
    videos: Sequence[Frames], size: int, view: View = to_pixels
) -> Tensor | list[Tensor]:
    """Pictures: (M, 3, size, size), M may be 0. With videos among them (M, T, 3, size, size), or a list of (T, 3, size, size)
    if they differ in length."""
    if not videos:
        return torch.empty(0, 3, size, size)
    images = [np.stack([render_picture(frame, size) for frame in frames]) for frames in videos]
    lengths = {len(frames) for frames in videos}
    if len(lengths) > 1:
        return [view(video) for video in images]
    pixel_values = view(np.concatenate(images))
    return pixel_values if lengths == {1} else pixel_values.unflatten(0, (len(videos), -1))


def pad_left(ids: Tensor) -> dict[str, Tensor]:
    """Texts to continue, from encoded ones (B, T), padded on the right: `ids` without end token, padded on the left, and
    `padding_mask` (B, T)."""
    lengths = _lengths(ids) - 1  # without the end token
    longest = int(lengths.max())
    source = torch.arange(longest) - (longest - lengths)[:, None]  # (B, T), negative at padding
    padding_mask = source >= 0
    ids = ids.gather(1, source.clamp(min=0)).where(padding_mask, tokenizer.PAD)
    return {"ids": ids, "padding_mask": padding_mask}


def training_batch(
    pages: Sequence[Page],
    answers: Sequence[str],
    size: int,
    image_prefix: str = "<image>",
    view: View = to_pixels,
    using=None,
) -> dict[str, Tensor]:
    """Pages with what a model should continue them with: `ids` (B, T) padded on the right, `loss_mask` (B, T), True at the
    words of the answer, and `pixel_values` (M, 3, size, size). using: another tokenizer than the world's

    The end token is no target: in the language model's texts more follows a caption, and a picture that had to announce an
    end there would be pulled away from the words it stands for.
    """
    prompts = [page_text(page, image_prefix) for page in pages]
    texts = [f"{text} {answer}" for text, answer in zip(prompts, answers, strict=True)]
    ids = tokenizer.encode(texts, using=using)
    first = _lengths(tokenizer.encode(prompts, using=using)) - 1
    positions = torch.arange(ids.shape[1])
    return {
        "ids": ids,
        "loss_mask": (positions >= first[:, None]) & (positions < _lengths(ids)[:, None] - 1),
        "pixel_values": frame_pixels(frames_of(pages), size, view),
    }


def _lengths(ids: Tensor) -> Tensor:
    return ids.ne(tokenizer.PAD).sum(1)


@dataclass(frozen=True)
class Prompts:
    """Open pages for a model to continue: `batch(indices)` is `ids` (B, T) padded on the left, `padding_mask` (B, T), and
    `pixel_values`, see frame_pixels.

    using         another tokenizer than the world's
    end_of_chunk  what closes the text before a picture, such as Flamingo's <EOC>
    """

    pages: Sequence[Page]
    size: int
    image_prefix: str = "<image>"
    view: View = to_pixels
    using: object = None
    end_of_chunk: str = ""

    def __len__(self) -> int:
        return len(self.pages)

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        pages = [self.pages[index] for index in indices]
        texts = [page_text(page, self.image_prefix, self.end_of_chunk) for page in pages]
        return {
            **pad_left(tokenizer.encode(texts, using=self.using)),
            "pixel_values": frame_pixels(frames_of(pages), self.size, self.view),
        }


@dataclass(frozen=True)
class CaptionDataset:
    """Captions after their pictures, to learn from: pair number i of `pairs` (Pairs or BiasedPairs). See training_batch."""

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
    """Pictures, questions and answers, to learn from: visual question answering as a text to continue."""

    vqa_pairs: VQAPairs
    image_prefix: str = "<image>"
    view: View = to_pixels

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        questions = [self.vqa_pairs.question(index) for index in indices]
        scenes = [self.vqa_pairs.pairs.scene(index) for index in indices]
        return training_batch(
            [(scene, question_prompt(question)) for scene, question in zip(scenes, questions)],
            [question.answer for question in questions],
            self.vqa_pairs.pairs.size,
            self.image_prefix,
            self.view,
        )
