"""Who may look at whom. Rows are queries, columns are keys; dark = may look. Drawn from the booleans computed with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
from torch import Tensor

from vlmcourse.parts.masks import Mask
from vlmcourse.plots.style import (
    COLOURS,
    DARK,
    PALE,
    SEQUENTIAL,
    describe,
    figure,
    text_colour,
    course_style,
    blank_figure,
)


def _grid(values: Mask | Tensor) -> np.ndarray:
    """(Q, K) booleans of a mask, or of its first sequence and head."""
    dense = values.to_bool() if isinstance(values, Mask) else values
    return dense.reshape(-1, *dense.shape[-2:])[0].numpy().astype(bool)


def _rows(grid: np.ndarray) -> str:
    return "; ".join(
        f"query {row} sees " + (", ".join(map(str, np.flatnonzero(cells))) or "nothing")
        for row, cells in enumerate(grid)
    )


def _cells(
    axes,
    grid: np.ndarray,
    queries: Sequence[str] | None,
    keys: Sequence[str] | None,
    title: str = "",
) -> None:
    from matplotlib.colors import ListedColormap

    axes.pcolormesh(
        grid.astype(float),
        cmap=ListedColormap([PALE, DARK]),
        vmin=0,
        vmax=1,
        edgecolors="white",
        linewidth=1.5,
    )
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


def mask(
    values: Mask | Tensor,
    queries: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
    title: str = "",
):
    """One mask, with the names of its positions."""
    grid = _grid(values)
    with course_style():
        made, (axes,) = figure(1.6 + 0.42 * grid.shape[1], 1.3 + 0.42 * grid.shape[0])
        _cells(
            axes, grid, queries, keys, title or (values.name if isinstance(values, Mask) else "")
        )
        axes.set_xlabel("key: looked at")
        axes.set_ylabel("query: looks")
    return describe(
        made,
        f"Attention mask {title or getattr(values, 'name', '')}, {grid.shape[0]} queries by "
        f"{grid.shape[1]} keys: {_rows(grid)}.",
    )


def mask_gallery(masks: Mapping[str, Mask | Tensor], columns: int = 3):
    """Several masks on one page."""
    grids = {name: _grid(values) for name, values in masks.items()}
    rows = -(-len(grids) // columns)
    with course_style():
        made, axes = figure(3.1 * columns, 2.9 * rows, rows, columns)
        for place, (name, grid) in zip(axes, grids.items()):
            _cells(place, grid, None, None, name.replace(": ", ":\n"))
        for place in axes[len(grids) :]:
            place.set_visible(False)
    return describe(
        made,
        f"{len(grids)} attention masks; dark cells mean that the row's query may look at the column's key. "
        + " ".join(f"{name}: {_rows(grid)}." for name, grid in grids.items()),
    )


def _blocks(values: Mask, size: int) -> np.ndarray:
    """What FlexAttention's BlockMask says of each block: 0 skipped, 1 computed with the rule, 2 computed without it."""
    made = values.to_block_mask(size=size)
    table = np.zeros((-(-values.queries // size), -(-values.keys // size)), dtype=int)
    for kind, counts, indices in (
        (1, made.kv_num_blocks, made.kv_indices),
        (2, made.full_kv_num_blocks, made.full_kv_indices),
    ):
        for row, count in enumerate(counts[0, 0].tolist()):
            table[row, indices[0, 0, row, :count].tolist()] = kind
    return table


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

    moved  (Q,) how far each output went when what stands at `key` was changed; drawn at the right
    """
    from matplotlib.colors import ListedColormap

    grid, table = _grid(values), _blocks(values, size)
    ratios = [grid.shape[1], max(2, table.shape[1] * 1.6), *([] if moved is None else [5])]
    with course_style():
        made, axes = figure(
            2.8 + 0.32 * sum(ratios), 2.1 + 0.32 * len(grid), 1, len(ratios), width_ratios=ratios
        )
        _cells(axes[0], grid, queries, keys, values.name)
        if moved is not None:
            axes[0].set_aspect("auto")  # so that its rows are level with the bars
        axes[0].plot(
            [0, grid.shape[1], grid.shape[1], 0, 0],
            [query, query, query + 1, query + 1, query],
            color=COLOURS[1],
            linewidth=3,
            clip_on=False,
        )
        axes[0].set(xlabel="key: looked at", ylabel="query: looks")
        axes[1].pcolormesh(
            table,
            cmap=ListedColormap([PALE, COLOURS[5], DARK]),
            vmin=0,
            vmax=2,
            edgecolors="white",
            linewidth=1.5,
        )
        _labels(axes[1], table.shape, None, None, f"blocks of {size}")
        axes[1].set_anchor("N")
        for place, kind in np.ndenumerate(table):
            axes[1].text(
                place[1] + 0.5,
                place[0] + 0.5,
                ("skip", "part", "full")[kind],
                ha="center",
                va="center",
                fontsize=7.5,
                color="white" if kind == 2 else "black",
            )
        told = ""
        if key is not None:
            axes[0].plot(
                [key, key + 1, key + 1, key, key],
                [0, 0, len(grid), len(grid), 0],
                color=COLOURS[3],
                linewidth=2,
                linestyle="--",
                clip_on=False,
            )
            told = f" Key {key} ('{keys[key]}') may be looked at by {int(grid[:, key].sum())} of {len(grid)} queries."
        if moved is not None:
            went = np.asarray(moved)
            leaks = [row for row in range(len(grid)) if went[row] > 0 and not grid[row, key]]
            axes[2].barh(
                np.arange(len(grid)) + 0.5,
                went,
                height=0.8,
                color=[COLOURS[3] if row in leaks else COLOURS[0] for row in range(len(grid))],
            )
            axes[2].set(ylim=(len(grid), 0), xlabel="output moved by")
            axes[2].set_yticks(np.arange(len(grid)) + 0.5, queries)
            axes[2].set_title(f"'{keys[key]}' is changed", loc="left")
            for row in leaks:
                axes[2].text(0, row + 0.55, " leak!", va="center", fontsize=8, fontweight="bold")
            still = int((went == 0).sum())
            caught = "none that the mask forbids"
            if leaks:
                caught = f"moved although the mask forbids it: {', '.join(map(str, leaks))}"
            told += f" After a change at key {key}, {len(went) - still} outputs move, {still} stay exactly as they were; {caught}."
    seen = ", ".join(str(keys[place]) for place in np.flatnonzero(grid[query])) or "nothing"
    counts = [int((table == kind).sum()) for kind in range(3)]
    return describe(
        made,
        f"Mask {values.name}, {len(grid)} queries by {grid.shape[1]} keys. Query {query} ('{queries[query]}') "
        f"may look at: {seen}. In blocks of {size}: {counts[0]} skipped, {counts[1]} computed with the rule, "
        f"{counts[2]} without.{told}",
    )


def compare_masks(
    got: Mask | Tensor,
    wanted: Mask | Tensor,
    titles: tuple[str, str] = ("yours", "wanted"),
    queries: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
):
    """Two masks side by side, and where they differ. queries, keys: names of the positions."""
    first, second = _grid(got), _grid(wanted)
    if first.shape != second.shape:
        raise ValueError(
            f"masks of different shapes: {titles[0]} {first.shape}, {titles[1]} {second.shape}."
        )
    extra, missing = first & ~second, second & ~first
    with course_style():
        high = 1.2 + 0.3 * len(first) if keys is None else 2.1 + 2.6 * len(first) / first.shape[1]
        made, axes = figure(9, high, 1, 3)
        rows = queries and [""] * len(queries)  # named once, at the left
        _cells(axes[0], first, queries, keys, titles[0])
        _cells(axes[1], second, rows, keys, titles[1])
        _cells(axes[2], first & second, rows, keys, "differences")
        for cells, colour, sign in ((extra, COLOURS[3], "+"), (missing, COLOURS[1], "−")):
            for q, k in zip(*np.nonzero(cells)):
                axes[2].fill_between([k, k + 1], q, q + 1, color=colour)
                axes[2].text(k + 0.5, q + 0.55, sign, ha="center", va="center", fontweight="bold")
        axes[2].set_xlabel("+ looks, but must not\n− must look, but doesn't")
    wrong = int(extra.sum()), int(missing.sum())
    return describe(
        made,
        f"{titles[0]} beside {titles[1]}: "
        + (
            "no difference."
            if not sum(wrong)
            else f"{wrong[0]} cells look but must not, {wrong[1]} must look but don't."
        ),
    )


def compare_values(got: Tensor, wanted: Tensor, titles: tuple[str, str] = ("yours", "wanted")):
    """Two tables of numbers (Q, K) side by side on one scale, and their difference."""
    first, second = (np.asarray(values.detach().float()) for values in (got, wanted))
    if first.shape != second.shape:
        raise ValueError(
            f"tables of different shapes: {titles[0]} {first.shape}, {titles[1]} {second.shape}."
        )
    low, high = min(first.min(), second.min()), max(first.max(), second.max())
    most = float(np.abs(first - second).max())
    with course_style():
        made, axes = figure(9, 1.6 + 0.3 * len(first), 1, 3)
        for place, values, title in ((axes[0], first, titles[0]), (axes[1], second, titles[1])):
            drawn = place.pcolormesh(values, cmap=SEQUENTIAL, vmin=low, vmax=high)
            _labels(place, values.shape, None, None, title)
        made.colorbar(drawn, ax=axes[1], shrink=0.8)
        drawn = axes[2].pcolormesh(first - second, cmap="PuOr", vmin=-(most or 1), vmax=most or 1)
        _labels(axes[2], first.shape, None, None, f"{titles[0]} − {titles[1]}")
        made.colorbar(drawn, ax=axes[2], shrink=0.8)
    row, column = np.unravel_index(np.abs(first - second).argmax(), first.shape)
    return describe(
        made,
        f"{titles[0]} beside {titles[1]}, {first.shape[0]} x {first.shape[1]} numbers. The largest difference "
        f"is {most:.3g}, at row {row}, column {column}: {first[row, column]:.3g} for {second[row, column]:.3g}.",
    )


def attention_heads(
    probabilities: Tensor, queries: Sequence[str] | None = None, keys: Sequence[str] | None = None
):
    """Attention probabilities (H, Q, K), one panel a head."""
    values = np.asarray(probabilities.detach())
    heads = len(values)
    with course_style():
        made, axes = figure(min(11, 1.2 + 2.6 * heads), 3.2, 1, heads)
        for head, place in enumerate(axes):
            drawn = place.pcolormesh(values[head], cmap=SEQUENTIAL, vmin=0, vmax=1)
            _labels(
                place,
                values[head].shape,
                queries if head == 0 else [""] * values.shape[1],
                keys,
                f"head {head}",
            )
        made.colorbar(drawn, ax=axes, label="attention", shrink=0.8)
    strongest = "; ".join(
        f"head {head}: "
        + ", ".join(f"{row}→{int(col)}" for row, col in enumerate(values[head].argmax(-1)))
        for head in range(heads)
    )
    return describe(
        made, f"Attention probabilities of {heads} heads, strongest key of each query: {strongest}."
    )


def image_index_strip(
    words: Sequence[str], numbers: Sequence[int], so_far: bool = False, columns: int = 14
):
    """A text with its phi: under the words the number of the picture they see (0: none), in that picture's colour.

    so_far: it sees that picture and all before it
    """
    from matplotlib.patches import Rectangle

    rows = -(-len(words) // columns)
    with course_style():
        made, axes = blank_figure(0.78 * min(columns, len(words)), 0.62 * rows)
        for place, word in enumerate(words):
            row, column = divmod(place, columns)
            axes.text(
                column + 0.5,
                -row - 0.2,
                word,
                ha="center",
                va="center",
                fontsize=8.5,
                fontweight="bold" if word.startswith("<") else "normal",
            )
        for (row, number), run in groupby(
            range(len(words)), lambda place: (place // columns, numbers[place])
        ):
            run = [place % columns for place in run]  # neighbours that see the same: one band
            seen = range(1, number + 1) if so_far and number else [number]
            for part, one in enumerate(seen):
                colour = PALE if not one else COLOURS[(one - 1) % len(COLOURS)]
                axes.add_patch(
                    Rectangle(
                        (run[0] + 0.03, -row - 0.82 + 0.42 * part / len(seen)),
                        len(run) - 0.06,
                        0.42 / len(seen),
                        facecolor=colour,
                        linewidth=0,
                    )
                )
            axes.text(
                (run[0] + run[-1] + 1) / 2,
                -row - 0.61,
                str(number) if len(run) < 3 else f"picture {number}" if number else "no picture",
                ha="center",
                va="center",
                fontsize=8.5,
                color="black" if so_far else text_colour(colour),
            )
        axes.set(xlim=(0, min(columns, len(words))), ylim=(-rows, 0))
    told = " ".join(f"{word}({number})" for word, number in zip(words, numbers))
    return describe(
        made,
        f"Which picture each word sees{', with all before it' if so_far else ''} (0: none): {told}.",
    )
