"""What the course's language model reads: documents about the world, without pictures.

Where a page would show a picture, a description stands in these texts, so that later a picture can stand where
descriptions stood. Facts are in them that no picture shows; names are bound anew in every document, so that they can
only be known from the context.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from zlib import crc32

import torch
from torch import Tensor

from vlmcourse.world import captions, tokenizer
from vlmcourse.world.nouns import article, nouns
from vlmcourse.world.pages import Episode, naming_episode, page
from vlmcourse.world.questions import ask
from vlmcourse.world.scenes import Scene, SeededRandom, sample

NOUN_WORDS = tuple(one.word for one in nouns())
SINGLE_THING_KINDS = ("what", "colour", "presence", "category", "place", "purpose", "compare")
"""Questions that a thing's name, or what is known of it, answers."""


def describe(scene: Scene, draws: SeededRandom) -> str:
    """A scene in words, in one of many forms, from a caption down to two words: what may stand for a picture."""
    first = scene.things[0].word
    return draws.choice(
        (
            captions.detailed(scene, draws),
            captions.varied(scene, draws),
            captions.short(scene, draws),
            f"{first} {scene.background}",
            f"{first} {scene.background}",
            first,
        )
    )


def fact(draws: SeededRandom) -> str:
    """One thing that is known about a noun."""
    one = draws.choice(nouns())
    name = article(one.word)
    return draws.choice(
        (
            f"{name} is {article(one.category)} .",
            f"what kind of thing is {name} ? {one.category} .",
            f"you can find {name} in the {one.place} .",
            f"where can you find {name} ? {one.place} .",
            f"{name} is for {one.purpose} .",
            f"what is {name} for ? {one.purpose} .",
            f"{name} is {one.size} .",
            f"is {name} large or small ? {one.size} .",
            f"{name} is from {one.origin} .",
            f"is {name} from nature or craft ? {one.origin} .",
            f"{name} is {one.colour} .",
        )
    )


def facts(draws: SeededRandom) -> str:
    return " ".join(fact(draws) for _ in range(6))


def paraphrases(draws: SeededRandom) -> str:
    """The same scene several times in other words: a description, then what one could say of it."""
    scene = sample("train", int(draws.random() * 10**9))
    return " . ".join(describe(scene, draws) for _ in range(4))


def question_answers(draws: SeededRandom) -> str:
    """Descriptions with questions and answers. Of one thing alone, any description will do, however short."""
    said = []
    for _ in range(2):
        scene = sample("train", int(draws.random() * 10**9), things=(1, 2))
        alone = len(scene.things) == 1
        question = ask(scene, draws, SINGLE_THING_KINDS) if alone else ask(scene, draws)
        description = describe(scene, draws) if alone else captions.detailed(scene, draws)
        said.append(f"{description} . question : {question.text} answer : {question.answer} .")
    return " ".join(said)


def repeats(draws: SeededRandom) -> str:
    """Random words, repeated with a random period: to go on, look back one period."""
    words = [draws.choice(NOUN_WORDS) for _ in range(4 + int(draws.random() * 12))]
    return " ".join((words * 16)[:60])


def invented_names(draws: SeededRandom) -> str:
    """Two to five things with invented names, named again and again, in one form for the whole document."""
    count = 2 + int(draws.random() * 4)
    pairs = list(zip(draws.sample(NOUN_WORDS, count), draws.sample(tokenizer.INVENTED, count)))
    form = draws.choice(
        (
            "{0} {1}",
            "{0} {1}",
            "{0} {1} .",
            "{2} is a {1} .",
            "{2} : this is a {1} .",
            "{2} . this is a {1} .",
        )
    )
    shown = [draws.choice(pairs) for _ in range(9 + int(draws.random() * 6))]
    return " ".join(form.format(word, name, article(word)) for word, name in shown)


def page_in_words(parts: Sequence[str | Scene], draws: SeededRandom) -> str:
    """A page or an episode with descriptions in the place of its pictures."""
    return " ".join(
        part if isinstance(part, str) else f"{describe(part, draws)} ." for part in parts
    )


