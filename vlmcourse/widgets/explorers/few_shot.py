"""The few-shot builder: a prompt of pictures and names, the picture that each word attends to, and what the pictures contribute.

`few_shot.js` draws the prompt; the answers come from here, saved for all short prompts of a few pictures, or from the kernel.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product

from vlmcourse import world
from vlmcourse.widgets.explorer import picture_address, show_explorer
from vlmcourse.world import tokenizer
from vlmcourse.world.pages import Part
from vlmcourse.world.questions import quarter
from vlmcourse.world.scenes import SeededRandom

Answer = Callable[[Sequence[Sequence[Part]], Sequence[str]], Sequence[Mapping[str, float]]]
Picture = tuple[str, int]
"""A noun and a number, see portrait."""
Example = tuple[Picture, str]
"""A picture and the name that the prompt gives to it."""
THINGS, NAMES = ("cat", "dog", "car"), ("dax", "blicket")
SAVED_EXAMPLES, MAX_EXAMPLES = 2, 4
"""Examples of the prompts whose answers are saved, and of those that the kernel answers."""


def portrait(word: str, number: int) -> world.Scene:
    """A thing alone somewhere; another position and background for each number."""
    draws = SeededRandom("portrait", word, number)
    return world.scenes.arrange((word,), draws.choice(tuple(world.BACKGROUNDS)), draws)


def prompt(examples: Sequence[Example], query: Picture) -> tuple[Part, ...]:
    """'<picture> this is a dax .' for each example, then the picture of `query` with the sentence left open.

    Raises ValueError for a name of several words, or one that the tokenizer doesn't know.
    """
    parts: list[Part] = []
    for picture, name in examples:
        if len(tokenizer.split_words(name)) != 1:
            raise ValueError(
                f"the name '{name}' is {len(tokenizer.split_words(name))} words; expected one."
            )
        tokenizer.encode([name])  # its message says which words are known
        parts += [portrait(*picture), f"this is {world.article(name)} ."]
    return *parts, portrait(*query), "this is a"


def without_support(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The same prompt with the examples' pictures taken out, their words left in."""
    last = max(index for index, part in enumerate(parts) if not isinstance(part, str))
    return tuple(part for index, part in enumerate(parts) if isinstance(part, str) or index == last)


def short_prompts(
    pictures: Sequence[Picture], names: Sequence[str], count: int
) -> Iterator[tuple[tuple[Example, ...], Picture]]:
    """All prompts of `count` examples and a query: the last one's picture changes fastest, the first example's slowest."""
    for examples in product(product(pictures, names), repeat=count):
        for query in pictures:
            yield examples, query


def saved_answers(
    answer: Answer, pictures: Sequence[Picture], names: tuple[str, str], count: int
) -> dict[str, str]:
    """{"given", "blind"}: the first name's probability for all `short_prompts`, with the examples' pictures and without, as
    base64 of one byte each, 255 for 1. Without them only names and query matter: {"blind"} has one byte for each of those."""

    def packed(pages: list[Sequence[Part]]) -> str:
        rows = answer(pages, names)
        return base64.b64encode(bytes(round(255 * row[names[0]]) for row in rows)).decode()

    blind = short_prompts([pictures[0]], names, count)  # of its queries only the first
    return {
        "given": packed([prompt(*given) for given in short_prompts(pictures, names, count)]),
        "blind": packed(
            [
                without_support(prompt(examples, query))
                for examples, _ in blind
                for query in pictures
            ]
        ),
    }


def describe(examples: Sequence[Example], query: Picture, given: Mapping, blind: Mapping) -> str:
    """A prompt and its answers in words."""
    shown = ", ".join(f"{word} named {name}" for (word, _), name in examples) or "no examples"
    answers = ", ".join(
        f"{name} {given[name]:.2f} with the examples' pictures and {blind[name]:.2f} without them"
        for name in given
    )
    return f"A prompt: {shown}; then a {query[0]}, 'this is a'. Probability among the names: {answers}."


def few_shot_builder(
    answer: Answer, things: Sequence[str] = THINGS, names: tuple[str, str] = NAMES
) -> None:
    """Displays the builder.

    answer  (prompts, names) -> [{name: probability}], such as teaching.explorer_flamingo.naming_function()
    things  of which two pictures each can be chosen; the first two and `names` make the first prompt
    """
    pictures = [(word, number) for word in things for number in range(2)]
    start = [(pictures[0], names[0]), (pictures[2], names[1])], pictures[1]

    def shown(picture: Picture) -> dict:
        scene = portrait(*picture)
        label = f"{picture[0]} on {scene.background}, {quarter(scene.things[0])}"
        address = picture_address(world.render(scene, 96))
        return {"word": picture[0], "number": picture[1], "seen": label, "address": address}

    def both(examples: Sequence[Example], query: Picture, among: Sequence[str]) -> list:
        parts = prompt(examples, query)
        return [dict(row) for row in answer([parts, without_support(parts)], among)]

    def reply(question: dict) -> object:
        if "word" in question:
            world.noun(question["word"])
            return shown((question["word"], question["picture"]))
        examples = [((word, number), name) for word, number, name in question["examples"]]
        return both(examples, tuple(question["query"]), question["names"])

    data = {
        "pictures": [shown(picture) for picture in pictures],
        "names": list(names),
        "known": [[name, world.article(name)] for name in tokenizer.INVENTED],
        "examples": [SAVED_EXAMPLES, MAX_EXAMPLES],
        "answers": [
            saved_answers(answer, pictures, names, count) for count in range(SAVED_EXAMPLES + 1)
        ],
    }
    show_explorer("few_shot", data, describe(*start, *both(*start, names)), reply)
