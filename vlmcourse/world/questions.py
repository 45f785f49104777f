"""Questions about a scene, with exact answers. A kind of question is a function (scene, rng) -> Question.

Some kinds need the picture alone; the kinds in KNOWLEDGE need the picture and a fact that no picture shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vlmcourse.world.nouns import article, noun
from vlmcourse.world.pairs import Pairs
from vlmcourse.world.rendering import to_pixels
from vlmcourse.world.scenes import Scene, SeededRandom, Thing, known_nouns

NUMBERS = ("zero", "one", "two", "three", "four")


@dataclass(frozen=True)
class Question:
    """`about` is the thing that the question is about, by its word, if there is one: a dialogue may go on with "it"."""

    text: str
    answer: str
    kind: str
    about: str | None = None


def quarter(thing: Thing) -> str:
    """'top left', ..., or 'middle'."""
    if abs(thing.x - 0.5) < 0.1 and abs(thing.y - 0.5) < 0.1:
        return "middle"
    return f"{'top' if thing.y < 0.5 else 'bottom'} {'left' if thing.x < 0.5 else 'right'}"


def _the_thing(scene: Scene, thing: Thing) -> str:
    """Points at a thing without naming it."""
    return "the thing" if len(scene.things) == 1 else f"the thing in the {quarter(thing)}"


def what(scene: Scene, rng: SeededRandom) -> Question:
    thing = rng.choice(scene.things)
    return Question(f"what is {_the_thing(scene, thing)} ?", thing.word, "what", thing.word)


def where(scene: Scene, rng: SeededRandom) -> Question:
    thing = rng.choice(scene.things)
    return Question(f"where is the {thing.word} ?", quarter(thing), "where", thing.word)


def how_many(scene: Scene, rng: SeededRandom) -> Question:
    return Question("how many things are there ?", NUMBERS[len(scene.things)], "how many")


def colour(scene: Scene, rng: SeededRandom) -> Question:
    """Of the artwork, or of the background."""
    if rng.random() < 0.3:
        return Question("what colour is the background ?", scene.background, "colour")
    thing = rng.choice(scene.things)
    return Question(f"what colour is the {thing.word} ?", thing.noun.colour, "colour", thing.word)


def presence(scene: Scene, rng: SeededRandom) -> Question:
    """Yes as often as no; the absent thing is a known noun."""
    if rng.random() < 0.5:
        thing = rng.choice(scene.things)
        return Question(f"is there {article(thing.word)} ?", "yes", "presence", thing.word)
    absent = rng.choice([word for word in known_nouns() if word not in scene.words])
    return Question(f"is there {article(absent)} ?", "no", "presence")


def position(scene: Scene, rng: SeededRandom) -> Question:
    """Is one thing left of, or above, another? With one thing alone: is it in the left half?"""
    thing = rng.choice(scene.things)
    side = rng.choice(("left", "right", "top", "bottom"))
    axis, first = ("x" if side in ("left", "right") else "y"), side in ("left", "top")
    others = [
        candidate
        for candidate in scene.things
        if abs(getattr(candidate, axis) - getattr(thing, axis)) > 0.2
    ]
    if others:
        reference = rng.choice(others)
        yes = (getattr(thing, axis) < getattr(reference, axis)) == first
        relation = {"left": "left of", "right": "right of", "top": "above", "bottom": "below"}[side]
        text = f"is the {thing.word} {relation} the {reference.word} ?"
    else:
        yes = side in quarter(thing).split()
        text = f"is the {thing.word} in the {side} ?"
    return Question(text, "yes" if yes else "no", "position", thing.word)


def category(scene: Scene, rng: SeededRandom) -> Question:
    thing = rng.choice(scene.things)
    return Question(
        f"what kind of thing is {_the_thing(scene, thing)} ?",
        thing.noun.category,
        "category",
        thing.word,
    )


def place(scene: Scene, rng: SeededRandom) -> Question:
    thing = rng.choice(scene.things)
    return Question(
        f"where can you find {_the_thing(scene, thing)} ?", thing.noun.place, "place", thing.word
    )


def purpose(scene: Scene, rng: SeededRandom) -> Question:
    thing = rng.choice(scene.things)
    return Question(
        f"what is {_the_thing(scene, thing)} for ?", thing.noun.purpose, "purpose", thing.word
    )


def compare(scene: Scene, rng: SeededRandom) -> Question:
    """Two things by a fact: as large in life, from nature both? With one thing alone: what of it is true?"""
    fact = rng.choice(("size", "origin"))
    if len(scene.things) == 1:
        thing = scene.things[0]
        text = (
            "is the thing large or small ?"
            if fact == "size"
            else "is the thing from nature or craft ?"
        )
        return Question(text, getattr(thing.noun, fact), "compare", thing.word)
    first, second = rng.sample(scene.things, 2)
    equal = getattr(first.noun, fact) == getattr(second.noun, fact)
    return Question(
        f"are {_the_thing(scene, first)} and {_the_thing(scene, second)} of the same {fact} ?",
        "yes" if equal else "no",
        "compare",
    )


VISUAL_KINDS: dict[str, Callable[[Scene, SeededRandom], Question]] = {
    "what": what,
    "where": where,
    "how many": how_many,
    "colour": colour,
    "presence": presence,
    "position": position,
}
KNOWLEDGE_KINDS: dict[str, Callable[[Scene, SeededRandom], Question]] = {
    "category": category,
    "place": place,
    "purpose": purpose,
    "compare": compare,
}
KINDS = VISUAL_KINDS | KNOWLEDGE_KINDS


def ask(scene: Scene, rng: SeededRandom, kinds: Sequence[str] = tuple(KINDS)) -> Question:
    """A question of one of these kinds."""
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ValueError(
            f"no kind of question '{unknown[0]}'; expected some of {', '.join(KINDS)}."
        )
    return KINDS[rng.choice(kinds)](scene, rng)


def answers(kind: str) -> tuple[str, ...]:
    """Every answer that questions of a kind can have among known nouns: what a classifier chooses from, and chance."""
    known = [noun(word) for word in known_nouns()]
    if kind in ("presence", "position"):
        return ("yes", "no")
    if kind == "how many":
        return NUMBERS[1:]
    if kind == "where":
        return ("top left", "top right", "bottom left", "bottom right", "middle")
    if kind == "what":
        return known_nouns()
    if kind == "compare":
        return ("yes", "no", "large", "small", "nature", "craft")
    extra = (
        ("white", "grey", "pink", "blue", "green", "yellow", "purple", "brown")
        if kind == "colour"
        else ()
    )
    return tuple(dict.fromkeys((*(getattr(noun, kind) for noun in known), *extra)))


@dataclass(frozen=True)
class VQAPairs:
    """Visual question answering over the scenes of `pairs`: question number i is about scene number i."""

    pairs: Pairs
    kinds: tuple[str, ...] = tuple(KINDS)

    def question(self, index: int) -> Question:
        return ask(
            self.pairs.scene(index),
            SeededRandom("ask", self.pairs.seed, self.pairs.split, index),
            self.kinds,
        )

    def batch(self, indices: Sequence[int]) -> dict:
        """`pixel_values` (B, 3, size, size), and lists of `question`, `answer` and `kind`."""
        questions = [self.question(index) for index in indices]
        return {
            "pixel_values": to_pixels(self.pairs.images(indices)),
            "question": [question.text for question in questions],
            "answer": [question.answer for question in questions],
            "kind": [question.kind for question in questions],
        }
