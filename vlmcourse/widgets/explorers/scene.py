"""The scene maker: put things where you want them, and ask any model of the course about the picture.

`scene.js` draws the scene; the answers come from here, saved for a small set of scenes, or from the kernel for any other.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations

import numpy as np

from vlmcourse import world
from vlmcourse.widgets.explorer import show_explorer
from vlmcourse.world.rendering import sprite
from vlmcourse.world.scenes import QUARTERS

Ask = Callable[[Sequence[world.Scene], str], Sequence[Mapping[str, float]]]
"""(scenes, text) -> for each scene {answer: probability}."""
WORDS, POSITIONS, SIZE = ("cat", "car"), (*QUARTERS, (0.5, 0.5)), 0.42
"""The two things of the saved scenes, where they can be, and how large they are, as a share of the picture."""
START, BACKGROUND = (POSITIONS[0], POSITIONS[3]), "blue"
"""The scene that is shown first."""
SHOWN = 5
"""Answers that are shown."""
SPLITS = {
    "train": "training shows such compositions",
    "test": "a composition that training never shows",
    "novel": "with a noun that training never shows",
}


def scene_of(things: Sequence[Mapping], background: str) -> world.Scene:
    """A scene of things {"word", "x", "y", "size"}, numbers as a share of the picture. Raises ValueError without any."""
    if not things:
        raise ValueError("nothing is in the scene; add at least one thing.")
    placed = (world.Thing(row["word"], row["x"], row["y"], row["size"]) for row in things)
    return world.Scene(tuple(placed), background)


def saved_scenes() -> Iterator[world.Scene]:
    """The two WORDS in all pairs of POSITIONS, on each background, which changes fastest."""
    for pair in permutations(POSITIONS, 2):
        things = tuple(world.Thing(word, *xy, SIZE) for word, xy in zip(WORDS, pair))
        for background in world.BACKGROUNDS:
            yield world.Scene(things, background)


def top_answers(answers: Mapping[str, float]) -> list[tuple[str, float]]:
    """The SHOWN likeliest answers with their probabilities, the likeliest first."""
    return sorted(answers.items(), key=lambda pair: -pair[1])[:SHOWN]


def saved_answers(ask: Ask, text: str) -> dict:
    """A model's likeliest answers about each of the `saved_scenes`.

    words  all that it answers;  table  base64 of two numbers of two bytes for each answer: of the word, and its probability,
    65535 for 1: scenes, answers;  count  answers of a scene
    """
    rows = [top_answers(answers) for answers in ask(list(saved_scenes()), text)]
    words = list(dict.fromkeys(word for row in rows for word, _ in row))
    table = [[[words.index(word), round(65535 * value)] for word, value in row] for row in rows]
    packed = base64.b64encode(np.array(table, "<u2").tobytes()).decode()
    return {"text": text, "words": words, "count": len(rows[0]), "table": packed}


def sprite_address(word: str, size: int = 120) -> str:
    """A thing's drawing as a PNG inside an address, transparent around it. Raises ValueError for an unknown noun."""
    from PIL import Image

    colour, clear = sprite(world.noun(word).emoji, size)
    opacity = 255 - clear
    pixels = np.concatenate([colour // np.maximum(opacity, 1), opacity], axis=-1)
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def split_in_words(scene: world.Scene) -> str:
    """Whether training shows such scenes."""
    return SPLITS[world.split_of(scene.words, scene.background)]


def describe(scene: world.Scene, name: str, text: str, answers: Mapping[str, float]) -> str:
    """A scene and a model's answers in words."""
    likely = ", ".join(f"{word} {value:.2f}" for word, value in top_answers(answers))
    return (
        f"{', '.join(scene.words)} on {scene.background} ({split_in_words(scene)}). {name} goes on after "
        f"'{text}', or chooses among its texts: {likely}."
    )


def scene_maker(
    models: Mapping[str, Ask], text: str = "a picture of a", texts: Mapping[str, str] = {}
) -> None:
    """Displays the maker.

    models  {name: (scenes, text) -> [{answer: probability}]}, such as teaching.explorer_models.answer_functions()
    texts   what to ask those models first that want another form than `text`
    """
    scenes = list(saved_scenes())

    def reply(question: dict) -> dict:
        if "word" in question:
            return {"sprite": sprite_address(question["word"])}
        scene = scene_of(question["things"], question["background"])
        (answers,) = models[question["model"]]([scene], question["text"])
        return {"answers": top_answers(answers), "split": split_in_words(scene)}

    data = {  # lists where order counts: a notebook sorts the keys of what it keeps
        "words": list(WORDS),
        "positions": [list(xy) for xy in POSITIONS],
        "start": [list(xy) for xy in START],
        "background": BACKGROUND,
        "size": SIZE,
        "sprites": {word: sprite_address(word) for word in WORDS},
        "backgrounds": [[name, list(colour)] for name, colour in world.BACKGROUNDS.items()],
        "splits": [split_in_words(scene) for scene in scenes[: len(world.BACKGROUNDS)]],
        "nouns": sorted(noun.word for noun in world.nouns()),
        "models": [
            [name, saved_answers(ask, texts.get(name, text))] for name, ask in models.items()
        ],
    }
    first, ask = next(iter(models.items()))
    things = tuple(world.Thing(word, *xy, SIZE) for word, xy in zip(WORDS, START))
    shown = world.Scene(things, BACKGROUND)
    (answers,) = ask([shown], texts.get(first, text))
    show_explorer("scene", data, describe(shown, first, texts.get(first, text), answers), reply)
