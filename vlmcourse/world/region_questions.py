"""Questions about scenes of regions, each with one right answer, for a classifier over a fixed list of answers.

Every answer of a kind is right for some pictures, and nothing in the question says for which: without the picture nothing is
better than guessing among the answers of that kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from vlmcourse.world import questions, tokenizer
from vlmcourse.world.nouns import article
from vlmcourse.world.questions import Question
from vlmcourse.world.regions import RegionDataset
from vlmcourse.world.scenes import BACKGROUNDS, Scene, SeededRandom


def background(scene: Scene, rng: SeededRandom) -> Question:
    """What colour is the background?"""
    return Question("what colour is the background ?", scene.background, "background")


@dataclass(frozen=True)
class RegionQuestions:
    """Question number i is about scene number i of `data`, of one or two things.

    nouns  all that the scenes show: the absent things of questions are drawn from them, too
    kinds  "what", "where", "how many", "background", "presence"
    """

    data: RegionDataset
    nouns: tuple[str, ...]
    kinds: tuple[str, ...] = ("what", "where", "how many", "background", "presence")

    def answers(self, kind: str) -> tuple[str, ...]:
        """Every answer to questions of a kind. Raises KeyError for an unknown kind."""
        return {
            "what": self.nouns,
            "where": questions.answers("where"),
            "how many": ("one", "two"),
            "background": tuple(BACKGROUNDS),
            "presence": ("yes", "no"),
        }[kind]

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """All answers, in the order of the classifier."""
        return tuple(dict.fromkeys(answer for kind in self.kinds for answer in self.answers(kind)))

    def presence(self, scene: Scene, rng: SeededRandom) -> Question:
        """Yes as often as no; the absent thing is one of the same subset."""
        there = rng.random() < 0.5
        absent = [word for word in self.nouns if word not in scene.words]
        word = rng.choice(scene.words if there else absent)
        return Question(f"is there {article(word)} ?", "yes" if there else "no", "presence")

    def question(self, index: int) -> Question:
        """The question about scene `index`."""
        pairs = self.data.pairs
        rng = SeededRandom("ask regions", pairs.seed, pairs.split, index)
        own = {"background": background, "presence": self.presence}
        kind = rng.choice(self.kinds)
        return (own.get(kind) or questions.VISUAL_KINDS[kind])(pairs.scene(index), rng)

    def balanced(self, per_kind: int, limit: int = 20_000) -> list[int]:
        """Scenes, in order, with `per_kind` questions of each kind, fewer where its answers don't divide that number, and each
        answer of a kind equally often. Raises ValueError if `limit` scenes don't hold them."""
        needed = {
            (kind, answer): max(1, per_kind // len(self.answers(kind)))
            for kind in self.kinds
            for answer in self.answers(kind)
        }
        chosen = []
        for index in range(limit):
            question = self.question(index)
            if needed[question.kind, question.answer]:
                needed[question.kind, question.answer] -= 1
                chosen.append(index)
            if not any(needed.values()):
                return chosen
        missing = next(pair for pair, count in needed.items() if count)
        raise ValueError(
            f"too few questions of kind '{missing[0]}' with the answer '{missing[1]}'."
        )

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor | list[str]]:
        """As of `data`, but `ids` and `text` are the questions; `answer` (B,) numbers in the vocabulary, a list of `kind`."""
        drawn = [self.question(index) for index in indices]
        text = [question.text for question in drawn]
        return self.data.batch(indices) | {
            "ids": tokenizer.encode(text),
            "text": text,
            "kind": [question.kind for question in drawn],
            "answer": torch.tensor([self.vocabulary.index(question.answer) for question in drawn]),
        }
