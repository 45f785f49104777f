"""Lesson 01's tables with numbers in them: weights over patches, masks with named positions, positions, leaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from vlmcourse.parts.masks import Mask
from vlmcourse.plots.style import (
    COLOURS,
    DARK,
    GREY,
    PALE,
    course_style,
    describe,
    figure,
    outline,
)

QUERIES_AND_TEXT = ["q1", "q2", "q3", "w1", "w2", "w3", "w4"]
IMAGES_IN_TEXT = ["w1", "<im1>", "w2", "w3", "<im2>", "w4", "w5"], ["1a", "1b", "2a", "2b"]
NAMES_OF_POSITIONS = (
    [f"w{number}" for number in range(1, 7)],
    ["p1", "p2", "p3", "w1", "w2", "w3", "w4"],
    *[QUERIES_AND_TEXT] * 3,
    *[IMAGES_IN_TEXT] * 2,
    ["a1", "a2", "a3", "b1", "b2", "b3", "b4"],
    ["w1", "w2", "w3", "w4", "w5", "pad", "pad"],
)
"""Of masks.gallery(), in its order: names of rows and columns, or (rows, columns)."""


def _table(axes, values: np.ndarray, rows: Sequence, columns: Sequence, turn: int = 0, **style):
    """Cells of a table, the first row on top, with the names of its rows and columns; returns what is drawn."""
    drawn = axes.pcolormesh(values, edgecolors="white", linewidth=1.2, **style)
    axes.invert_yaxis()
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=turn, fontsize=8.5)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, fontsize=8.5)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return drawn


def _numbers(axes, values: np.ndarray, words: str, limit: float) -> None:
    """The value of each cell; white on dark cells, those above `limit`."""
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if value > limit else "black"
        place = column + 0.5, row + 0.5
        axes.text(
            *place, format(value, words), ha="center", va="center", fontsize=8.5, color=colour
        )


def _booleans(axes, allowed: np.ndarray, rows: Sequence, columns: Sequence, title: str) -> None:
    from matplotlib.colors import ListedColormap

    style = {"cmap": ListedColormap([PALE, DARK]), "vmin": 0, "vmax": 1}
    _table(axes, allowed.astype(float), rows, columns, **style)
    axes.set_aspect("equal")
    axes.set_title(title, loc="left", fontsize=9.5)


@course_style()
def patch_weights(image: np.ndarray, weights: Tensor):
    """A picture cut into its patches, and for each head the weight of each patch in percent. weights (H, patches)."""
    heads, side = len(weights), round(weights.shape[1] ** 0.5)
    percent = 100 * weights.reshape(heads, side, side).numpy()
    drawn, axes = figure(11, 2.7, 1, heads + 1)
    axes[0].imshow(image, interpolation="nearest", extent=(0, side, side, 0))
    for cut in range(1, side):
        axes[0].axhline(cut, color="black", linewidth=0.6)
        axes[0].axvline(cut, color="black", linewidth=0.6)
    axes[0].set(title=f"{side} × {side} patches", xticks=[], yticks=[])
    names = [""] * side
    for head, (panel, values) in enumerate(zip(axes[1:], percent)):
        cells = _table(panel, values, names, names, cmap="Blues", vmin=0, vmax=percent.max())
        _numbers(panel, values, ".0f", 0.55 * percent.max())
        panel.set(title=f"head {head}", aspect="equal")
    drawn.colorbar(cells, ax=axes, shrink=0.85, label="weight (%)")
    largest = "; ".join(
        f"head {head}: {values.max():.0f} % at row {values.argmax() // side}, column {values.argmax() % side}"
        for head, values in enumerate(percent)
    )
    return describe(
        drawn,
        f"Attention weights over {side} x {side} patches; the largest of each head: {largest}.",
    )


@course_style()
def named_masks(gallery: Mapping[str, Mask]):
    """masks.gallery() with the names of its positions, a letter for each mask."""
    drawn, axes = figure(9.6, 9.6, 3, 3)
    words = []
    for panel, letter, (name, mask), names in zip(
        axes, "abcdefghi", gallery.items(), NAMES_OF_POSITIONS
    ):
        allowed = mask.to_bool().reshape(-1, mask.queries, mask.keys)[0].numpy()
        rows, columns = names if isinstance(names, tuple) else (names, names)
        _booleans(panel, allowed, rows, columns, f"{letter}  " + name.replace(": ", ":\n    "))
        panel.set(xlabel="key", ylabel="query")
        pairs = zip(rows, allowed)
        attends = "; ".join(
            f"{row} to {', '.join(np.array(columns)[cells]) or 'nothing'}" for row, cells in pairs
        )
        words.append(f"{letter}, {name}: {attends}.")
    return describe(drawn, "Nine attention masks, who attends to whom. " + " ".join(words))


@course_style()
def position_tables(positions: Tensor, products: Tensor):
    """Position vectors (length, width) as rows, and the products of all pairs of them (length, length)."""
    length, width = positions.shape
    drawn, axes = figure(10.4, 4.4, 1, 2)
    for panel, values in zip(axes, (positions, products)):
        style = {"cmap": "PuOr", "vmin": -1, "vmax": 1, "interpolation": "nearest"}
        cells = panel.imshow(values.numpy(), **style)
    axes[0].set(xlabel="number in the vector (0: fastest sine)", ylabel="position")
    axes[0].set_title("position vectors", loc="left")
    axes[1].set(xlabel="position of the other vector", ylabel="position of one vector")
    axes[1].set_title("their dot products, divided by D / 2", loc="left")
    drawn.colorbar(cells, ax=axes, shrink=0.85, label="value, no unit")
    near, far = products[0, 1], products[0, length // 2]
    return describe(
        drawn,
        f"Left: {length} position vectors of width {width}. Right: their dot products, which are equal along each "
        f"diagonal: 1 at distance 0, {near:.2f} at distance 1, {far:.2f} at distance {length // 2}.",
    )


@course_style()
def shares(measured: Mapping[str, float], count: int, levels: Mapping[str, float], label: str):
    """Bars of shares among `count` cases, with 95 % intervals (Wilson), and {name: level} as dashed lines."""
    drawn, axes = figure(9, 1.1 + 0.45 * len(measured))
    panel, told = axes[0], []
    for place, (name, share) in enumerate(measured.items()):
        low, high = wilson(share, count)
        clear = max(high, *levels.values())  # its number must not lie on a line
        panel.barh(place, share, 0.55, color=COLOURS[0])
        panel.plot([low, high], [place, place], color="black", marker="|", markersize=9)
        panel.text(clear + 0.015, place, f"{share:.2f}", va="center", fontsize=9)
        told.append(f"{name} {share:.2f} (interval {low:.2f} to {high:.2f})")
    for (name, level), colour in zip(levels.items(), (GREY, COLOURS[3])):
        panel.axvline(level, color=colour, linestyle="--", linewidth=1.2, label=name)
    panel.set_yticks(range(len(measured)), list(measured))
    panel.set(xlim=(0, 1.08), ylim=(len(measured) - 0.5, -0.5), xlabel=label)
    panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(levels), fontsize=9)
    lines = ", ".join(f"{name} {level:.3g}" for name, level in levels.items())
    return describe(drawn, f"{label}: {'; '.join(told)}. Lines: {lines}.")


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share among `count` cases (Wilson's score interval, which never leaves 0 to 1)."""
    z = 1.96
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * (share * (1 - share) / count + z**2 / (4 * count**2)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


@course_style()
def weights_by_head(weights: Mapping[str, Tensor], words: Sequence[str], answer: int):
    """{block: weights (H, T)} of one query over a sequence of words; a frame around the column of the answer."""
    heads = len(next(iter(weights.values())))
    drawn, axes = figure(11, 0.9 + 0.42 * heads, 1, len(weights))
    named, told = [f"{number} {word}" for number, word in enumerate(words)], []
    for panel, (name, rows) in zip(axes, weights.items()):
        values = rows.numpy()
        cells = _table(
            panel,
            values,
            [f"head {head}" for head in range(heads)],
            named,
            turn=45,
            cmap="Blues",
            vmin=0,
            vmax=1,
        )
        _numbers(panel, values, ".2f", 0.55)
        outline(panel, answer, 0, answer + 1, heads, color=COLOURS[3], linewidth=2.5)
        panel.set_title(name, loc="left")
        panel.set_xlabel("attended to: place and word")
        told.append(f"{name}: {', '.join(f'{value:.2f}' for value in values[:, answer])}")
    drawn.colorbar(cells, ax=axes, label="weight", shrink=0.9)
    return describe(
        drawn,
        f"Weights of the last position over the words {' '.join(words)}. On the answer, '{words[answer]}', for each "
        f"head: {'; '.join(told)}.",
    )


@course_style()
def leaks(declared: Tensor, measured: Mapping[str, Tensor]):
    """A declared mask (L, L), and measured dependencies beside it: cells that only a measurement has are marked +."""
    allowed = declared.numpy()
    place = range(len(allowed))
    drawn, axes = figure(11, 3.3, 1, 1 + len(measured))
    _booleans(axes[0], allowed, place, place, "declared mask")
    counts = []
    for panel, (name, found) in zip(axes[1:], measured.items()):
        depends = found.numpy()
        extra, missing = depends & ~allowed, allowed & ~depends
        counts.append(f"{name}: {extra.sum()} leaks, {missing.sum()} missing")
        _booleans(panel, depends, place, place, f"{name}, measured")
        for cells, colour, sign in ((extra, COLOURS[1], "+"), (missing, "white", "−")):
            for row, column in zip(*np.nonzero(cells)):
                panel.fill_between([column, column + 1], row, row + 1, color=colour)
                panel.text(
                    column + 0.5, row + 0.52, sign, ha="center", va="center", fontweight="bold"
                )
    for panel in axes:
        panel.set(xlabel="input", ylabel="output")
    return describe(drawn, f"Declared mask beside measured dependencies. {'; '.join(counts)}.")
