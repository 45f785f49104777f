"""Statements about two pictures, true or false, after NLVR2 (Suhr et al. 2019, arXiv 1811.00491)."""

from __future__ import annotations

from dataclasses import dataclass

from vlmcourse.world.nouns import article
from vlmcourse.world.questions import NUMBERS
from vlmcourse.world.scenes import Scene, SeededRandom, sample


@dataclass(frozen=True)
class Statement:
    left: Scene
    right: Scene
    text: str
    true: bool


def statement(split: str, index: int, seed: int = 0) -> Statement:
    """Statement number `index`. True as often as false, and neither picture alone, nor the text alone, decides it.

    The text names a thing, or compares counts; the truth is drawn first, then pictures are drawn until they fit.
    """
    rng = SeededRandom("statement", seed, split, index)
    kind, true = rng.choice((_both, _only, _more, _as_many)), rng.random() < 0.5
    for trial in range(10_000):
        left, right = (sample(split, 2 * (10_000 * index + trial) + side, seed) for side in (0, 1))
        text = kind(left, right, true, rng)
        if text is not None:
            return Statement(left, right, text, true)
    raise AssertionError(f"no pictures for {kind.__name__} of truth {true}")


def _both(left: Scene, right: Scene, true: bool, rng: SeededRandom) -> str | None:
    """True: a common thing of a category; false: a category only one of them has."""
    here, there = ({thing.noun.category for thing in scene.things} for scene in (left, right))
    options = sorted(here & there if true else here ^ there)
    return f"both pictures have a thing of kind {rng.choice(options)}" if options else None


def _only(left: Scene, right: Scene, true: bool, rng: SeededRandom) -> str | None:
    """Names a thing of the left picture (true) or of the right one (false): only both pictures together decide."""
    side = rng.choice((("left", left, right), ("right", right, left)))
    name, named, unnamed = side
    options = [
        word
        for word in (named if true else unnamed).words
        if word not in (unnamed if true else named).words
    ]
    return f"there is {article(rng.choice(options))} in the {name} picture" if options else None


def _more(left: Scene, right: Scene, true: bool, rng: SeededRandom) -> str | None:
    side = rng.choice(("left", "right"))
    more, fewer = (left, right) if (side == "left") == true else (right, left)
    opposite = "right" if side == "left" else "left"
    fits = len(more.things) > len(fewer.things)
    return f"the {side} picture has more things than the {opposite} picture" if fits else None


def _as_many(left: Scene, right: Scene, true: bool, rng: SeededRandom) -> str | None:
    number = len(left.things) + len(right.things)
    if true:
        return f"there are {_number(number)} things in the two pictures"
    wrong = rng.choice([count for count in range(2, 9) if count != number])
    return f"there are {_number(wrong)} things in the two pictures"


def _number(value: int) -> str:
    return (*NUMBERS, "five", "six", "seven", "eight")[value]