def pages(draws: SeededRandom) -> str:
    return page_in_words(page("train", int(draws.random() * 10**9)), draws)


def episodes(draws: SeededRandom) -> str:
    """Fast binding, as Frozen is tested, with descriptions."""
    ways, shots = 2 + int(draws.random() * 2), 1 + int(draws.random() * 2)
    one = naming_episode(
        "train", int(draws.random() * 10**9), ways=ways, shots=shots, induction=draws.random() < 0.3
    )
    return f"{page_in_words(one.prompt, draws)} {one.answer} ."


KINDS: dict[Callable[[SeededRandom], str], int] = {
    invented_names: 4,
    repeats: 2,
    episodes: 3,
    facts: 2,
    question_answers: 2,
    paraphrases: 2,
    pages: 1,
}
"""Kinds of short documents, read first, and how often each is drawn."""


def repeated(
    weights: dict[Callable[[SeededRandom], str], int],
) -> tuple[Callable[[SeededRandom], str], ...]:
    """Each kind as often as it is drawn."""
    return tuple(kind for kind, often in weights.items() for _ in range(often))


@dataclass(frozen=True)
class Documents:
    """Text number 0, 1, 2, ...: endless, each a pure function of (seed, split, index).

    Row i of a batch holds documents one after the other, each with its <bos> and <eos>, until `length` tokens are full: no
    padding, so nothing is computed in vain, and positions as late as the longest prompts are trained.
    """

    split: str = "train"
    length: int = 128
    seed: int = 0
    kinds: tuple[Callable[[SeededRandom], str], ...] = repeated(KINDS)

    def fingerprint(self) -> list:
        """Changes if a text changes; names of kinds do not count."""
        texts = "\n".join(text for index in range(8) for text in self.row(index))
        return [self.split, self.length, self.seed, crc32(texts.encode())]

    def text(self, index: int) -> str:
        draws = SeededRandom("text", self.seed, self.split, index)
        return draws.choice(self.kinds)(draws)

    def row(self, index: int) -> list[str]:
        """The documents that fill row `index`; the last one is cut where the row ends."""
        documents: list[str] = []
        left = self.length
        while left > 0:
            documents.append(
                self.text(index * self.length + len(documents))
            )  # a row never takes as many as `length`
            left -= documents[-1].count(" ") + 3  # words, <bos>, <eos>
        return documents

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """`ids` (B, length) and `loss_mask` (B, length), True where there is a word to predict: everywhere but at <bos>."""
        known = vocabulary()
        ids = torch.tensor(
            [
                [
                    number
                    for text in self.row(index)
                    for number in (
                        tokenizer.BOS,
                        *map(known.__getitem__, text.split(" ")),
                        tokenizer.EOS,
                    )
                ][: self.length]
                for index in indices
            ]
        )
        return {"ids": ids, "loss_mask": ids != tokenizer.BOS}


@cache
def vocabulary() -> dict[str, int]:
    """{word: id} of the world's tokenizer. Documents are words with single spaces: a look-up is a hundred times as fast."""
    return tokenizer.world_tokenizer().get_vocab()


def binding_episode(index: int, ways: int = 2, shots: int = 1) -> tuple[str, str, Episode]:
    """A naming episode of the test split in words, its answer, and the episode: to test a language model's binding."""
    one = naming_episode("test", index, ways=ways, shots=shots, induction=False)
    return page_in_words(one.prompt, SeededRandom("binding", index, ways, shots)), one.answer, one


def known_facts() -> list[tuple[str, str, tuple[str, ...]]]:
    """(question, answer, answers to choose among) of every noun, to test what a language model knows."""
    kinds = (
        ("what kind of thing is {} ?", "category"),
        ("where can you find {} ?", "place"),
        ("what is {} for ?", "purpose"),
    )
    return [
        (
            text.format(article(one.word)),
            getattr(one, kind),
            tuple(sorted({getattr(other, kind) for other in nouns()})),
        )
        for text, kind in kinds
        for one in nouns()
    ]
