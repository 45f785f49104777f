"""What a model can't do, measured: hallucination, examples and their order, what the examples are good for.

A model is a function from episodes to answers (`Answer`), so models of any kind are asked the same questions; the questions are
in world.probes.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vlmcourse.lab import tokens
from vlmcourse.lab.evaluate.describing import stated
from vlmcourse.lab.evaluate.saying import exact
from vlmcourse.lab.world import probes
from vlmcourse.lab.world.pages import Episode
from vlmcourse.lab.world.scenes import Scene

Answer = Callable[[Sequence[Episode]], list[str]]


def right(answer: Answer, episodes: Sequence[Episode]) -> float:
    """Share of episodes answered rightly."""
    return exact(answer(episodes), [one.answer for one in episodes])


def chance(episodes: Sequence[Episode]) -> float:
    """What guessing among the choices gets."""
    return statistics.fmean(1 / len(one.choices) for one in episodes)


def commonest(episodes: Sequence[Episode]) -> float:
    """What always giving the most frequent answer gets: a bar above chance that needs no picture. Chance, where every question
    has choices of its own."""
    if len({frozenset(one.choices) for one in episodes}) > 1:
        return chance(episodes)
    given = [one.answer for one in episodes]
    return max(map(given.count, given)) / len(given)


@dataclass(frozen=True)
class YesNo:
    """Scores of yes-or-no answers, "yes" being what is looked for; `yes` is the share of answers that say so."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    yes: float


def yes_no(said: Sequence[str], answers: Sequence[str]) -> YesNo:
    """POPE's scores. Where nothing was answered with yes, precision is 0 (upstream divides by zero there)."""
    if len(said) != len(answers) or not said or not set(answers) <= {"yes", "no"}:
        raise ValueError(f"{len(said)} answers to {len(answers)} questions, whose answers are {sorted(set(answers))[:4]}; "
                         "expected as many, at least one, and yes or no as right answers.")
    both = sum(mine == truth == "yes" for mine, truth in zip(said, answers))
    claimed, true = sum(mine == "yes" for mine in said), sum(truth == "yes" for truth in answers)
    precision, recall = both / claimed if claimed else 0.0, both / true if true else 0.0
    f1 = 2 * precision * recall / (precision + recall) if both else 0.0
    return YesNo(exact(said, answers), precision, recall, f1, claimed / len(said))


def parsed(text: str) -> str:
    """POPE's reading of an open answer: no if its first sentence has a no or a not, else yes. So silence counts as yes."""
    first = text.split(".")[0]
    return "no" if {"no", "not"} & set(tokens.words(first)) else "yes"


def hallucination(answer: Answer, count: int = 128) -> dict[str, YesNo]:
    """POPE on held-out scenes of one or two things, for each way of finding what is not there."""
    found = {}
    for name, absent in probes.ABSENT.items():
        asked = probes.presence(absent, count)
        found[name] = yes_no(answer(asked), [one.answer for one in asked])
    return found


def invented(said: Sequence[str], scenes: Sequence[Scene]) -> dict[str, float]:
    """Things that captions name and pictures don't show, exactly (Rohrbach et al. 2018, CHAIR, arXiv 1809.02156, need a list of
    synonyms): the share of mentioned things, and the share of captions with one."""
    named = [[claim[1] for claim in stated(text) if claim[0] == "thing"] for text in said]
    wrong = [sum(word not in scene.words for word in words) for words, scene in zip(named, scenes)]
    return {"of things named": sum(wrong) / max(1, sum(map(len, named))),
            "of captions": sum(map(bool, wrong)) / len(scenes)}


@dataclass(frozen=True)
class Sensitivity:
    """The same questions, asked with other examples or another order of them.

    scores  accuracy of each way to ask;  flips: share of questions that some ways get right and others wrong
    """

    scores: tuple[float, ...]
    flips: float

    @property
    def mean(self) -> float:
        return statistics.fmean(self.scores)

    @property
    def spread(self) -> float:
        """Between the luckiest and the unluckiest way."""
        return max(self.scores) - min(self.scores)


def sensitivity(answer: Answer, ways: Sequence[Sequence[Episode]]) -> Sensitivity:
    """ways: the same questions in every list, in the same order, as probes.orders and probes.lent make them."""
    judged = []
    for episodes in ways:
        said = answer(episodes)
        judged.append([mine == one.answer for mine, one in zip(said, episodes)])
    flips = sum(0 < sum(column) < len(judged) for column in zip(*judged)) / len(judged[0])
    return Sensitivity(tuple(statistics.fmean(row) for row in judged), flips)


def supports(answer: Answer, episodes: Sequence[Episode]) -> dict[str, float]:
    """Accuracy with the examples as they are, and spoilt in each way of probes.SUPPORTS."""
    return {name: right(answer, change(episodes)) for name, change in probes.SUPPORTS.items()}


def shot_curve(answer: Answer, make: Callable[[int], Sequence[Episode]], shots: Sequence[int]) -> dict[int, float]:
    """Accuracy by number of examples; make: number of examples -> episodes."""
    return {number: right(answer, make(number)) for number in shots}
