"""Lesson 09: questions, statements and dialogues about scenes of one or two of twelve things, for its downstream models."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from teaching.downstream import NOUNS, Table, small_scenes, states_of
from vlmcourse import world
from vlmcourse.papers.blip import BLIP
from vlmcourse.world import Scene, SeededRandom, tokenizer
from vlmcourse.world.questions import NUMBERS, Question

COLOURS = tuple(world.BACKGROUNDS)
PICTURES = 512
CANDIDATES = {
    "what": NOUNS,
    "background": COLOURS,
    "how many": NUMBERS[1:3],
}
"""Kinds of questions, and the answers that each can have."""


def ask(scene: Scene, rng: SeededRandom, kind: str) -> Question:
    """A question of this kind about a scene."""
    if kind == "how many":
        return world.questions.how_many(scene, rng)
    if kind == "background":
        return Question("what colour is the background ?", scene.background, kind)
    return world.questions.what(scene, rng)


@dataclass(frozen=True)
class Asked:
    """Questions about scenes: states (N, P, D) of the pictures, and the texts."""

    states: Tensor
    scenes: list[Scene]
    questions: list[Question]

    def table(self) -> Table:
        """For training."""
        return Table(
            states=self.states,
            question=tokenizer.encode([one.text for one in self.questions]),
            answer=tokenizer.encode([one.answer for one in self.questions]),
        )


def repeated(blip: BLIP, split: str, count: int, pictures: int) -> tuple[list[Scene], Tensor]:
    """`count` scenes and their states, of which only `pictures` are different: each is encoded once."""
    pictures = min(count, pictures)
    scenes = small_scenes(split, pictures)
    states = states_of(blip, scenes)
    numbers = [index % pictures for index in range(count)]
    return [scenes[number] for number in numbers], states[numbers]


def questions(blip: BLIP, split: str, count: int, pictures: int = PICTURES) -> Asked:
    """`count` questions of all kinds in turn."""
    scenes, states = repeated(blip, split, count, pictures)
    kinds = tuple(CANDIDATES)
    asked = [
        ask(scene, SeededRandom("ask", split, index), kinds[index % len(kinds)])
        for index, scene in enumerate(scenes)
    ]
    return Asked(states, scenes, asked)


@dataclass(frozen=True)
class Stated:
    """Statements about two pictures."""

    left: Tensor
    right: Tensor
    scenes: list[tuple[Scene, Scene]]
    texts: list[str]
    true: Tensor

    def table(self) -> Table:
        """For training."""
        ids = tokenizer.encode(self.texts)
        return Table(left=self.left, right=self.right, ids=ids, true=self.true.long())


def state(left: Scene, right: Scene, true: bool, rng: SeededRandom) -> str | None:
    """'there is a cat in both pictures'; false: of a thing that one picture has. None if the pictures don't allow it."""
    shared = sorted(set(left.words) & set(right.words))
    options = shared if true else sorted(set(left.words) ^ set(right.words))
    return f"there is {world.article(rng.choice(options))} in both pictures" if options else None


def statements(blip: BLIP, split: str, count: int, pictures: int = PICTURES) -> Stated:
    """`count` statements, half of them true: the truth is drawn first, then pictures are drawn until they fit."""
    scenes = small_scenes(split, min(2 * count, pictures))
    states = states_of(blip, scenes)
    pairs, texts, true = [], [], []
    for index in range(count):
        rng, text = SeededRandom("state", split, index), None
        value = rng.random() < 0.5
        while text is None:
            left, right = (int(rng.random() * len(scenes)) for _ in range(2))
            text = None if left == right else state(scenes[left], scenes[right], value, rng)
        pairs.append((left, right))
        texts.append(text)
        true.append(value)
    numbers = torch.tensor(pairs)
    both = [(scenes[left], scenes[right]) for left, right in pairs]
    sides = states[numbers[:, 0]], states[numbers[:, 1]]
    return Stated(*sides, both, texts, torch.tensor(true))


@dataclass(frozen=True)
class Talked:
    """Rounds of dialogues: a caption, what was said with a question, its candidate answers, and which is right."""

    states: Tensor
    scenes: list[Scene]
    captions: list[str]
    texts: list[str]
    candidates: list[tuple[str, ...]]
    right: Tensor

    def with_answers(self, row: int) -> Tensor:
        """The text of a round with each of its candidates, (C, T)."""
        return tokenizer.encode(
            [f"{self.texts[row]} answer : {answer}" for answer in self.candidates[row]]
        )

    def table(self) -> Table:
        """For training: each right answer beside a wrong candidate."""
        sides: dict[str, list[str]] = {"right": [], "wrong": []}
        for row, (text, options) in enumerate(zip(self.texts, self.candidates)):
            right = options[int(self.right[row])]
            wrong = SeededRandom("wrong", row).choice([one for one in options if one != right])
            sides["right"].append(f"{text} answer : {right}")
            sides["wrong"].append(f"{text} answer : {wrong}")
        both = tokenizer.encode(sides["right"] + sides["wrong"])
        return Table(
            states=self.states,
            caption=tokenizer.encode(self.captions),
            right=both[: len(self.texts)],
            wrong=both[len(self.texts) :],
        )


def dialogues(blip: BLIP, split: str, count: int, pictures: int = PICTURES) -> Talked:
    """`count` second rounds: the caption names a thing, the first round asks how many there are, the second asks for more.

    Candidates are all colours, or all things but that of the caption.
    """
    scenes, states = repeated(blip, split, count, pictures)
    captions, texts, candidates, right = [], [], [], []
    for index, scene in enumerate(scenes):
        rng = SeededRandom("talk", split, index)
        named = rng.choice(scene.words)
        other = [thing for thing in scene.things if thing.word != named]
        captions.append(world.article(named))
        said = f"how many things are there ? {NUMBERS[len(scene.words)]}"
        if other and rng.random() < 0.5:
            place, answer = world.questions.quarter(other[0]), other[0].word
            question = f"what is the thing in the {place} ?"
            options = tuple(word for word in NOUNS if word != named)
        else:
            question, answer, options = "what colour is the background ?", scene.background, COLOURS
        texts.append(f"{said} . {question}")
        candidates.append(options)
        right.append(options.index(answer))
    return Talked(states, scenes, captions, texts, candidates, torch.tensor(right))
