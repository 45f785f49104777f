"""Dialogues about a scene, after VisDial (Das et al. 2017, arXiv 1611.08669): a caption, rounds of questions in which "it"
goes back to what was said before, and for each round 100 candidate answers to rank."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from vlmcourse.world.captions import short
from vlmcourse.world.questions import KINDS, Question, answers, ask, quarter
from vlmcourse.world.scenes import Scene, SeededRandom

CANDIDATES = 100


@dataclass(frozen=True)
class Round:
    """`candidates` are different answers, `candidates[right]` is the true one."""

    question: Question
    candidates: tuple[str, ...]
    right: int


@dataclass(frozen=True)
class Dialogue:
    caption: str
    rounds: tuple[Round, ...]

    def history(self, round: int) -> str:
        """What had been said before round number `round` (from 0): the caption, then questions with their answers."""
        turns = [f"{turn.question.text} {turn.question.answer}" for turn in self.rounds[:round]]
        return " . ".join((self.caption, *turns))


def dialogue(scene: Scene, rng: SeededRandom, rounds: int = 5) -> Dialogue:
    """A dialogue of so many rounds; about a third of the questions can only be understood with the one before."""
    spoken: list[Round] = []
    before: str | None = None
    while len(spoken) < rounds:
        question = (
            _about_it(scene, before, rng) if before and rng.random() < 0.4 else ask(scene, rng)
        )
        if any(
            question.text == turn.question.text and "it" not in question.text.split()
            for turn in spoken
        ):
            if (
                rng.random() < 0.9
            ):  # people seldom ask twice; a scene of one thing leaves little else
                continue
        spoken.append(_with_candidates(question, rng))
        before = question.about
    return Dialogue(short(scene, rng), tuple(spoken))


def _about_it(scene: Scene, word: str, rng: SeededRandom) -> Question:
    """A question about the thing that was just spoken of."""
    thing = next(thing for thing in scene.things if thing.word == word)
    text, answer, kind = rng.choice(
        (
            ("what colour is it ?", thing.noun.colour, "colour"),
            ("where is it ?", quarter(thing), "where"),
            ("what kind of thing is it ?", thing.noun.category, "category"),
            ("where can you find it ?", thing.noun.place, "place"),
            ("what is it for ?", thing.noun.purpose, "purpose"),
        )
    )
    return Question(text, answer, kind, word)


@cache
def _every_answer() -> tuple[str, ...]:
    return tuple(dict.fromkeys(answer for kind in KINDS for answer in answers(kind)))


def _with_candidates(question: Question, rng: SeededRandom) -> Round:
    """The true answer, other answers that such a question could have, then any others, in random order."""
    plausible = [answer for answer in answers(question.kind) if answer != question.answer]
    chosen = [question.answer, *rng.sample(plausible, min(len(plausible), CANDIDATES // 2))]
    others = [answer for answer in _every_answer() if answer not in set(chosen)]
    chosen += rng.sample(others, CANDIDATES - len(chosen))
    order = rng.sample(chosen, CANDIDATES)
    return Round(question, tuple(order), order.index(question.answer))
