"""Pictures with what models make of them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from vlmcourse.plots.style import (
    COLOURS,
    DARK,
    GREY,
    SEQUENTIAL,
    blank_figure,
    course_style,
    describe,
    figure,
    hide_axes,
    outline,
    set_margins,
    text_colour,
)


def _wrapped(text: str, width: int) -> str:
    """At most `width` letters a line; line breaks of the text stay."""
    return "\n".join("\n".join(textwrap.wrap(line, width)) for line in text.split("\n"))


@course_style()
def pictures(
    images: np.ndarray,
    captions: Sequence[str],
    right: Sequence[bool] | None = None,
    columns: int = 6,
):
    """Pictures (N, S, S, 3) uint8 with captions below; ✓ or ✗ and a coloured frame where `right` says so."""
    from matplotlib.patches import Rectangle

    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    marks = [""] * len(images) if right is None else ["✓ " if good else "✗ " for good in right]
    texts = [_wrapped(mark + caption, 22) for mark, caption in zip(marks, captions)]
    # height of a picture (1) with its caption
    high = 1.1 + 0.1 * max(text.count("\n") + 1 for text in texts)
    drawn, axes = blank_figure(1.65 * columns, 1.65 * high * rows)
    for index, text in enumerate(texts):
        left, top = index % columns + 0.03, index // columns * high + 0.04
        extent = (left, left + 0.94, top + 0.94, top)
        axes.imshow(images[index], extent=extent, interpolation="nearest", aspect="auto")
        colour = GREY if right is None else COLOURS[2] if right[index] else COLOURS[3]
        style = {"fill": False, "edgecolor": colour, "linewidth": 0.5 if right is None else 3}
        axes.add_patch(Rectangle((left, top), 0.94, 0.94, **style))
        axes.text(left + 0.47, top + 1, text, ha="center", va="top", fontsize=8.5)
    axes.set(xlim=(0, columns), ylim=(rows * high, 0))
    judged = [text.replace("\n", ", ") for text in captions]
    if right is not None:
        judged = [f"{text} ({'right' if good else 'wrong'})" for text, good in zip(judged, right)]
    return describe(drawn, f"{len(images)} pictures: {'; '.join(judged)}.")


@course_style()
def pictures_with_boxes(
    images: np.ndarray,
    boxes: Sequence[Sequence[Sequence[float]]],
    names: Sequence[Sequence[str]],
    captions: Sequence[str],
):
    """Pictures (N, S, S, 3) with the boxes of their regions, x1, y1, x2, y2 as fractions, and a name at each box."""
    drawn, axes = figure(2.6 * len(images), 3.3, 1, len(images))
    for panel, image, corners, labels, caption in zip(axes, images, boxes, names, captions):
        hide_axes(panel)
        panel.imshow(image, extent=(0, 1, 1, 0), interpolation="nearest")
        panel.set_xlabel(_wrapped(caption, 28), fontsize=10)
        for (x1, y1, x2, y2), name, colour in zip(corners, labels, COLOURS):
            outline(panel, x1, y1, x2, y2, color=colour, linewidth=2)
            style = {"facecolor": colour, "edgecolor": "none", "pad": 1}
            panel.text(x1, y1, name, fontsize=9, va="bottom", color=text_colour(colour), bbox=style)
    words = "; ".join(
        f"'{' '.join(caption.split())}' with boxes {', '.join(labels)}"
        for caption, labels in zip(captions, names)
    )
    return describe(drawn, f"{len(images)} pictures with the boxes of their regions: {words}.")


def _write_values(axes, table: np.ndarray, middle: float, fontsize: float) -> None:
    """Each value in its cell, white below `middle`, bold on the diagonal."""
    for (row, column), value in np.ndenumerate(table):
        style = {"ha": "center", "va": "center", "fontsize": fontsize}
        style["color"] = "white" if value < middle else "black"
        style["fontweight"] = "bold" if row == column else "normal"
        axes.text(column, row, f"{round(float(value), 2) + 0.0:.2f}", **style)  # 0.00, not -0.00


@course_style()
def similarity(
    images: np.ndarray,
    texts: Sequence[str],
    values: Tensor,
    label: str = "cosine",
    limits: tuple[float, float] | None = None,
):
    """CLIP's Figure 1 from tensors: pictures on top, captions at the side, their similarities (images, texts) between. limits: of the colours."""
    table = np.asarray(values.detach()).T  # (texts, images)
    number = len(images)
    drawn, (axes,) = figure(3.2 + 0.78 * number, 1.5 + 0.62 * len(texts))
    low, high = limits or (table.min(), table.max())
    cells = axes.imshow(table, cmap=SEQUENTIAL, aspect="auto", vmin=low, vmax=high)
    middle = (low + high) / 2
    _write_values(axes, table, middle, fontsize=8)
    axes.set_yticks(range(len(texts)), [_wrapped(text, 34) for text in texts], fontsize=8.5)
    axes.set_xticks([])
    axes.tick_params(length=0)
    for column in range(number):
        inset = axes.inset_axes([column / number, 1.02, 1 / number, 1.1 / len(texts)])
        inset.imshow(images[column])
        hide_axes(inset)
    drawn.colorbar(cells, ax=axes, label=label, shrink=0.8)
    best = int((table.argmax(0) == np.arange(number)).sum())
    elsewhere = (table.sum() - table.trace()) / max(1, table.size - number)
    return describe(
        drawn,
        f"{label} of {number} pictures (columns) and {len(texts)} captions (rows); the right caption is the highest of "
        f"its column for {best} of {number} pictures. Mean on the diagonal {table.diagonal().mean():.2f}, elsewhere "
        f"{elsewhere:.2f}.",
    )


