"""Shares of a whole, such as probabilities: lying bars from 0 to 1 with their numbers, drawn in half the time of `bars`.

What explorers draw after each key press: every place is known beforehand, so nothing has to be laid out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vlmcourse.plots.style import (
    COLOURS,
    GREY,
    PALE,
    describe,
    text_colour,
    course_style,
    blank_figure,
)

WIDE, LINE, GAP = 7.6, 0.2, 0.12
"""Inches: a figure, a line of text or a bar, the space between two groups of bars."""


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
    legend = [
        *(names if len(names) > 1 else ()),
        *([f"chance {chance:.3g}"] if chance is not None else ()),
    ]
    thick = LINE if len(names) > 1 else 1.3 * LINE
    picture = 0 if image is None else 1.8
    left = 0.3 + picture + 0.08 * max(map(len, groups))
    across = WIDE - left - 0.5  # the length of a bar of 1
    top = 0.1 + LINE * (title.count("\n") + 1 if title else 0) + (1.3 * LINE if legend else 0)
    each = thick * len(names) + GAP
    bottom = top + each * len(groups)
    high = max(bottom + 0.55, top + picture)
    with course_style():
        made, axes = blank_figure(WIDE, high)
        axes.set(
            xlim=(-left / across, (WIDE - left) / across), ylim=(high, 0)
        )  # inches downwards; shares across
        axes.text(0, 0.08, title, fontsize=9.5, va="top")
        for tick in (0, 0.25, 0.5, 0.75, 1):
            axes.plot(
                [tick, tick],
                [top, bottom],
                color="black" if not tick else PALE,
                linewidth=1,
                zorder=0,
            )
            axes.text(tick, bottom + 0.05, f"{tick:g}", ha="center", va="top", fontsize=9)
        axes.text(0.5, bottom + 0.27, label, ha="center", va="top")
        for place, name in enumerate(names):
            at = {
                group: top + GAP / 2 + each * number + thick * (place + 0.5)
                for number, (group, values) in enumerate(groups.items())
                if name in values
            }
            axes.barh(
                list(at.values()),
                [groups[group][name] for group in at],
                thick * 0.9,
                color=COLOURS[place],
            )
            for group, y in at.items():
                value, inside = groups[group][name], groups[group][name] > 0.94
                axes.text(
                    value,
                    y,
                    f"{value:.2f} " if inside else f" {value:.2f}",
                    va="center",
                    fontsize=8.5,
                    ha="right" if inside else "left",
                    color=text_colour(COLOURS[place]) if inside else "black",
                )
        for number, group in enumerate(groups):
            axes.text(-0.08 / across, top + each * (number + 0.5), group, ha="right", va="center")
        if chance is not None:
            axes.plot([chance, chance], [top, bottom], color=GREY, linestyle="--", linewidth=1.2)
        x, y = 0.0, top - 0.6 * LINE
        for place, name in enumerate(legend):
            style = (
                {"linewidth": 8, "color": COLOURS[place]}
                if name in names
                else {"linestyle": "--", "color": GREY}
            )
            axes.plot([x, x + 0.2 / across], [y, y], solid_capstyle="butt", **style)
            axes.text(x + 0.3 / across, y, name, va="center", fontsize=9)
            x += (0.65 + 0.075 * len(name)) / across
        if image is not None:
            first = (0.1 - left) / across
            axes.imshow(
                image,
                extent=(first, first + (picture - 0.15) / across, top + picture - 0.15, top),
                aspect="auto",
                interpolation="nearest",
            )
            axes.set(xlim=(-left / across, (WIDE - left) / across), ylim=(high, 0))
    told = "; ".join(
        f"{group}: " + ", ".join(f"{name} {value:.3g}" for name, value in values.items())
        for group, values in groups.items()
    )
    if len(names) == 1:
        told = ", ".join(
            f"{group} {value:.2f}" for group, values in groups.items() for value in values.values()
        )
    about = "A picture, and " if image is not None else ""
    return describe(
        made, f"{about}{label}: {told}." + (f" Chance: {chance:.3g}." if chance is not None else "")
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
