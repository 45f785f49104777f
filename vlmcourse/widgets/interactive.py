"""Fields over a picture that is drawn anew when one of them changes, and a static picture for pages without a kernel."""

from __future__ import annotations

import base64
import gc
import html
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

DESCRIPTION_STYLE = "font-size: 90%; line-height: 1.45; max-width: 52em; margin-top: 0.3em"
WIDE, NARROW = {"width": "min(34em, 100%)"}, {"width": "15em"}


def column(*widgets):
    """Widgets under each other at their natural size. (A plain VBox stretches pictures to the page's width.)"""
    import ipywidgets

    return ipywidgets.VBox(widgets, layout={"align_items": "flex-start"})


def row(*widgets):
    """Widgets beside each other, wrapped where the page is narrow."""
    import ipywidgets

    return ipywidgets.HBox(widgets, layout={"flex_flow": "row wrap"})


def slider(description: str, value: float, low: float, high: float, step: float | None = None):
    """A slider of whole numbers, or of numbers in steps."""
    import ipywidgets

    kind = ipywidgets.IntSlider if step is None else ipywidgets.FloatSlider
    options = {} if step is None else {"step": step}
    return kind(
        value=value, min=low, max=high, description=description, continuous_update=False, **options
    )


def log_slider(description: str, value: float):
    """A slider from 1 to 100 in steps of equal ratio."""
    import ipywidgets

    return ipywidgets.FloatLogSlider(
        value=value,
        base=10,
        min=0,
        max=2,
        step=0.05,
        description=description,
        continuous_update=False,
        readout_format=".1f",
    )


def dropdown(description: str, options: Sequence, value: object = None):
    """A choice of one of the options, the first if no value is given."""
    import ipywidgets

    chosen = {} if value is None else {"value": value}
    return ipywidgets.Dropdown(options=options, description=description, layout=NARROW, **chosen)


def text_field(description: str, value: str, suggestions: Sequence[str] = ()):
    """A line of text; suggestions: texts that can be chosen, too."""
    import ipywidgets

    options = {"options": list(suggestions)} if suggestions else {}
    kind = ipywidgets.Combobox if suggestions else ipywidgets.Text
    return kind(
        value=value, description=description, continuous_update=False, layout=WIDE, **options
    )


def buttons(description: str, options: Sequence[str], value: str | None = None, width: str = "9em"):
    """One button of several is pressed."""
    import ipywidgets

    return ipywidgets.ToggleButtons(
        options=options,
        value=value or options[0],
        description=description,
        style={"button_width": width},
    )


def display_widget(widget, static: dict[str, object], metadata: dict | None = None) -> None:
    """Displays a widget; `static` (mime type -> data) is what remains of it in a page without a kernel."""
    from IPython.display import display

    live = widget._repr_mimebundle_()
    live, more = (
        live if isinstance(live, tuple) else (live, {})
    )  # an anywidget's comes with metadata
    live = {mime: data for mime, data in live.items() if mime != "text/plain"}
    display({**static, **live}, raw=True, metadata={**(metadata or {}), **more})


def controls(widgets: Sequence) -> list:
    """The widgets that hold a value: those given, and those inside boxes."""
    return [
        control
        for widget in widgets
        for control in (controls(widget.children) if hasattr(widget, "children") else [widget])
    ]


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """No garbage is collected in here: among a trained model's objects that takes half a second. It is done afterwards."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
            gc.collect(0)


def interactive(fields: Sequence, draw: Callable) -> None:
    """Displays fields over a picture that is drawn anew when one of them changes; the first stays without a kernel.

    fields  widgets, or boxes of them
    draw    () -> Figure, or plots.stack_figures of several, with a description; a ValueError that it raises is shown instead
    """
    import ipywidgets

    from vlmcourse.plots.style import png

    # An Image widget has no alternative text, so the picture is an element of HTML that has one.
    picture, message = ipywidgets.HTML(), ipywidgets.HTML()
    live = [field for field in controls(fields) if hasattr(field, "value")]
    last, static = [], {}

    def redraw() -> None:
        if [field.value for field in live] == last:
            return  # a field that set another one, which drew already
        last[:] = [field.value for field in live]
        try:
            figure = draw()
        except ValueError as error:
            message.value = f'<b role="alert">{html.escape(str(error), quote=False)}</b>'
            return
        image, description = png(figure, small=not static), figure.description
        picture.value = (
            f'<img alt="{html.escape(description)}" style="max-width: 100%" '
            f'src="data:image/png;base64,{base64.b64encode(image).decode()}">'
        )
        message.value = (
            f'<div role="status" style="{DESCRIPTION_STYLE}">'
            f"{html.escape(description, quote=False)}</div>"
        )
        if not static:
            static.update({"image/png": image, "text/plain": description})

    def changed(_: dict) -> None:
        with without_garbage_collection():
            redraw()

    for field in live:
        field.observe(changed, "value")
    redraw()
    if not static:
        draw()  # a first picture that fails is the author's mistake: let the error be seen
    display_widget(
        column(*fields, picture, message), static, {"image/png": {"alt": static["text/plain"]}}
    )
