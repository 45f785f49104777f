"""Probabilities, or other shares: lying bars from 0 to 1 with their numbers, drawn in half the time of `bars`.

Explorers draw them after each key press: every position is known beforehand, so nothing has to be laid out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vlmcourse.plots.style import (
    COLOURS,
    GREY,
    PALE,
    blank_figure,
    course_style,
    describe,
    text_colour,
)

WIDE, LINE, GAP = 7.6, 0.2, 0.12
"""Inches: a figure, a line of text or a bar, the space between two groups of bars."""


@course_style()
def probability_bars(
    groups: Mapping[str, Mapping[str, float]],
    label: str,
    chance: float | None = None,
    image: np.ndarray | None = None,
    title: str = "",
):
    """Bars of {group: {name: 0 to 1}} on a scale of what `label` says; `chance`: a line to compare with.

    image  (S, S, 3) that they are about, drawn beside them;  title: lines above
    """
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    legend = [*(names if len(names) > 1 else ())]
    legend += [] if chance is None else [f"chance {chance:.3g}"]
    thick = LINE if len(names) > 1 else 1.3 * LINE
    picture = 0 if image is None else 1.8
    left = 0.3 + picture + 0.08 * max(len(line) for group in groups for line in group.split("\n"))
    across = WIDE - left - 0.5  # the length of a bar of 1
    top = 0.1 + LINE * (title.count("\n") + 1 if title else 0) + (1.3 * LINE if legend else 0)
    each = thick * len(names) + GAP
    bottom = top + each * len(groups)
    high = max(bottom + 0.55, top + picture)
    limits = {"xlim": (-left / across, (WIDE - left) / across), "ylim": (high, 0)}
    drawn, axes = blank_figure(WIDE, high)
    axes.set(**limits)  # inches downwards; shares across
    axes.text(0, 0.08, title, fontsize=9.5, va="top")
    for tick in (0, 0.25, 0.5, 0.75, 1):
        style = {"color": PALE if tick else "black", "linewidth": 1, "zorder": 0}
        axes.plot([tick, tick], [top, bottom], **style)
        axes.text(tick, bottom + 0.05, f"{tick:g}", ha="center", va="top", fontsize=9)
    axes.text(0.5, bottom + 0.27, label, ha="center", va="top")
    for number, group in enumerate(groups):
        axes.text(-0.08 / across, top + each * (number + 0.5), group, ha="right", va="center")
    for position, name in enumerate(names):
        for number, values in enumerate(groups.values()):
            if name in values:
                centre = top + each * number + GAP / 2 + thick * (position + 0.5)
                clear = values[name] if chance is None else max(values[name], chance)
                near = clear - values[name] < 0.08  # then its number would lie on the line
                end = clear if near else values[name]
                _bar(axes, values[name], end, centre, thick * 0.9, COLOURS[position])
    if chance is not None:
        axes.plot([chance, chance], [top, bottom], color=GREY, linestyle="--", linewidth=1.2)
    x, y = 0.0, top - 0.6 * LINE
    for position, name in enumerate(legend):
        dashed, solid = (
            {"linestyle": "--", "color": GREY},
            {"linewidth": 8, "color": COLOURS[position]},
        )
        style = solid if name in names else dashed
        axes.plot([x, x + 0.2 / across], [y, y], solid_capstyle="butt", **style)
        axes.text(x + 0.3 / across, y, name, va="center", fontsize=9)
        x += (0.65 + 0.075 * len(name)) / across
    if image is not None:
        first, side = (0.1 - left) / across, picture - 0.15
        extent = (first, first + side / across, top + side, top)
        axes.imshow(image, extent=extent, aspect="auto", interpolation="nearest")
        axes.set(**limits)
    words = "; ".join(
        f"{group}: " + ", ".join(f"{name} {value:.3g}" for name, value in values.items())
        for group, values in groups.items()
    )
    if len(names) == 1:
        pairs = ((group, value) for group, values in groups.items() for value in values.values())
        words = ", ".join(f"{group} {value:.2f}" for group, value in pairs)
    about = "" if image is None else "A picture, and "
    return describe(drawn, f"{about}{label}: {words}.", chance)


def _bar(axes, value: float, end: float, centre: float, thick: float, colour: str) -> None:
    """A bar with its number behind `end`, or inside where there is no room."""
    inside = value > 0.94
    number = f"{value:.2f}" if value == 0 or value >= 0.01 else f"{value:.3f}"
    number = "<0.001" if 0 < value < 0.0005 else number
    axes.barh([centre], [value], thick, color=colour)
    axes.text(
        value if inside else end,
        centre,
        f"{number} " if inside else f" {number}",
        va="center",
        fontsize=8.5,
        ha="right" if inside else "left",
        color=text_colour(colour) if inside else "black",
    )


def picture_and_bars(
    image: np.ndarray,
    values: Mapping[str, float],
    label: str,
    chance: float | None = None,
    title: str = "",
):
    """A picture (S, S, 3) beside what a model makes of it: {name: share}, as bars from 0 to 1."""
    return probability_bars(
        {name: {label: value} for name, value in values.items()}, label, chance, image, title
    )
