"""One look for all pictures."""

from __future__ import annotations

import html
import io
from collections.abc import Iterator
from contextlib import contextmanager

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")
"""Okabe and Ito's palette, distinguishable with any kind of colour blindness."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY, PALE, DARK = "#767676", "#E8E8E8", "#0B3C5D"
SEQUENTIAL = "viridis"

_LOOK = {"font.size": 10, "axes.titlesize": 10.5, "axes.labelsize": 10, "axes.spines.top": False, "axes.spines.right": False,
         "axes.grid": False, "legend.frameon": False, "figure.dpi": 100, "savefig.dpi": 100, "axes.titleweight": "bold",
         "figure.constrained_layout.use": True, "lines.linewidth": 2}


@contextmanager
def look() -> Iterator[None]:
    """The course's look for the figures made inside; global settings stay as they were."""
    import matplotlib as mpl

    with mpl.rc_context(_LOOK):
        yield


def figure(width: float, height: float, rows: int = 1, columns: int = 1, **options):
    """A Figure that no window system knows of, and its axes as a flat list."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    return made, list(made.subplots(rows, columns, squeeze=False, **options).flat)


def describe(made, text: str):
    """Attaches the description; returns the figure."""
    made.description = " ".join(text.split())
    return made


def png(made) -> bytes:
    """The figure as a PNG of at most 256 colours: a third of the size, and the eye sees no difference."""
    from PIL import Image

    drawn, buffer = io.BytesIO(), io.BytesIO()
    made.savefig(drawn, format="png", facecolor="white")
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def show(made, credit: str = "") -> None:
    """Displays a figure in a notebook as a PNG whose alt text is its description; `credit` goes below it."""
    from IPython.display import HTML, display

    display({"image/png": png(made), "text/plain": made.description}, raw=True,
            metadata={"image/png": {"alt": made.description}})
    if credit:
        display(HTML(f"<small>{html.escape(credit)}</small>"))
