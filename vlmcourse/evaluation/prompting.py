"""What a model can't do, measured: hallucination, examples and their order, what the examples are good for.

A model is a function from episodes to answers (`Answer`), so models of any kind are asked the same questions; the questions are
in world.corruptions.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vlmcourse.evaluation.vqa import exact_match
from vlmcourse.world import corruptions
from vlmcourse.world.pages import Episode

Answer = Callable[[Sequence[Episode]], list[str]]


def episode_accuracy(answer: Answer, episodes: Sequence[Episode]) -> float:
    """Share of episodes answered rightly."""
    return exact_match(answer(episodes), [one.answer for one in episodes])


def chance_accuracy(episodes: Sequence[Episode]) -> float:
    """What guessing among the choices gets."""
    return statistics.fmean(1 / len(one.choices) for one in episodes)


def majority_accuracy(episodes: Sequence[Episode]) -> float:
    """What always giving the most frequent answer gets: a bar above chance that needs no picture. Chance, where every question
    has choices of its own."""
    if len({frozenset(one.choices) for one in episodes}) > 1:
        return chance_accuracy(episodes)
    given = [one.answer for one in episodes]
    return max(map(given.count, given)) / len(given)


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


def corrupted_example_accuracy(answer: Answer, episodes: Sequence[Episode]) -> dict[str, float]:
    """Accuracy with the examples as they are, and spoilt in each way of probes.SUPPORTS."""
    return {
        name: episode_accuracy(answer, change(episodes))
        for name, change in corruptions.CORRUPTIONS.items()
    }


def accuracy_by_shots(
    answer: Answer, make: Callable[[int], Sequence[Episode]], shots: Sequence[int]
) -> dict[int, float]:
    """Accuracy by number of examples; make: number of examples -> episodes."""
    return {number: episode_accuracy(answer, make(number)) for number in shots}
