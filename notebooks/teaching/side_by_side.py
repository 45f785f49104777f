"""Lesson 13, side by side: its exercises, and the failure lab with simulated systems."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from teaching import (
    side_by_side_absent,
    side_by_side_bridge,
    side_by_side_pope,
    side_by_side_prompts,
    side_by_side_shares,
    side_by_side_verdicts,
)
from teaching.side_by_side_measures import SAMPLERS, asked_nouns, scenes
from teaching.side_by_side_systems import companion
from vlmcourse import plots, world
from vlmcourse.world.corruptions import BLANK

EXERCISES = (
    side_by_side_bridge.EXERCISES
    | side_by_side_verdicts.EXERCISES
    | side_by_side_absent.EXERCISES
    | side_by_side_pope.EXERCISES
    | side_by_side_prompts.EXERCISES
    | side_by_side_shares.EXERCISES
)

Answer = Callable[[world.Scene, str, bool], bool]
"""(what it sees, noun, is the noun there?) -> does it say yes?"""


def sees(scene: world.Scene, noun: str, there: bool) -> bool:
    return noun in scene.words


def expects(scene: world.Scene, noun: str, there: bool) -> bool:
    """What is there, and what usually stands beside it."""
    return noun in {*scene.words, *map(companion, scene.words)}


def agrees(scene: world.Scene, noun: str, there: bool) -> bool:
    draw = world.SeededRandom("agrees", noun, scene.words)
    return noun in scene.words or draw.random() < 0.8


def knows(scene: world.Scene, noun: str, there: bool) -> bool:
    """The right answer, whatever it sees."""
    return there


SYSTEMS: dict[str, tuple[Answer, float]] = {
    "healthy": (sees, 0.02),
    "A": (agrees, 0.04),
    "B": (expects, 0.04),
    "C": (knows, 0.12),
}
"""How each system answers, and in how many answers it errs at random."""


def ask(id: str, sampler: str, count: int, grey: bool = False) -> tuple[list[str], list[str]]:
    """What a system says about `count` pictures, and the right answers. grey: it sees grey pictures"""
    answer, error = SYSTEMS[id]
    shown, said, answers = scenes(count, (1, 2)), [], []
    for index, (scene, pair) in enumerate(zip(shown, asked_nouns(shown, sampler))):
        for noun, there in zip(pair, (True, False)):
            yes = answer(BLANK if grey else scene, noun, there)
            slip = world.SeededRandom("slip", id, sampler, index, noun).random() < error
            said.append("yes" if yes != slip else "no")
            answers.append("yes" if there else "no")
    return said, answers


def systems_figure(pope_scores: Callable, count: int):
    """Bars of accuracy of all systems, by sampler, and with grey pictures."""
    groups = {}
    for id in SYSTEMS:
        groups[id] = {
            f"{sampler} absent nouns": pope_scores(*ask(id, sampler, count))["accuracy"]
            for sampler in SAMPLERS
        }
        grey = pope_scores(*ask(id, "random", count, grey=True))["accuracy"]
        groups[id]["random, all pictures grey"] = grey
    return plots.bars(groups, "accuracy (share)", 0.5, sideways=True, highest=1, form=".2f")


def systems_table(pope_scores: Callable, count: int) -> str:
    """All five scores at random absent nouns."""
    names = ("accuracy", "precision", "recall", "f1", "yes")
    lines = [f"| system, random absent nouns | {' | '.join(names)} |", "|---" * 6 + "|"]
    for id in SYSTEMS:
        scores = pope_scores(*ask(id, "random", count))
        lines.append(f"| {id} | {' | '.join(f'{scores[name]:.2f}' for name in names)} |")
    return "\n".join(lines)


def guessing_curves(pope_scores: Callable[[Sequence[str], Sequence[str]], dict], count: int = 400):
    """Scores of a system that sees nothing, by how often it says yes."""
    answers = ["yes"] * (count // 2) + ["no"] * (count // 2)
    series: dict[str, dict[float, float]] = {}
    for tenths in range(0, 11):
        share = tenths / 10
        rng = world.SeededRandom("guess", share)
        said = ["yes" if rng.random() < share else "no" for _ in answers]
        for name, value in pope_scores(said, answers).items():
            if name != "yes":
                series.setdefault(name, {})[share] = value
    return plots.curves(series, "share of answers that say yes", "score of guessing")
