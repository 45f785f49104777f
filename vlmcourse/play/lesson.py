"""The pieces lessons share: predictions, attempts, widgets that leave something behind when the kernel is gone."""

from __future__ import annotations

import base64
import gc
import html
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

SAID = "font-size: 90%; line-height: 1.45; max-width: 52em; margin-top: 0.3em"
"""How the description below a picture looks: lines of a length that can be read."""


class Mistake(Exception):
    """What an answer got wrong, in words that help. `picture`: a Figure that shows it, if there is one."""

    def __init__(self, message: str, picture=None):
        super().__init__(message)
        self.picture = picture


def likeliest_mistake(got, likely: dict[str, Sequence], otherwise: str) -> Mistake:
    """The mistake, out of {message: numbers it leads to}, that leads to the number `got`; else `otherwise`.

    Random inputs bring some numbers near each other, so the nearest one is taken, if it is near enough.
    """
    distance, name = min((abs(float(got) - float(value)), name) for name, values in likely.items() for value in values)
    return Mistake(name if distance <= 1e-4 * max(1e-3, abs(float(got))) else otherwise)


def diagnosed(answer: object, truth: dict[str, str], hints: dict[str, str], praise: str) -> str:
    """Checks a failure lab's {run: cause} against `truth`; the first wrong run gets its hint."""
    causes = list(truth.values())
    listed = ", ".join(map(repr, causes[:-1])) + f" or {causes[-1]!r}"
    if not isinstance(answer, dict) or set(answer) != set(truth) or not set(answer.values()) <= {*causes, None}:
        raise Mistake(f"expected {{'A': ..., 'B': ..., 'C': ...}} with values {listed}.")
    if None in answer.values():
        raise NotImplementedError(f"replace each None by {listed}.")
    if wrong := [run for run in truth if answer[run] != truth[run]]:
        raise Mistake(f"run {wrong[0]}: {hints[wrong[0]]}")
    return praise


def column(*widgets):
    """Widgets under each other at their natural size. (A plain VBox stretches pictures to the page's width.)"""
    import ipywidgets

    return ipywidgets.VBox(widgets, layout={"align_items": "flex-start"})


def playable(widget, still: dict[str, object], metadata: dict | None = None) -> None:
    """Displays a widget; `still` (mime type -> data) is what remains of it in a page without a kernel."""
    from IPython.display import display

    display({**still, **{mime: data for mime, data in widget._repr_mimebundle_().items() if mime != "text/plain"}},
            raw=True, metadata=metadata or {})


def controls(widgets: Sequence) -> list:
    """The widgets that hold a value: those given, and those inside boxes."""
    return [one for widget in widgets for one in (controls(widget.children) if hasattr(widget, "children") else [widget])]


def row(*widgets):
    """Widgets beside each other, wrapped where the page is narrow."""
    import ipywidgets

    return ipywidgets.HBox(widgets, layout={"flex_flow": "row wrap"})


def worded(*widgets):
    """The same for sliders that stand at words, with room for them: ipywidgets alone shows seven letters.

    The style is said once: a style that came with each new picture would have the browser look at the whole page again.
    """
    import ipywidgets

    made = row(*widgets, ipywidgets.HTML("<style>.vlmcourse .widget-readout { max-width: 9em !important; overflow: visible }</style>"))
    made.add_class("vlmcourse")
    return made


def offer(field, options: Sequence[tuple[str, object]]) -> None:
    """Gives a choice other options, (label, value), and leaves it where it stands; or at the last one, if that is gone."""
    options = tuple(options)
    if field.options != options:
        before = field.value
        field.options = options
        field.value = before if before in [value for _, value in options] else options[-1][1]


def only(fields: Sequence, wanted: Sequence) -> None:
    """Of the fields only those that are wanted are seen: one that changes nothing would only puzzle."""
    for field in fields:
        field.layout.display = None if field in wanted else "none"


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage is looked for in here: among a trained model's objects that takes half a second. What was left goes afterwards."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
            gc.collect(0)


