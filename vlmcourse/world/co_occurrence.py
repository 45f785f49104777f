"""Pictures with habits, as the web's have: a few things are shown far more often than others, most things have a companion,
and one picture in twenty is a sign to read. Whoever learns from them can guess, and be caught guessing (see probes.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from vlmcourse.world.captions import detailed
from vlmcourse.world.digits import Picture, Sign, render_picture, sign
from vlmcourse.world.documents import describe
from vlmcourse.world.scenes import (
    BACKGROUNDS,
    SeededRandom,
    arrange,
    held_out,
    known_nouns,
    split_of,
)


@cache
def popular_nouns() -> tuple[str, ...]:
    """One noun in nine, which every third picture begins with."""
    return known_nouns()[::9]


@cache
def companion(word: str) -> str:
    """What is seen beside a thing more often than anything else: three times in five where there are two things."""
    words = known_nouns()
    after = (words[(words.index(word) + step) % len(words)] for step in range(7, len(words)))
    return next(candidate for candidate in after if not held_out((word, candidate), "white"))


@lru_cache(65536)
def _picture(seed: int, index: int, signs: float) -> Picture:
    rng = SeededRandom("habits", seed, index)
    if rng.random() < signs:
        return sign("train", index, seed, (1, 2))
    alone = rng.random() < 0.75
    while True:
        first = rng.choice(popular_nouns() if rng.random() < 1 / 3 else known_nouns())
        second = companion(first) if rng.random() < 0.6 else rng.choice(known_nouns())
        words, background = (first,) if alone else (first, second), rng.choice(tuple(BACKGROUNDS))
        if len(set(words)) == len(words) and split_of(words, background) == "train":
            return arrange(tuple(rng.sample(words, len(words))), background, rng)


@dataclass(frozen=True)
class BiasedPairs:
    """Pictures number 0, 1, 2, ... with captions: three scenes in four show one thing, the others two. All are of the
    training split.

    A thing alone is described in any of the forms that the language model's texts have; of two things all is said.
    signs  share of signs
    """

    size: int = 64
    seed: int = 0
    signs: float = 0.05

    def scene(self, index: int) -> Picture:
        return _picture(self.seed, index, self.signs)

    def text(self, index: int) -> str:
        """The caption of picture `index`, with a full stop."""
        picture, rng = self.scene(index), SeededRandom("habits caption", self.seed, index)
        if isinstance(picture, Sign):
            return f"{picture.caption} ."
        return f"{describe(picture, rng) if len(picture.things) == 1 else detailed(picture, rng)} ."

    def images(self, indices: Sequence[int]) -> np.ndarray:
        """uint8 (B, size, size, 3)."""
        return np.stack([render_picture(self.scene(index), self.size) for index in indices])
