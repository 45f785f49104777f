"""The order in which the course's language model reads: names close to their things, names on pages, then everything.

Words that the text before them decides are marked (see document_kinds), so that training can weigh them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from vlmcourse.world import document_kinds as kinds
from vlmcourse.world import document_scenes, documents, tokenizer
from vlmcourse.world.document_kinds import MARK, mark
from vlmcourse.world.documents import Documents, repeated
from vlmcourse.world.scenes import BACKGROUNDS, SeededRandom

Kind = Callable[[SeededRandom], str]


def _marked(kind: Kind, draws: SeededRandom) -> str:
    """A text of a kind without marks: nouns and backgrounds that were said before are marked."""
    said: set[str] = set()
    marked = []
    for word in kind(draws).split(" "):
        again = word in said and (word in documents.NOUN_WORDS or word in BACKGROUNDS)
        marked.append(mark(word) if again else word)
        said.add(word)
    return " ".join(marked)


def paraphrases(draws: SeededRandom) -> str:
    return _marked(documents.paraphrases, draws)


def pages(draws: SeededRandom) -> str:
    return _marked(documents.pages, draws)


def question_answers(draws: SeededRandom) -> str:
    return _marked(documents.question_answers, draws)


NEAR_KINDS: dict[Kind, int] = {kinds.near_names: 1}
"""Read first: names close to their things."""
NAME_KINDS: dict[Kind, int] = {kinds.named_pages: 3, kinds.short_names: 1, kinds.near_names: 1}
"""Read next: names on pages, too."""
PAGE_KINDS: dict[Kind, int] = {
    kinds.named_pages: 8,
    kinds.short_names: 2,
    documents.repeats: 1,
    kinds.facts: 3,
    kinds.questions: 3,
    kinds.series: 3,
    kinds.which: 1,
    document_scenes.relations: 9,
    document_scenes.motion: 1,
    document_scenes.numbers: 1,
    paraphrases: 2,
    pages: 1,
    question_answers: 1,
}
"""Read at last, and how often each kind is drawn."""


@dataclass(frozen=True)
class MarkedDocuments(Documents):
    """Documents in whose texts words are marked that follow from those before them."""

    length: int = 256
    kinds: tuple[Kind, ...] = repeated(PAGE_KINDS)

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """`ids`, `loss_mask` (see Documents) and `answer_mask`, each (B, length); answer_mask is True at marked words."""
        known = _vocabulary()
        rows = [
            [word for text in self.row(index) for word in ("<bos>", *text.split(" "), "<eos>")]
            for index in indices
        ]
        rows = [row[: self.length] for row in rows]
        ids = torch.tensor([[known[word] for word in row] for row in rows])
        answer_mask = torch.tensor([[word[0] == MARK for word in row] for row in rows])
        return {"ids": ids, "loss_mask": ids != tokenizer.BOS, "answer_mask": answer_mask}


@cache
def _vocabulary() -> dict[str, int]:
    ids = documents.vocabulary()
    return ids | {MARK + word: number for word, number in ids.items()}


@dataclass(frozen=True)
class Curriculum:
    """Rows number 0, 1, 2, ...: the first `near` of NEAR_KINDS, the next `names` of NAME_KINDS, all others of PAGE_KINDS."""

    near: int
    names: int
    length: int = 256
    seed: int = 0

    @property
    def parts(self) -> tuple[MarkedDocuments, MarkedDocuments, MarkedDocuments]:
        """The documents of the three parts."""
        near, names, pages = (
            MarkedDocuments("train", self.length, self.seed, repeated(weights))
            for weights in (NEAR_KINDS, NAME_KINDS, PAGE_KINDS)
        )
        return near, names, pages

    def fingerprint(self) -> list:
        return [self.near, self.names, *(part.fingerprint() for part in self.parts)]

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """See MarkedDocuments."""
        near, names, pages = self.parts
        rows = [
            (near if i < self.near else names if i < self.near + self.names else pages).batch([i])
            for i in indices
        ]
        return {key: torch.cat([row[key] for row in rows]) for key in rows[0]}
