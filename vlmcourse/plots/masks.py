"""Attention masks and tables. Rows are queries, columns are keys; dark = may attend. Drawn from the booleans computed with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from vlmcourse.parts.masks import Mask
from vlmcourse.plots.style import (
    COLOURS,
    DARK,
    PALE,
    SEQUENTIAL,
    course_style,
    describe,
    figure,
    outline,
)

Names = Sequence[str] | None
AXES = ("key: attended to", "query: attends")


def _grid(values: Mask | Tensor) -> np.ndarray:
    """(Q, K) booleans of a mask, or of its first sequence and head."""
    allowed = values.to_bool() if isinstance(values, Mask) else values
    return allowed.reshape(-1, *allowed.shape[-2:])[0].numpy().astype(bool)


def _rows(grid: np.ndarray) -> str:
    return "; ".join(
        f"query {row} sees " + (", ".join(map(str, np.flatnonzero(cells))) or "nothing")
        for row, cells in enumerate(grid)
    )


def _cells(axes, values: np.ndarray, colours: Sequence[str], queries: Names, keys: Names, title):
    """A table of whole numbers, each in its colour."""
    from matplotlib.colors import ListedColormap

    options = {"cmap": ListedColormap(colours), "vmin": 0, "vmax": len(colours) - 1}
    axes.pcolormesh(values.astype(float), edgecolors="white", linewidth=1.5, **options)
    _labels(axes, values.shape, queries, keys, title)


def _mask(axes, grid: np.ndarray, queries: Names = None, keys: Names = None, title: str = ""):
    _cells(axes, grid, (PALE, DARK), queries, keys, title)


def _labels(axes, shape: tuple[int, int], queries: Names, keys: Names, title: str) -> None:
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.set_title(title, loc="left")
    axes.set_xticks(np.arange(shape[1]) + 0.5, keys or range(shape[1]), rotation=90 if keys else 0)
    axes.set_yticks(np.arange(shape[0]) + 0.5, queries or range(shape[0]))
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _same_shape(first: np.ndarray, second: np.ndarray, titles: tuple[str, str], what: str) -> None:
    if first.shape != second.shape:
        raise ValueError(
            f"{what} of different shapes: {titles[0]} {first.shape}, {titles[1]} {second.shape}."
        )


@course_style()
def mask(values: Mask | Tensor, queries: Names = None, keys: Names = None, title: str = ""):
    """One mask, with the names of its positions."""
    grid, title = _grid(values), title or getattr(values, "name", "")
    drawn, (axes,) = figure(1.6 + 0.42 * grid.shape[1], 1.3 + 0.42 * grid.shape[0])
    _mask(axes, grid, queries, keys, title)
    axes.set(xlabel=AXES[0], ylabel=AXES[1])
    size = f"{grid.shape[0]} queries by {grid.shape[1]} keys"
    return describe(drawn, f"Attention mask {title}, {size}: {_rows(grid)}.")


@course_style()
def mask_gallery(
    masks: Mapping[str, Mask | Tensor],
    columns: int = 3,
    axis_names=AXES,
    positions: Names = None,
):
    """Several masks, or other tables of booleans, in one figure.

    axis_names  below, at the left;  positions  names of rows and columns alike; default their numbers
    """
    grids = {name: _grid(values) for name, values in masks.items()}
    rows = -(-len(grids) // columns)
    drawn, axes = figure(3.1 * columns, 2.9 * rows, rows, columns)
    for panel, (name, grid) in zip(axes, grids.items()):
        _mask(panel, grid, positions, positions, name.replace(": ", ":\n"))
    for panel in axes[len(grids) :]:
        panel.set_visible(False)
    for label, text in zip((drawn.supxlabel, drawn.supylabel), axis_names):
        label(text, fontsize=10)
    return describe(
        drawn,
        f"{len(grids)} attention masks; dark cells mean that the row's query may attend to the column's key. "
        + " ".join(f"{name}: {_rows(grid)}." for name, grid in grids.items()),
    )


def _block_kinds(values: Mask, size: int) -> np.ndarray:
    """What FlexAttention's BlockMask says of each block: 0 skipped, 1 computed with the rule, 2 computed without it."""
    block_mask = values.to_block_mask(size=size)
    table = np.zeros((-(-values.queries // size), -(-values.keys // size)), dtype=int)
    for kind, counts, indices in (
        (1, block_mask.kv_num_blocks, block_mask.kv_indices),
        (2, block_mask.full_kv_num_blocks, block_mask.full_kv_indices),
    ):
        for row, count in enumerate(counts[0, 0].tolist()):
            table[row, indices[0, 0, row, :count].tolist()] = kind
    return table


@course_style()
def mask_and_blocks(
    values: Mask,
    queries: Sequence[str],
    keys: Sequence[str],
    query: int,
    size: int = 4,
    key: int | None = None,
    moved: Tensor | None = None,
):
    """One mask as it is and as FlexAttention's blocks of `size`, with a query's row framed, and a key's column, dashed.

    moved  (Q,) how far each output moved when the input at `key` was changed; drawn at the right
    """
    grid, table = _grid(values), _block_kinds(values, size)
    ratios = [grid.shape[1], max(2, table.shape[1] * 1.6), *([] if moved is None else [5])]
    wide, high = 2.8 + 0.32 * sum(ratios), 2.1 + 0.32 * len(grid)
    drawn, axes = figure(wide, high, 1, len(ratios), width_ratios=ratios)
    _mask(axes[0], grid, queries, keys, values.name)
    outline(axes[0], 0, query, grid.shape[1], query + 1, color=COLOURS[1], linewidth=3)
    axes[0].set(xlabel=AXES[0], ylabel=AXES[1])
    _cells(axes[1], table, (PALE, COLOURS[5], DARK), None, None, f"blocks of {size}")
    axes[1].set_anchor("N")
    for (row, column), kind in np.ndenumerate(table):
        style = {"color": "white" if kind == 2 else "black", "fontsize": 7.5}
        _centred(axes[1], column, row, ("skip", "part", "full")[kind], **style)
    words = ""
    if key is not None:
        style = {"color": COLOURS[3], "linewidth": 2, "linestyle": "--"}
        outline(axes[0], key, 0, key + 1, len(grid), **style)
        count = int(grid[:, key].sum())
        words = f" Key {key} ('{keys[key]}') may be attended to by {count} of {len(grid)} queries."
    if moved is not None:
        axes[0].set_aspect("auto")  # so that its rows are level with the bars
        words += _moved(axes[2], np.asarray(moved), grid, queries, keys, key)
    attended = ", ".join(str(keys[index]) for index in np.flatnonzero(grid[query])) or "nothing"
    skipped, partial, whole = (int((table == kind).sum()) for kind in range(3))
    return describe(
        drawn,
        f"Mask {values.name}, {len(grid)} queries by {grid.shape[1]} keys. Query {query} ('{queries[query]}') may "
        f"attend to: {attended}. In blocks of {size}: {skipped} skipped, {partial} computed with the rule, {whole} "
        f"without.{words}",
    )


def _moved(axes, moved: np.ndarray, grid, queries, keys, key: int) -> str:
    """Bars of how far each output moved, leaks in red; in words."""
    middle = np.arange(len(grid)) + 0.5
    leaks = [row for row in range(len(grid)) if moved[row] > 0 and not grid[row, key]]
    colours = [COLOURS[3] if row in leaks else COLOURS[0] for row in range(len(grid))]
    axes.barh(middle, moved, height=0.8, color=colours)
    axes.set(ylim=(len(grid), 0), xlabel="output moved by")
    axes.set_yticks(middle, queries)
    axes.set_title(f"'{keys[key]}' is changed", loc="left")
    for row in leaks:
        axes.text(0, row + 0.55, " leak!", va="center", fontsize=8, fontweight="bold")
    unmoved = int((moved == 0).sum())
    forbidden = "none that the mask forbids"
    if leaks:
        forbidden = f"moved although the mask forbids it: {', '.join(map(str, leaks))}"
    return (
        f" After a change at key {key}, {len(moved) - unmoved} outputs move, {unmoved} stay exactly as they were; "
        f"{forbidden}."
    )


def _centred(axes, column: float, row: float, text: str, **style) -> None:
    axes.text(column + 0.5, row + 0.52, text, ha="center", va="center", **style)


@course_style()
def compare_masks(
    actual: Mask | Tensor,
    expected: Mask | Tensor,
    titles: tuple[str, str] = ("yours", "expected"),
    queries: Names = None,
    keys: Names = None,
):
    """Two masks side by side, and where they differ. Raises ValueError for masks of different shapes."""
    first, second = _grid(actual), _grid(expected)
    _same_shape(first, second, titles, "masks")
    extra, missing = first & ~second, second & ~first
    high = 1.2 + 0.3 * len(first) if keys is None else 2.1 + 2.6 * len(first) / first.shape[1]
    drawn, axes = figure(9, high, 1, 3)
    unnamed = queries and [""] * len(queries)  # named once, at the left
    _mask(axes[0], first, queries, keys, titles[0])
    _mask(axes[1], second, unnamed, keys, titles[1])
    _mask(axes[2], first & second, unnamed, keys, "differences")
    for cells, colour, sign in ((extra, COLOURS[3], "+"), (missing, COLOURS[1], "−")):
        for row, column in zip(*np.nonzero(cells)):
            axes[2].fill_between([column, column + 1], row, row + 1, color=colour)
            _centred(axes[2], column, row, sign, fontweight="bold")
    axes[2].set_xlabel(f"+ only in '{titles[0]}'\n− only in '{titles[1]}'")
    counts = f"{extra.sum()} cells only in '{titles[0]}', {missing.sum()} only in '{titles[1]}'."
    words = counts if extra.any() or missing.any() else "no difference."
    return describe(drawn, f"{titles[0]} beside {titles[1]}: {words}")


@course_style()
def compare_values(
    actual: Tensor, expected: Tensor, titles: tuple[str, str] = ("yours", "expected")
):
    """Two tables of numbers (Q, K) side by side on one scale, and their difference. ValueError for different shapes."""
    first, second = (np.asarray(values.detach().float()) for values in (actual, expected))
    _same_shape(first, second, titles, "tables")
    difference = first - second
    scale = {"vmin": min(first.min(), second.min()), "vmax": max(first.max(), second.max())}
    largest = float(np.abs(difference).max())
    drawn, axes = figure(9, 1.6 + 0.3 * len(first), 1, 3)
    for panel, values, title in zip(axes, (first, second), titles):
        cells = panel.pcolormesh(values, cmap=SEQUENTIAL, **scale)
        _labels(panel, values.shape, None, None, title)
    drawn.colorbar(cells, ax=axes[1], shrink=0.8)
    cells = axes[2].pcolormesh(difference, cmap="PuOr", vmin=-(largest or 1), vmax=largest or 1)
    _labels(axes[2], first.shape, None, None, f"{titles[0]} − {titles[1]}")
    drawn.colorbar(cells, ax=axes[2], shrink=0.8)
    row, column = np.unravel_index(np.abs(difference).argmax(), first.shape)
    return describe(
        drawn,
        f"{titles[0]} beside {titles[1]}, {first.shape[0]} x {first.shape[1]} numbers. The largest difference is "
        f"{largest:.3g}, at row {row}, column {column}: {first[row, column]:.3g} for {second[row, column]:.3g}.",
    )


@course_style()
def attention_heads(probabilities: Tensor, queries: Names = None, keys: Names = None):
    """Attention probabilities (H, Q, K), one panel a head."""
    values = np.asarray(probabilities.detach())
    heads, rows = values.shape[:2]
    drawn, axes = figure(min(11, 1.2 + 2.6 * heads), 3.2, 1, heads)
    for head, panel in enumerate(axes):
        cells = panel.pcolormesh(values[head], cmap=SEQUENTIAL, vmin=0, vmax=1)
        named = [""] * rows if head else queries
        _labels(panel, values[head].shape, named, keys, f"head {head}")
    drawn.colorbar(cells, ax=axes, label="attention", shrink=0.8)
    strongest = "; ".join(
        f"head {head}: " + ", ".join(f"{row}→{key}" for row, key in enumerate(table.argmax(-1)))
        for head, table in enumerate(values)
    )
    return describe(
        drawn,
        f"Attention probabilities of {heads} heads, strongest key of each query: {strongest}.",
    )
