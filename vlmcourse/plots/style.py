"""One style for all figures."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")
"""Okabe and Ito's palette, distinguishable with any kind of colour blindness."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY, PALE, DARK = "#767676", "#E8E8E8", "#0B3C5D"
SEQUENTIAL = "viridis"

_STYLE = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 100,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "lines.linewidth": 2,
}


@contextmanager
def course_style() -> Iterator[None]:
    """The course's style for figures made inside, or by a function that it decorates; global settings stay as they were."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        yield


def figure(width: float, height: float, rows: int = 1, columns: int = 1, **options):
    """A Figure (inches) that no window system knows of, and its axes as a flat list."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained")
    return drawn, list(drawn.subplots(rows, columns, squeeze=False, **options).flat)


def blank_figure(width: float, height: float):
    """A Figure (inches) and axes that cover it, without frame or ticks: nothing is laid out, so it is drawn twice as fast."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="none")
    axes = drawn.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    return drawn, axes


def set_margins(
    drawn,
    left: float = 0.75,
    right: float = 0.15,
    top: float = 0.35,
    bottom: float = 0.6,
    between: float = 0.2,
):
    """The figure with margins in inches, instead of measuring its words to find them: for figures redrawn at each key press.

    between  axes under or beside each other, as a share of one
    """
    import matplotlib as mpl

    wide, high = drawn.get_size_inches()
    with mpl.rc_context({"figure.constrained_layout.use": False}):
        drawn.set_layout_engine(None)
    drawn.subplots_adjust(
        left / wide, bottom / high, 1 - right / wide, 1 - top / high, between, between
    )
    return drawn


def subtitle(axes, text: str) -> None:
    """A line or two above axes, lighter than a title."""
    axes.set_title(text, loc="left", fontsize=9.5, fontweight="normal")


def outline(axes, x1: float, y1: float, x2: float, y2: float, **style) -> None:
    """A rectangle's outline between two corners."""
    axes.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], clip_on=False, **style)


def hide_axes(axes) -> None:
    """Neither ticks nor frame."""
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def chance_line(axes, chance: float | None, label: str = "", vertical: bool = False) -> None:
    """A dashed line, if there is a chance level."""
    if chance is not None:
        style = {"color": GREY, "linestyle": "--", "linewidth": 1.2}
        label = label or f"chance = {chance:.3g}"
        (axes.axvline if vertical else axes.axhline)(chance, label=label, **style)


def text_colour(colour: str) -> str:
    """Black or white, whichever is easier to read on a colour of the palette: a contrast of 4.5 and more."""
    red, green, blue = ((int(colour[start : start + 2], 16) / 255) ** 2.2 for start in (1, 3, 5))
    return "white" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.18 else "black"


def describe(drawn, text: str, chance: float | None = None):
    """Attaches the description (with the chance level, if there is one); returns the figure."""
    level = "" if chance is None else f" Chance: {chance:.3g}."
    drawn.description = " ".join((text + level).split())
    return drawn


@dataclass(frozen=True)
class FigureStack:
    """Figures under each other, shown as one picture with one description."""

    figures: tuple
    description: str


def stack_figures(*figures) -> FigureStack:
    """Several figures as one picture, top to bottom; its description is theirs."""
    return FigureStack(figures, " ".join(drawn.description for drawn in figures))


def _pixels(drawn):
    """A figure as an RGB image, drawn once: a PNG on the way would cost as much again."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(drawn)
    drawn.set_facecolor("white")
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def png(drawn, small: bool = True) -> bytes:
    """A figure, or a stack of them, as a PNG.

    small  of at most 256 colours: a third of the size, with no visible difference. False: as it is, in a third of the time,
           for pictures that are gone with the next key press
    """
    from PIL import Image

    images = [
        _pixels(part) for part in (drawn.figures if isinstance(drawn, FigureStack) else (drawn,))
    ]
    size = max(image.width for image in images), sum(image.height for image in images)
    whole, top, buffer = Image.new("RGB", size, "white"), 0, io.BytesIO()
    for image in images:
        whole.paste(image, (0, top))
        top += image.height
    if small:
        quantized = whole.quantize(256, dither=Image.Dither.NONE)
        quantized.save(buffer, format="png", optimize=True)
    else:
        whole.save(buffer, format="png", compress_level=1)
    return buffer.getvalue()


def bundle(drawn) -> tuple[dict, dict]:
    """A figure or diagram for IPython's display: data and metadata, with the description as alternative text.

    A diagram is an SVG image inside HTML: JupyterLab shows that also in a notebook that it does not trust yet.
    """
    if hasattr(drawn, "svg"):
        source = base64.b64encode(drawn.svg.encode()).decode()
        image = (
            f'<img alt="{html.escape(drawn.description)}" src="data:image/svg+xml;base64,{source}">'
        )
        return {"text/html": image, "text/plain": drawn.description}, {}
    return (
        {"image/png": png(drawn), "text/plain": drawn.description},
        {"image/png": {"alt": drawn.description}},
    )


def show(drawn, caption: str = "", credit: str = "") -> None:
    """Displays a figure or a diagram in a notebook, with its description as alternative text.

    caption  goes below it: "Figure 1. What is shown, in which units, and what to see."
    credit   whose artwork it is; goes below that
    """
    from IPython.display import HTML, display

    data, metadata = bundle(drawn)
    display(data, raw=True, metadata=metadata)
    if caption:
        number, point, text = caption.partition(". ")
        words = f"<b>{html.escape(number + point)}</b>{html.escape(text)}"
        display(HTML(f"<p>{words}</p>"))
    if credit:
        display(HTML(f"<small>{html.escape(credit)}</small>"))