def play(fields: Sequence, drawn: Callable, prepared: Callable[[], None] = lambda: None) -> None:
    """Displays fields over a picture that is drawn anew when one of them changes; a still of it stays without a kernel.

    fields    widgets, or boxes of them
    drawn     () -> Figure, or draw.page of several, with a description; a ValueError that it raises is shown instead of a picture
    prepared  called before: it may `offer` other options, or show `only` the fields that matter
    """
    import ipywidgets

    from vlmcourse.lab.draw.style import png

    # An Image widget has no alternative text, so the picture is an element of HTML that has one.
    picture, said = ipywidgets.HTML(), ipywidgets.HTML()
    live = [field for field in controls(fields) if hasattr(field, "value") and not isinstance(field, ipywidgets.Play)]
    last, still, preparing = [], {}, []

    def redraw(*_) -> None:
        if preparing or [field.value for field in live] == last:  # a field that set another one, which drew already
            return
        try:
            preparing.append(True)
            try:
                prepared()
            finally:
                preparing.clear()
            last[:] = [field.value for field in live]
            made = drawn()
        except ValueError as error:
            last[:] = [field.value for field in live]
            said.value = f'<b role="alert">{html.escape(str(error), quote=False)}</b>'
            return
        drawing, told = png(made, small=not still), made.description  # the first one is kept
        picture.value = (f'<img alt="{html.escape(told)}" style="max-width: 100%" '
                         f'src="data:image/png;base64,{base64.b64encode(drawing).decode()}">')
        said.value = f'<div role="status" style="{SAID}">{html.escape(told, quote=False)}</div>'
        still.update({"image/png": drawing, "text/plain": told} if not still else {})

    def answer(*_) -> None:
        with uncollected():
            redraw()

    for field in live:
        field.observe(answer, "value")
    redraw()
    if not still:
        drawn()  # a first picture that fails is the author's mistake: let the error be seen
    playable(column(*fields, picture, said), still, {"image/png": {"alt": still["text/plain"]}})


def predict(question: str, options: Sequence[str], answer: str, why: str) -> None:
    """A question to answer before the next cell runs. With a kernel: a choice with feedback; without: a fold."""
    import ipywidgets

    if answer not in options:
        raise ValueError(f"the answer {answer!r} is not among the options {list(options)}.")
    choice = ipywidgets.RadioButtons(options=options, value=None, layout={"width": "max-content"})
    said = ipywidgets.HTML()

    def respond(change: dict) -> None:
        good = change["new"] == answer
        said.value = f"<b>Yes.</b> {html.escape(why)}" if good else "<b>Not quite.</b> Think again, or run on and see."

    choice.observe(respond, "value")
    listed = "".join(f"<li>{html.escape(option)}</li>" for option in options)
    still = (f"<p><b>Predict:</b> {html.escape(question)}</p><ul>{listed}</ul>"
             f"<details><summary>Answer</summary><b>{html.escape(answer)}</b>. {html.escape(why)}</details>")
    playable(column(ipywidgets.HTML(f"<b>Predict:</b> {html.escape(question)}"), choice, said),
             {"text/html": still, "text/plain": f"Predict: {question} Options: {'; '.join(options)}"})


def attempt(check: Callable[[object], str], answer: object) -> bool:
    """Checks an answer to an exercise and says what it found: right, not begun, or the likely mistake."""
    from vlmcourse.lab.draw import show

    try:
        praise = check(answer)
    except NotImplementedError as error:
        print(f"Not begun yet: {error}")
        return False
    except Mistake as mistake:
        print(f"Not yet: {mistake}")
        if mistake.picture is not None:
            show(mistake.picture)
        return False
    except Exception as error:  # the learner's code may raise anything; here that is an answer, not a failure
        print(f"Your code raised {type(error).__name__}: {error}")
        return False
    print(f"Right. {praise}")
    return True
