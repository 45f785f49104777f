"""The scene maker: put things where you want them, and ask any model of the course about the picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vlmcourse import world
from vlmcourse.plots import picture_and_bars
from vlmcourse.widgets.interactive import dropdown, interactive, row, slider, text_field
from vlmcourse.world.scenes import QUARTERS

POSITIONS = {
    **dict(zip(("top left", "top right", "bottom left", "bottom right"), QUARTERS)),
    "middle": (0.5, 0.5),
}
NOTHING = "nothing"
SPLITS = {
    "train": "training shows such compositions",
    "test": "a composition that training never shows",
    "novel": "with a noun that training never shows",
}
Ask = Callable[[world.Scene, str], Mapping[str, float]]


def compose(things: Sequence[tuple[str, str]], background: str, size: float = 0.42) -> world.Scene:
    """A scene of (noun, key of POSITIONS); `nothing` leaves its position empty. size: of each thing, as a share of the picture.

    Raises ValueError for an empty scene, and for two things in one position, of which one would hide the other.
    """
    there = [(word, position) for word, position in things if word != NOTHING]
    if not there:
        raise ValueError("nothing is in the scene; choose at least one thing.")
    for word, position in there:
        if others := [noun for noun, where in there if where == position and noun != word]:
            raise ValueError(
                f"{word} and {others[0]} are both {position}: one would hide the other. Choose different positions."
            )
    return world.Scene(
        tuple(world.Thing(word, *POSITIONS[position], size) for word, position in there), background
    )


def answer_figure(scene: world.Scene, name: str, ask: Ask, text: str, size: int = 128):
    """The scene beside what a model answers. size: of the drawing, in pixels; models see it in theirs."""
    figure = picture_and_bars(
        world.render(scene, size), ask(scene, text), "probability", title=f"{name}: {text}"
    )
    split = SPLITS[world.split_of(scene.words, scene.background)]
    figure.description = (
        f"{', '.join(scene.words)} on {scene.background} ({split}); {name} was asked '{text}'. "
        f"{figure.description}"
    )
    return figure


def scene_maker(
    models: Mapping[str, Ask],
    text: str = "a picture of a",
    first: Sequence[tuple[str, str]] = (
        ("cat", "top left"),
        ("car", "bottom right"),
        (NOTHING, "middle"),
    ),
    texts: Mapping[str, str] = {},
) -> None:
    """Displays the maker.

    models  {name: (scene, text) -> {answer: probability}}, such as teaching.explorer_models.answer_functions()
    texts   what to ask those models first that want another form than `text`
    """
    nouns = [NOTHING, *sorted(noun.word for noun in world.nouns())]
    things = [
        (dropdown(f"thing {i + 1}", nouns, word), dropdown("position", list(POSITIONS), position))
        for i, (word, position) in enumerate(first)
    ]
    background = dropdown("background", list(world.BACKGROUNDS), "blue")
    size = slider("size", 0.42, 0.2, 0.6, 0.02)
    model, typed = dropdown("model", list(models)), text_field("ask", text)

    def suggest(change: dict) -> None:
        if typed.value == texts.get(change["old"], text):  # nothing of one's own
            typed.value = texts.get(change["new"], text)

    def draw():
        chosen = [(word.value, position.value) for word, position in things]
        scene = compose(chosen, background.value, size.value)
        return answer_figure(scene, model.value, models[model.value], typed.value)

    model.observe(suggest, "value")
    interactive([*(row(*pair) for pair in things), row(background, size), row(model, typed)], draw)
