"""Who may look at whom. Rows are queries, columns are keys; dark = may look. Drawn from the booleans computed with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from vlmcourse.lab.draw.style import COLOURS, DARK, PALE, SEQUENTIAL, describe, figure, look
from vlmcourse.parts.masks import Mask


def _grid(values: Mask | Tensor) -> np.ndarray:
    """(Q, K) booleans of a mask, or of its first sequence and head."""
    dense = values.dense() if isinstance(values, Mask) else values
    return dense.reshape(-1, *dense.shape[-2:])[0].numpy().astype(bool)


def _rows(grid: np.ndarray) -> str:
    return "; ".join(f"query {row} sees " + (", ".join(map(str, np.flatnonzero(cells))) or "nothing")
                     for row, cells in enumerate(grid))


def _cells(axes, grid: np.ndarray, queries: Sequence[str] | None, keys: Sequence[str] | None, title: str = "") -> None:
    from matplotlib.colors import ListedColormap

    axes.pcolormesh(grid.astype(float), cmap=ListedColormap([PALE, DARK]), vmin=0, vmax=1, edgecolors="white", linewidth=1.5)
    _labels(axes, grid.shape, queries, keys, title)


def _labels(axes, shape, queries, keys, title) -> None:
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.set_title(title, loc="left")
    names = (keys or range(shape[1]), queries or range(shape[0]))
    axes.set_xticks(np.arange(shape[1]) + 0.5, names[0], rotation=90 if keys else 0)
    axes.set_yticks(np.arange(shape[0]) + 0.5, names[1])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def mask(values: Mask | Tensor, queries: Sequence[str] | None = None, keys: Sequence[str] | None = None, title: str = ""):
    """One mask, with the names of its positions."""
    grid = _grid(values)
    with look():
        made, (axes,) = figure(1.6 + 0.42 * grid.shape[1], 1.3 + 0.42 * grid.shape[0])
        _cells(axes, grid, queries, keys, title or (values.name if isinstance(values, Mask) else ""))
        axes.set_xlabel("key: looked at")
        axes.set_ylabel("query: looks")
    return describe(made, f"Attention mask {title or getattr(values, 'name', '')}, {grid.shape[0]} queries by "
                          f"{grid.shape[1]} keys: {_rows(grid)}.")


def gallery(masks: Mapping[str, Mask | Tensor], columns: int = 3):
    """Several masks on one page."""
    grids = {name: _grid(values) for name, values in masks.items()}
    rows = -(-len(grids) // columns)
    with look():
        made, axes = figure(3.1 * columns, 2.9 * rows, rows, columns)
        for place, (name, grid) in zip(axes, grids.items()):
            _cells(place, grid, None, None, name.replace(": ", ":\n"))
        for place in axes[len(grids):]:
            place.set_visible(False)
    return describe(made, f"{len(grids)} attention masks; dark cells mean that the row's query may look at the column's key. " +
                    " ".join(f"{name}: {_rows(grid)}." for name, grid in grids.items()))


def compare(got: Mask | Tensor, wanted: Mask | Tensor, titles: tuple[str, str] = ("yours", "wanted")):
    """Two masks side by side, and where they differ."""
    first, second = _grid(got), _grid(wanted)
    if first.shape != second.shape:
        raise ValueError(f"masks of different shapes: {titles[0]} {first.shape}, {titles[1]} {second.shape}.")
    extra, missing = first & ~second, second & ~first
    with look():
        made, axes = figure(9, 1.2 + 0.3 * len(first), 1, 3)
        _cells(axes[0], first, None, None, titles[0])
        _cells(axes[1], second, None, None, titles[1])
        _cells(axes[2], first & second, None, None, "differences")
        for cells, colour, sign in ((extra, COLOURS[3], "+"), (missing, COLOURS[1], "−")):
            for q, k in zip(*np.nonzero(cells)):
                axes[2].fill_between([k, k + 1], q, q + 1, color=colour)
                axes[2].text(k + 0.5, q + 0.55, sign, ha="center", va="center", fontweight="bold")
        axes[2].set_xlabel("+ looks, but must not\n− must look, but doesn't")
    wrong = int(extra.sum()), int(missing.sum())
    return describe(made, f"{titles[0]} beside {titles[1]}: " + ("no difference." if not sum(wrong) else
                    f"{wrong[0]} cells look but must not, {wrong[1]} must look but don't."))


def compare_values(got: Tensor, wanted: Tensor, titles: tuple[str, str] = ("yours", "wanted")):
    """Two tables of numbers (Q, K) side by side on one scale, and their difference."""
    first, second = (np.asarray(values.detach().float()) for values in (got, wanted))
    if first.shape != second.shape:
        raise ValueError(f"tables of different shapes: {titles[0]} {first.shape}, {titles[1]} {second.shape}.")
    low, high = min(first.min(), second.min()), max(first.max(), second.max())
    most = float(np.abs(first - second).max())
    with look():
        made, axes = figure(9, 1.6 + 0.3 * len(first), 1, 3)
        for place, values, title in ((axes[0], first, titles[0]), (axes[1], second, titles[1])):
            drawn = place.pcolormesh(values, cmap=SEQUENTIAL, vmin=low, vmax=high)
            _labels(place, values.shape, None, None, title)
        made.colorbar(drawn, ax=axes[1], shrink=0.8)
        drawn = axes[2].pcolormesh(first - second, cmap="PuOr", vmin=-(most or 1), vmax=most or 1)
        _labels(axes[2], first.shape, None, None, f"{titles[0]} − {titles[1]}")
        made.colorbar(drawn, ax=axes[2], shrink=0.8)
    row, column = np.unravel_index(np.abs(first - second).argmax(), first.shape)
    return describe(made, f"{titles[0]} beside {titles[1]}, {first.shape[0]} x {first.shape[1]} numbers. The largest difference "
                          f"is {most:.3g}, at row {row}, column {column}: {first[row, column]:.3g} for {second[row, column]:.3g}.")


def weights(probabilities: Tensor, queries: Sequence[str] | None = None, keys: Sequence[str] | None = None):
    """Attention probabilities (H, Q, K), one panel a head."""
    values = np.asarray(probabilities.detach())
    heads = len(values)
    with look():
        made, axes = figure(min(11, 1.2 + 2.6 * heads), 3.2, 1, heads)
        for head, place in enumerate(axes):
            drawn = place.pcolormesh(values[head], cmap=SEQUENTIAL, vmin=0, vmax=1)
            _labels(place, values[head].shape, queries if head == 0 else [""] * values.shape[1], keys, f"head {head}")
        made.colorbar(drawn, ax=axes, label="attention", shrink=0.8)
    strongest = "; ".join(f"head {head}: " + ", ".join(f"{row}→{int(col)}" for row, col in enumerate(values[head].argmax(-1)))
                          for head in range(heads))
    return describe(made, f"Attention probabilities of {heads} heads, strongest key of each query: {strongest}.")


def ribbon(words: Sequence[str], numbers: Sequence[int], so_far: bool = False, columns: int = 14):
    """A text with its phi: under each word the number of the picture it sees (0: none), in that picture's colour.

    so_far: it sees that picture and all before it
    """
    rows = -(-len(words) // columns)
    with look():
        made, (axes,) = figure(0.78 * min(columns, len(words)) + 0.6, 0.75 * rows + 0.3)
        for place, (word, number) in enumerate(zip(words, numbers)):
            row, column = divmod(place, columns)
            seen = range(1, number + 1) if so_far and number else [number]
            for part, one in enumerate(seen):
                axes.fill_between([column + 0.03, column + 0.97], -row - 0.62 + 0.32 * part / len(seen),
                                  -row - 0.62 + 0.32 * (part + 1) / len(seen),
                                  color=PALE if not one else COLOURS[(one - 1) % len(COLOURS)], linewidth=0)
            axes.text(column + 0.5, -row - 0.12, word, ha="center", va="center", fontsize=8.5,
                      fontweight="bold" if word.startswith("<") else "normal")
            axes.text(column + 0.5, -row - 0.46, str(number), ha="center", va="center", fontsize=8.5,
                      color="white" if number and not so_far else "black")
        axes.set(xlim=(0, min(columns, len(words))), ylim=(-rows + 0.25, 0.1))
        axes.set_axis_off()
    told = " ".join(f"{word}({number})" for word, number in zip(words, numbers))
    return describe(made, f"Which picture each word sees{', with all before it' if so_far else ''} (0: none): {told}.")
