"""The scene maker: put things where you want them, and ask any model of the course about the picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vlmcourse import world
from vlmcourse.plots import picture_and_bars
from vlmcourse.widgets.interactive import play, row
from vlmcourse.world.scenes import QUARTERS

PLACES = {
    **dict(zip(("top left", "top right", "bottom left", "bottom right"), QUARTERS)),
    "middle": (0.5, 0.5),
}
NOTHING = "nothing"
Ask = Callable[[world.Scene, str], Mapping[str, float]]


def composed(things: Sequence[tuple[str, str]], background: str, size: float = 0.42) -> world.Scene:
    """A scene of (noun, place of PLACES); `nothing` leaves its place empty. size: of each thing, as a fraction of the picture.

    Raises ValueError for an empty scene, and for two things in one place, of which one would hide the other.
    """
    there = [(word, place) for word, place in things if word != NOTHING]
    if not there:
        raise ValueError("nothing is in the scene; choose at least one thing.")
    for word, place in there:
        if others := [other for other, where in there if where == place and other != word]:
            raise ValueError(
                f"{word} and {others[0]} are both {place}: one would hide the other. Choose different places."
            )
    return world.Scene(
        tuple(world.Thing(word, *PLACES[place], size) for word, place in there), background
    )


def asked(scene: world.Scene, name: str, ask: Ask, text: str, size: int = 128):
    """The scene beside what a model answers. size: of the drawing, in pixels; models see it in theirs."""
    found = ask(scene, text)
    made = picture_and_bars(
        world.render(scene, size), found, "probability", title=f"{name}: {text}"
    )
    split = world.split_of(scene.words, scene.background)
    said = {
        "train": "training shows such compositions",
        "test": "a composition that training never shows",
        "novel": "with a noun that training never shows",
    }[split]
    made.description = (
        f"{', '.join(scene.words)} on {scene.background} ({said}); {name} was asked '{text}'. "
        f"{made.description}"
    )
    return made


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

    models  {name: (scene, text) -> {answer: probability}}, such as teaching.explorer_models.askers()
    texts   what to ask those models first that want another form than `text`
    """
    import ipywidgets

    nouns = [NOTHING, *sorted(one.word for one in world.nouns())]
    narrow = {"width": "15em"}
    things = [
        (
            ipywidgets.Dropdown(
                options=nouns, value=word, description=f"thing {number + 1}", layout=narrow
            ),
            ipywidgets.Dropdown(
                options=list(PLACES), value=place, description="place", layout=narrow
            ),
        )
        for number, (word, place) in enumerate(first)
    ]
    background = ipywidgets.Dropdown(
        options=list(world.BACKGROUNDS), value="blue", description="background", layout=narrow
    )
    size = ipywidgets.FloatSlider(
        value=0.42, min=0.2, max=0.6, step=0.02, description="size", continuous_update=False
    )
    model = ipywidgets.Dropdown(options=list(models), description="model", layout=narrow)
    typed = ipywidgets.Text(
        value=text, description="ask", continuous_update=False, layout={"width": "min(34em, 100%)"}
    )

    def its_text(change: dict) -> None:
        if typed.value == texts.get(change["old"], text):  # nothing of one's own
            typed.value = texts.get(change["new"], text)

    model.observe(its_text, "value")
    play(
        [*(row(*pair) for pair in things), row(background, size), row(model, typed)],
        lambda: asked(
            composed(
                [(word.value, place.value) for word, place in things], background.value, size.value
            ),
            model.value,
            models[model.value],
            typed.value,
        ),
    )
