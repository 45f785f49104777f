"""The pieces lessons share: predictions, attempts, widgets that leave something behind when the kernel is gone."""

from __future__ import annotations

import base64
import gc
import html
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

SAID = "font-size: 90%; line-height: 1.45; max-width: 52em; margin-top: 0.3em"


"""How the description below a picture looks: lines of a length that can be read."""


def column(*widgets):
    """Widgets under each other at their natural size. (A plain VBox stretches pictures to the page's width.)"""
    import ipywidgets

    return ipywidgets.VBox(widgets, layout={"align_items": "flex-start"})


def playable(widget, still: dict[str, object], metadata: dict | None = None) -> None:
    """Displays a widget; `still` (mime type -> data) is what remains of it in a page without a kernel."""
    from IPython.display import display

    display(
        {
            **still,
            **{
                mime: data
                for mime, data in widget._repr_mimebundle_().items()
                if mime != "text/plain"
            },
        },
        raw=True,
        metadata=metadata or {},
    )


def controls(widgets: Sequence) -> list:
    """The widgets that hold a value: those given, and those inside boxes."""
    return [
        one
        for widget in widgets
        for one in (controls(widget.children) if hasattr(widget, "children") else [widget])
    ]


def row(*widgets):
    """Widgets beside each other, wrapped where the page is narrow."""
    import ipywidgets

    return ipywidgets.HBox(widgets, layout={"flex_flow": "row wrap"})


def worded(*widgets):
    """The same for sliders that stand at words, with room for them: ipywidgets alone shows seven letters.

    The style is said once: a style that came with each new picture would have the browser look at the whole page again.
    """
    import ipywidgets

    made = row(
        *widgets,
        ipywidgets.HTML(
            "<style>.vlmcourse .widget-readout { max-width: 9em !important; overflow: visible }</style>"
        ),
    )
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

    from vlmcourse.plots.style import png

    # An Image widget has no alternative text, so the picture is an element of HTML that has one.
    picture, said = ipywidgets.HTML(), ipywidgets.HTML()
    live = [
        field
        for field in controls(fields)
        if hasattr(field, "value") and not isinstance(field, ipywidgets.Play)
    ]
    last, still, preparing = [], {}, []

    def redraw(*_) -> None:
        if (
            preparing or [field.value for field in live] == last
        ):  # a field that set another one, which drew already
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
        picture.value = (
            f'<img alt="{html.escape(told)}" style="max-width: 100%" '
            f'src="data:image/png;base64,{base64.b64encode(drawing).decode()}">'
        )
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
