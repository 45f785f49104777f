"""One look for all pictures."""

from __future__ import annotations

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

_LOOK = {
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
    """The course's look for the figures made inside; global settings stay as they were."""
    import matplotlib as mpl

    with mpl.rc_context(_LOOK):
        yield


def figure(width: float, height: float, rows: int = 1, columns: int = 1, **options):
    """A Figure that no window system knows of, and its axes as a flat list."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    return made, list(made.subplots(rows, columns, squeeze=False, **options).flat)


def blank_figure(width: float, height: float):
    """A Figure and axes that cover all of it, without frame or ticks: nothing has to be laid out, so it is drawn in half the time."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="none")
    axes = made.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    return made, axes


def set_margins(
    made,
    left: float = 0.75,
    right: float = 0.15,
    top: float = 0.35,
    bottom: float = 0.6,
    between: float = 0.2,
):
    """The same figure with margins in inches, instead of measuring all its words to find them: for what is drawn at each key press.

    between  axes under or beside each other, as a share of one
    """
    import matplotlib as mpl

    wide, high = made.get_size_inches()
    with mpl.rc_context({"figure.constrained_layout.use": False}):
        made.set_layout_engine(None)
    made.subplots_adjust(
        left / wide, bottom / high, 1 - right / wide, 1 - top / high, between, between
    )
    return made


def subtitle(axes, text: str) -> None:
    """What axes show, in a line or two above them, lighter than a title."""
    axes.set_title(text, loc="left", fontsize=9.5, fontweight="normal")


def text_colour(colour: str) -> str:
    """Black or white, whichever is easier to read on a colour of the palette: a contrast of 4.5 and more."""
    red, green, blue = ((int(colour[place : place + 2], 16) / 255) ** 2.2 for place in (1, 3, 5))
    return "white" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.18 else "black"


def describe(made, text: str):
    """Attaches the description; returns the figure."""
    made.description = " ".join(text.split())
    return made


@dataclass(frozen=True)
class FigureStack:
    """Figures under each other, to be shown as one picture with one description."""

    figures: tuple
    description: str


def stack_figures(*figures) -> FigureStack:
    """Several figures as one picture, top to bottom; what it shows is what they show."""
    return FigureStack(figures, " ".join(one.description for one in figures))


def _pixels(made):
    """A figure as RGB pixels, drawn once: a PNG on the way would cost as much again."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(made)
    made.set_facecolor("white")
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def png(made, small: bool = True) -> bytes:
    """A figure, or a page of them, as a PNG.

    small  of at most 256 colours: a third of the size, and the eye sees no difference. False: as it is, in a third of the time,
           for pictures that are gone with the next key press
    """
    from PIL import Image

    drawn = [_pixels(one) for one in (made.figures if isinstance(made, FigureStack) else (made,))]
    sheet = Image.new(
        "RGB", (max(one.width for one in drawn), sum(one.height for one in drawn)), "white"
    )
    top, buffer = 0, io.BytesIO()
    for one in drawn:
        sheet.paste(one, (0, top))
        top += one.height
    if not small:
        sheet.save(buffer, format="png", compress_level=1)
        return buffer.getvalue()
    sheet.quantize(256, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def show(made, credit: str = "") -> None:
    """Displays a figure in a notebook as a PNG whose alt text is its description; `credit` goes below it."""
    from IPython.display import HTML, display

    display(
        {"image/png": png(made), "text/plain": made.description},
        raw=True,
        metadata={"image/png": {"alt": made.description}},
    )
    if credit:
        display(HTML(f"<small>{html.escape(credit)}</small>"))