@course_style()
def image_text_table(
    images: np.ndarray, texts: Sequence[str], values: Tensor, label: str = "cosine"
):
    """Values (N, M) as functions return them: images (N, S, S, 3) are rows, texts columns; own pairs in bold. label: of one value."""
    values = np.asarray(values.detach())
    rows, columns = values.shape
    drawn, (axes,) = figure(2 + 1.15 * columns, 1 + 0.62 * rows)
    cells = axes.imshow(values, cmap=SEQUENTIAL, aspect="auto")
    middle = (values.min() + values.max()) / 2
    _write_values(axes, values, middle, fontsize=9)
    axes.xaxis.tick_top()
    axes.set_xticks(range(columns), [_wrapped(text, 18) for text in texts], fontsize=8)
    axes.set_yticks(range(rows), [""] * rows)
    axes.tick_params(length=0)
    for row, image in enumerate(images):
        inset = axes.inset_axes([-0.13, 1 - (row + 0.96) / rows, 0.12, 0.92 / rows])
        inset.imshow(image)
        hide_axes(inset)
    drawn.colorbar(cells, ax=axes, label=label, shrink=0.8)
    best = int((values.argmax(1) == np.arange(rows)).sum())
    words = "; ".join(", ".join(f"{value:.2f}" for value in row) for row in values)
    return describe(
        drawn,
        f"Table of {label}s, rows are {rows} images, columns {columns} texts: {'; '.join(texts)}. The own text is the "
        f"highest of its row for {best} images. Rows: {words}.",
    )


@course_style()
def nearest_images(
    queries: Sequence[str], images: np.ndarray, values: Tensor, answers: Sequence[int], k: int = 5
):
    """For each text, the k pictures a model finds nearest, best first, with their values; the right one is framed.

    values (texts, images); answers: the right image of each text.
    """
    order = np.asarray(values.detach()).argsort(axis=1)[:, ::-1][:, :k]
    drawn, axes = figure(2.6 + 1.25 * k, 1.5 * len(queries), len(queries), k)
    ranks = []
    for row, (query, answer) in enumerate(zip(queries, answers)):
        for panel, number in zip(axes[row * k : (row + 1) * k], order[row]):
            hide_axes(panel)
            panel.imshow(images[number])
            panel.set_title(f"{values[row, number]:.2f}", fontsize=8.5, pad=3)
            if number == answer:
                for spine in panel.spines.values():
                    spine.set(visible=True, color=COLOURS[2], linewidth=3.5)
        style = {"rotation": 0, "ha": "right", "va": "center", "fontsize": 9}
        axes[row * k].set_ylabel(_wrapped(query, 24), **style)
        rank = [*order[row], answer].index(answer) + 1
        ranks.append(f"'{query}': {rank if rank <= k else f'not in the first {k}'}")
    return describe(
        drawn,
        f"Nearest pictures of each text, best first. Rank of the right one: {'; '.join(ranks)}.",
    )


