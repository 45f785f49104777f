"""Charts of the reports: one look, PNG bytes."""

import io

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00")
"""The first of Okabe and Ito's palette, distinguishable with any kind of colour blindness."""


def figure(width: float, height: float):
    """A matplotlib figure of this size in inches, which no window system knows of, and its axes."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(width, height), dpi=100, layout="constrained")
    axes = drawing.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return drawing, axes


def png(drawing) -> bytes:
    """The figure as a PNG."""
    drawn = io.BytesIO()
    drawing.savefig(drawn, format="png")
    return drawn.getvalue()
