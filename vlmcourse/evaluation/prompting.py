"""Prompts with solved examples: accuracy by their number, and how it depends on which they are, their order, and their truth.

A model is a function from episodes to answers (`Answer`), so models of any kind get the same questions.
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
    """Share of episodes answered correctly."""
    return exact_match(answer(episodes), [episode.answer for episode in episodes])


def chance_accuracy(episodes: Sequence[Episode]) -> float:
    """Accuracy of guessing among the choices."""
    return statistics.fmean(1 / len(episode.choices) for episode in episodes)


def majority_accuracy(episodes: Sequence[Episode]) -> float:
    """Accuracy of always giving the most frequent answer; that of chance, where every question has choices of its own."""
    if len({frozenset(episode.choices) for episode in episodes}) > 1:
        return chance_accuracy(episodes)
    targets = [episode.answer for episode in episodes]
    return max(map(targets.count, targets)) / len(targets)


@dataclass(frozen=True)
class Sensitivity:
    """The same questions, asked with other examples or in another order.

    scores  accuracy of each variant;  flips: share of questions that some variants get right and others wrong
    """

    scores: tuple[float, ...]
    flips: float

    @property
    def mean(self) -> float:
        return statistics.fmean(self.scores)

    @property
    def spread(self) -> float:
        """Between the best and the worst variant."""
        return max(self.scores) - min(self.scores)


def sensitivity(answer: Answer, variants: Sequence[Sequence[Episode]]) -> Sensitivity:
    """variants: the same questions in every list, in the same order, from world.corruptions."""
    right = [
        [given == episode.answer for given, episode in zip(answer(episodes), episodes)]
        for episodes in variants
    ]
    flips = statistics.fmean(0 < sum(column) < len(right) for column in zip(*right))
    return Sensitivity(tuple(map(statistics.fmean, right)), flips)


def corrupted_example_accuracy(answer: Answer, episodes: Sequence[Episode]) -> dict[str, float]:
    """Accuracy with the examples as they are, and corrupted in each way of corruptions.CORRUPTIONS."""
    return {
        name: episode_accuracy(answer, change(episodes))
        for name, change in corruptions.CORRUPTIONS.items()
    }


def accuracy_by_shots(
    answer: Answer, make: Callable[[int], Sequence[Episode]], shots: Sequence[int]
) -> dict[int, float]:
    """Accuracy by number of examples; make: number of examples -> episodes."""
    return {number: episode_accuracy(answer, make(number)) for number in shots}
