"""What a model answers by number of examples: invented names bound to pictures, questions about things. With controls.

A model is a `Score` here: what share of episodes it answers rightly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from vlmcourse import world
from vlmcourse.world import few_shot, tokenizer
from vlmcourse.world.interleaved import WebPages
from vlmcourse.world.pages import Episode
from vlmcourse.world.scenes import novel_nouns

NAMES, HELD_OUT_NAMES = tuple(tokenizer.INVENTED[:-6]), tuple(tokenizer.INVENTED[-6:])
SHOTS = (0, 1, 2, 4, 8)
MORE_FOR_CONTROLS = 4
"""Controls are asked so many times as many questions. Whoever sees nothing says a few favourite names, whatever was shown
(the shipped Frozen: three of 18 names in half of its answers), and is right as often as these happen to be asked for: with
256 questions 0.16, with 2,048 of the same kind 0.23, where any fixed preference is right in 0.25 of all there are."""
Score = Callable[[Sequence[Episode]], float]


@dataclass(frozen=True)
class Nouns:
    """Nouns that training showed, and new ones; the new ones' scenes are of the split `new_split`."""

    known: tuple[str, ...]
    new: tuple[str, ...]
    new_split: str


ALL_NOUNS = Nouns(world.known_nouns(), tuple(sorted(novel_nouns())), "novel")


def binding(
    count: int,
    shots: int,
    nouns: Sequence[str] = ALL_NOUNS.known,
    names: Sequence[str] = NAMES,
    split: str = "test",
) -> list[Episode]:
    """Held-out pictures of four things with invented names, after so many examples."""
    return [
        few_shot.binding_episode(split, index, shots, noun_subset=tuple(nouns), invented=names)
        for index in range(count)
    ]


@torch.no_grad()
def binding_report(
    score: Score, blind: Score, count: int = 128, nouns: Nouns = ALL_NOUNS
) -> dict[str, dict[str, float]]:
    """Share of right names among four (chance: 1/4) by number of examples, with controls.

    score, blind  with the pictures, and with every picture grey
    swapped: the examples' pictures are another episode's. held_out_names: on none of Flamingo's training pages.
    novel_nouns: never in training. The controls, swapped and blind, have MORE_FOR_CONTROLS times as many questions.
    """
    last_shots = SHOTS[-2:]

    def curve(
        rate: Score, shots: Sequence[int], change=list, shown=nouns.known, more=1, **options
    ) -> dict[str, float]:
        return {
            str(n): round(rate(change(binding(more * count, n, shown, **options))), 4)
            for n in shots
        }

    return {
        "shots": curve(score, SHOTS),
        "swapped": curve(score, last_shots, few_shot.other_pictures, more=MORE_FOR_CONTROLS),
        "blind": curve(blind, last_shots, more=MORE_FOR_CONTROLS),
        "held_out_names": curve(score, last_shots, names=HELD_OUT_NAMES),
        "novel_nouns": curve(score, last_shots, shown=nouns.new, split=nouns.new_split),
    }


def knowledge_report(
    score: Score, count: int = 128, shots: Sequence[int] = (0, 4), nouns: Nouns = ALL_NOUNS
) -> dict[str, dict[str, float]]:
    """What is known of a thing on a picture: share of right answers among all answers of that kind, by number of examples."""
    web = WebPages("test", noun_subset=nouns.known)
    return {
        kind: {
            str(n): round(
                score([few_shot.question_episode(web, i, kind, n) for i in range(count)]), 4
            )
            for n in shots
        }
        for kind in ("what", "category", "place", "purpose")
    }