@course_style()
def attention_over_image(image: np.ndarray, maps: dict[str, Tensor]):
    """A picture (S, S, 3), and beside it, for each name, weights over its patches (P,) laid over it, all on one scale."""
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm, to_rgba

    drawn, axes = figure(1.9 * (len(maps) + 1) + 0.7, 2.6, 1, len(maps) + 1)
    style = {"fontsize": 9, "fontweight": "normal"}
    axes[0].imshow(image)
    axes[0].set_title("picture", **style)
    highest = max(float(values.max()) for values in maps.values())
    norm = PowerNorm(0.5, 0, highest)  # so that small weights are seen beside large ones
    veil = LinearSegmentedColormap.from_list("veil", [to_rgba(DARK, 0), to_rgba(DARK, 0.9)])
    words = []
    side = len(image)
    for panel, (name, values) in zip(axes[1:], maps.items()):
        grid = int(len(values) ** 0.5)
        weights = np.asarray(values.detach()).reshape(grid, grid)
        panel.imshow(image)
        extent = (-0.5, side - 0.5, side - 0.5, -0.5)
        cells = panel.imshow(weights, cmap=veil, extent=extent, norm=norm)
        panel.set_title(_wrapped(name, 24), **style)
        row, column = np.unravel_index(weights.argmax(), weights.shape)
        share = weights.max() / weights.sum()
        words.append(f"{name}: most at row {row + 1}, column {column + 1} of {grid} ({share:.0%})")
    wide = drawn.get_figwidth()
    bar = drawn.add_axes((1 - 0.7 / wide, 0.1, 0.12 / wide, 0.55))
    drawn.colorbar(cells, cax=bar, label="weight")
    set_margins(drawn, left=0.05, right=0.8, top=0.75, bottom=0.05, between=0.05)
    for panel in axes:
        hide_axes(panel)
    return describe(drawn, f"Weights over the patches of a picture. {'; '.join(words)}.")


@course_style()
def top_confusions(counts: Tensor, names: Sequence[str], max_pairs: int = 8):
    """The pairs of classes confused most often, as bars; counts (true, predicted), see sklearn's confusion_matrix."""
    table = np.asarray(counts).copy()
    total = int(table.sum())
    np.fill_diagonal(table, 0)
    order = [
        np.unravel_index(cell, table.shape) for cell in table.ravel().argsort()[::-1][:max_pairs]
    ]
    worst = {
        f"{names[true]} taken for {names[predicted]}": int(table[true, predicted])
        for true, predicted in order
        if table[true, predicted]
    }
    drawn, (axes,) = figure(6.4, 0.9 + 0.34 * max(1, len(worst)))
    axes.barh(range(len(worst)), list(worst.values()), color=COLOURS[3])
    axes.set_yticks(range(len(worst)), list(worst))
    axes.invert_yaxis()
    axes.set_xlabel(f"mistakes, out of {total} pictures")
    words = "; ".join(f"{pair}: {count}" for pair, count in worst.items())
    return describe(drawn, f"Most frequent confusions. {words or 'None'}.")


@course_style()
def embeddings(images: Tensor, texts: Tensor):
    """Images and texts of the same pairs (N, E) on the two main axes of both, with a line for each pair."""
    both = np.concatenate([np.asarray(images.detach()), np.asarray(texts.detach())])
    _, strengths, directions = np.linalg.svd(both - both.mean(0), full_matrices=False)
    flat = (both - both.mean(0)) @ directions[:2].T
    number = len(images)
    gap = float(np.linalg.norm(both[:number].mean(0) - both[number:].mean(0)))
    drawn, (axes,) = figure(6.4, 4.4)
    for pair in zip(flat[:number], flat[number:]):
        axes.plot(*np.array(pair).T, color=GREY, alpha=0.35, linewidth=0.8)
    style = {"s": 22, "zorder": 3}
    axes.scatter(*flat[:number].T, color=COLOURS[0], marker="o", label="images", **style)
    axes.scatter(*flat[number:].T, color=COLOURS[1], marker="s", label="texts", **style)
    first, second = strengths[:2] ** 2 / (strengths**2).sum()
    axes.set(
        xlabel=f"first axis ({first:.0%} of the variance)", ylabel=f"second axis ({second:.0%})"
    )
    axes.legend()
    return describe(
        drawn,
        f"{number} images and their texts in the joint space, first two principal axes, pairs joined. "
        f"The centres of images and texts are {gap:.2f} apart.",
    )
