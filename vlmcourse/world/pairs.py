"""Scenes with captions, as batches a model trains on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np
from torch import Tensor

from vlmcourse.world import tokenizer
from vlmcourse.world.captions import detailed
from vlmcourse.world.rendering import render, to_pixels
from vlmcourse.world.scenes import Scene, SeededRandom, sample


@dataclass(frozen=True)
class Pairs:
    """Image-text pairs number 0, 1, 2, ... of a split; endless, and each a pure function of (seed, split, index).

    size     of the pictures, in pixels
    things   fewest and most things in a scene
    caption  (scene, rng) -> text; see captions.py
    noise    what the web does to pairs, see noise.py: (index, pairs) -> text in place of the right caption
    alone    share of scenes with a single thing, whatever `things` says of the others
    """

    split: str
    size: int = 64
    seed: int = 0
    things: tuple[int, int] = (1, 4)
    caption: Callable[[Scene, SeededRandom], str] = detailed
    noise: Callable[[int, "Pairs"], str] | None = None
    single_share: float = field(default=0.0, kw_only=True)

    def scene(self, index: int) -> Scene:
        single = (
            self.single_share
            and SeededRandom("alone", self.seed, self.split, index).random() < self.single_share
        )
        return sample(self.split, index, self.seed, (1, 1) if single else self.things)

    def true_caption(self, index: int) -> str:
        """The caption that belongs to scene `index`, whatever the noise does."""
        return self.caption(
            self.scene(index), SeededRandom("caption", self.seed, self.split, index)
        )

    def text(self, index: int) -> str:
        return self.noise(index, self) if self.noise else self.true_caption(index)

    def scenes(self, indices: Sequence[int]) -> list[Scene]:
        return [self.scene(index) for index in indices]

    def images(self, indices: Sequence[int]) -> np.ndarray:
        """uint8 (B, size, size, 3)."""
        return np.stack([render(self.scene(index), self.size) for index in indices])

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor | list[str]]:
        """`pixel_values` (B, 3, size, size) in [-1, 1], `ids` (B, T), `text`."""
        text = [self.text(index) for index in indices]
        return {
            "pixel_values": to_pixels(self.images(indices)),
            "ids": tokenizer.encode(text),
            "text": text,
        }

    def distinct(self, number: int) -> list[int]:
        """The first `number` indices whose captions all differ, so that each picture has exactly one right text."""
        index_of: dict[str, int] = {}
        for index in count():
            index_of.setdefault(self.text(index), index)
            if len(index_of) == number:
                return list(index_of.values())
            if index > 100 * number:
                raise ValueError(
                    f"only {len(index_of)} different captions among {index} scenes; {number} were asked for. "
                    "Ask for fewer, or use a caption that says more."
                )
