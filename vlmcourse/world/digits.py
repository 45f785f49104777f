"""Scenes to read: rows of keycap digits, for questions of text in pictures (OCR)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlmcourse.world.questions import Question
from vlmcourse.world.rendering import paint, render
from vlmcourse.world.scenes import BACKGROUNDS, Scene, SeededRandom

_SPLITS = {"train": range(0, 8), "test": range(8, 10)}  # one number in five is never trained on


@dataclass(frozen=True)
class Sign:
    """A number, written with spaces between its digits ('4 0 7') because each digit is one token."""

    number: str
    background: str
    y: float

    @property
    def caption(self) -> str:
        return f"the number {self.number} on {self.background}"

    @property
    def question(self) -> Question:
        return Question("what number can you see ?", self.number, "number")

    def render(self, size: int = 64) -> np.ndarray:
        """(size, size, 3) uint8."""
        from PIL import features

        if not features.check("raqm"):
            raise RuntimeError(
                "this build of Pillow cannot draw keycap digits (no Raqm text layout). "
                "Install the wheel from PyPI: pip install --force-reinstall pillow."
            )
        canvas = np.empty((size, size, 3), dtype=np.uint8)
        canvas[:] = BACKGROUNDS[self.background]
        digits = self.number.split()
        for position, digit in enumerate(digits):
            paint(
                canvas,
                f"{digit}\ufe0f\u20e3",
                (position + 0.5) / len(digits),
                self.y,
                min(0.5, 0.9 / len(digits)),
            )
        return canvas


def sign(split: str, index: int, seed: int = 0, digits: tuple[int, int] = (1, 3)) -> Sign:
    """Sign number `index` of a split: train, or test (numbers that training never shows)."""
    if split not in _SPLITS:
        raise ValueError(f"no split '{split}' of signs; expected one of {', '.join(_SPLITS)}.")
    rng = SeededRandom("sign", seed, split, index)
    length = digits[0] + int(rng.random() * (digits[1] - digits[0] + 1))
    while True:
        value = int(rng.random() * 10**length)
        if value * 7 % 10 in _SPLITS[split]:
            return Sign(
                " ".join(f"{value:0{length}}"),
                rng.choice(tuple(BACKGROUNDS)),
                0.3 + 0.4 * rng.random(),
            )


Picture = Scene | Sign


def render_picture(picture: Picture, size: int) -> np.ndarray:
    """(size, size, 3) uint8."""
    return picture.render(size) if isinstance(picture, Sign) else render(picture, size)
