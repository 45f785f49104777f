"""Pictures of the world with what models make of them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from vlmcourse.plots.style import (
    COLOURS,
    GREY,
    SEQUENTIAL,
    describe,
    figure,
    course_style,
    set_margins,
    blank_figure,
)


def _bare(axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


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
    marks = [
        "" if right is None else "✓ " if right[index] else "✗ " for index in range(len(images))
    ]
    written = [
        "\n".join(textwrap.wrap(mark + caption, 22)) for mark, caption in zip(marks, captions)
    ]
    high = 1.1 + 0.1 * max(
        text.count("\n") + 1 for text in written
    )  # of a picture with its caption; pictures are 1
    with course_style():
        made, axes = blank_figure(1.65 * columns, 1.65 * high * rows)
        for index, text in enumerate(written):
            left, top = index % columns + 0.03, index // columns * high + 0.04
            axes.imshow(
                images[index],
                extent=(left, left + 0.94, top + 0.94, top),
                interpolation="nearest",
                aspect="auto",
            )
            colour, width = (
                (GREY, 0.5) if right is None else (COLOURS[2] if right[index] else COLOURS[3], 3)
            )
            axes.add_patch(
                Rectangle((left, top), 0.94, 0.94, fill=False, edgecolor=colour, linewidth=width)
            )
            axes.text(left + 0.47, top + 1, text, ha="center", va="top", fontsize=8.5)
        axes.set(xlim=(0, columns), ylim=(rows * high, 0))
    told = "; ".join(
        captions
        if right is None
        else (
            f"{caption} ({'right' if good else 'wrong'})" for caption, good in zip(captions, right)
        )
    )
    return describe(made, f"{len(images)} pictures: {told}.")


def pictures_with_boxes(
    images: np.ndarray,
    boxes: Sequence[Sequence[Sequence[float]]],
    names: Sequence[Sequence[str]],
    captions: Sequence[str],
):
    """Pictures (N, S, S, 3) with the boxes of their regions, x1, y1, x2, y2 as fractions, and a name at each box."""
    with course_style():
        made, axes = figure(2.1 * len(images), 2.7, 1, len(images))
        for place, image, found, called, caption in zip(axes, images, boxes, names, captions):
            _bare(place)
            place.imshow(image, extent=(0, 1, 1, 0), interpolation="nearest")
            place.set_xlabel("\n".join(textwrap.wrap(caption, 26)), fontsize=8.5)
            for (x1, y1, x2, y2), name, colour in zip(found, called, COLOURS):
                place.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color=colour, linewidth=2)
                place.text(
                    x1 + 0.01,
                    y1 + 0.01,
                    name,
                    fontsize=7.5,
                    va="top",
                    color="white",
                    bbox={"facecolor": colour, "edgecolor": "none", "pad": 1},
                )
    told = "; ".join(
        f"'{caption}' with boxes {', '.join(called)}" for caption, called in zip(captions, names)
    )
    return describe(made, f"{len(images)} pictures with the boxes of their regions: {told}.")


def similarity(images: np.ndarray, texts: Sequence[str], values: Tensor, label: str = "cosine"):
    """CLIP's Figure 1 from tensors: pictures on top, captions at the side, their similarities (images, texts) between."""
    table = np.asarray(values.detach()).T  # (texts, images)
    number = len(images)
    with course_style():
        made, (axes,) = figure(3.2 + 0.78 * number, 1.5 + 0.62 * len(texts))
        drawn = axes.imshow(table, cmap=SEQUENTIAL, aspect="auto")
        middle = (table.min() + table.max()) / 2
        for row, column in np.ndindex(table.shape):
            axes.text(
                column,
                row,
                f"{table[row, column]:.2f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if table[row, column] < middle else "black",
                fontweight="bold" if row == column else "normal",
            )
        axes.set_yticks(
            range(len(texts)), ["\n".join(textwrap.wrap(text, 34)) for text in texts], fontsize=8.5
        )
        axes.set_xticks([])
        axes.tick_params(length=0)
        for column in range(number):
            inset = axes.inset_axes([column / number, 1.02, 1 / number, 1.1 / len(texts)])
            inset.imshow(images[column])
            _bare(inset)
        made.colorbar(drawn, ax=axes, label=label, shrink=0.8)
    best = table.argmax(0)
    return describe(
        made,
        f"{label} of {number} pictures (columns) and {len(texts)} captions (rows); the right caption is the "
        f"highest of its column for {int((best == np.arange(number)).sum())} of {number} pictures. "
        f"Mean on the diagonal {table.diagonal().mean():.2f}, elsewhere "
        f"{(table.sum() - table.trace()) / max(1, table.size - number):.2f}.",
    )


def nearest_images(
    queries: Sequence[str], images: np.ndarray, values: Tensor, answers: Sequence[int], k: int = 5
):
    """For each text, the k pictures a model finds nearest, best first; the right one is framed.

    values (texts, images); answers: the right image of each text.
    """
    order = np.asarray(values.detach()).argsort(axis=1)[:, ::-1][:, :k]
    with course_style():
        made, axes = figure(2.6 + 1.25 * k, 1.32 * len(queries), len(queries), k)
        for row, query in enumerate(queries):
            for column in range(k):
                place, found = axes[row * k + column], order[row, column]
                _bare(place)
                place.imshow(images[found])
                if found == answers[row]:
                    for spine in place.spines.values():
                        spine.set(visible=True, color=COLOURS[2], linewidth=3.5)
            axes[row * k].set_ylabel(
                "\n".join(textwrap.wrap(query, 24)), rotation=0, ha="right", va="center", fontsize=9
            )
    ranks = [
        list(order[row]).index(answer) + 1 if answer in order[row] else f"not in the first {k}"
        for row, answer in enumerate(answers)
    ]
    return describe(
        made,
        "Nearest pictures of each text, best first. Rank of the right one: "
        + "; ".join(f"'{query}': {rank}" for query, rank in zip(queries, ranks))
        + ".",
    )


def attention_over_image(image: np.ndarray, maps: dict[str, Tensor]):
    """A picture (S, S, 3), and beside it, for each name, weights over its patches (P,) laid over it."""
    with course_style():
        made, axes = figure(1.9 * (len(maps) + 1) + 0.7, 2.6, 1, len(maps) + 1)
        axes[0].imshow(image)
        axes[0].set_title("picture", fontsize=9, fontweight="normal")
        told, most = [], max(float(values.max()) for values in maps.values())  # one bar, one scale
        for place, (name, values) in zip(axes[1:], maps.items()):
            grid = int(len(values) ** 0.5)
            weights = np.asarray(values.detach()).reshape(grid, grid)
            place.imshow(image, alpha=0.45)
            side = len(image)
            drawn = place.imshow(
                weights,
                cmap="magma",
                alpha=0.6,
                extent=(-0.5, side - 0.5, side - 0.5, -0.5),
                vmin=0,
                vmax=most,
            )
            place.set_title("\n".join(textwrap.wrap(name, 24)), fontsize=9, fontweight="normal")
            row, column = np.unravel_index(weights.argmax(), weights.shape)
            told.append(
                f"{name}: most at row {row + 1}, column {column + 1} of {grid} ({weights.max() / weights.sum():.0%})"
            )
        wide = made.get_figwidth()
        made.colorbar(
            drawn, cax=made.add_axes((1 - 0.7 / wide, 0.1, 0.12 / wide, 0.55)), label="weight"
        )
        set_margins(made, left=0.05, right=0.8, top=0.75, bottom=0.05, between=0.05)
        for place in axes:
            _bare(place)
    return describe(made, f"Weights over the patches of a picture. {'; '.join(told)}.")


def top_confusions(counts: Tensor, names: Sequence[str], most: int = 8):
    """The pairs of classes taken for each other most often, as bars; counts (true, predicted)."""
    table = np.asarray(counts).copy()
    np.fill_diagonal(table, 0)
    worst = [np.unravel_index(place, table.shape) for place in table.ravel().argsort()[::-1][:most]]
    worst = [(true, said) for true, said in worst if table[true, said]]
    with course_style():
        made, (axes,) = figure(6.4, 0.9 + 0.34 * max(1, len(worst)))
        axes.barh(range(len(worst)), [table[pair] for pair in worst], color=COLOURS[3])
        axes.set_yticks(
            range(len(worst)), [f"{names[true]} taken for {names[said]}" for true, said in worst]
        )
        axes.invert_yaxis()
        axes.set_xlabel(f"mistakes, out of {int(np.asarray(counts).sum())} pictures")
    told = "; ".join(
        f"{names[true]} taken for {names[said]}: {table[true, said]}" for true, said in worst
    )
    return describe(made, f"Most frequent confusions. {told or 'None'}.")


def embeddings(images: Tensor, texts: Tensor):
    """Images and texts of the same pairs (N, E) on the two main axes of both, with a line for each pair."""
    both = np.concatenate([np.asarray(images.detach()), np.asarray(texts.detach())])
    centred = both - both.mean(0)
    _, strengths, axes_of_data = np.linalg.svd(centred, full_matrices=False)
    flat = centred @ axes_of_data[:2].T
    number = len(images)
    gap = float(np.linalg.norm(both[:number].mean(0) - both[number:].mean(0)))
    with course_style():
        made, (axes,) = figure(6.4, 4.4)
        for index in range(number):
            axes.plot(
                flat[[index, index + number], 0],
                flat[[index, index + number], 1],
                color=GREY,
                alpha=0.35,
                linewidth=0.8,
            )
        axes.scatter(*flat[:number].T, color=COLOURS[0], marker="o", s=22, label="images", zorder=3)
        axes.scatter(*flat[number:].T, color=COLOURS[1], marker="s", s=22, label="texts", zorder=3)
        share = strengths[:2] ** 2 / (strengths**2).sum()
        axes.set(
            xlabel=f"first axis ({share[0]:.0%} of the variance)",
            ylabel=f"second axis ({share[1]:.0%})",
        )
        axes.legend()
    return describe(
        made,
        f"{number} images and their texts in the joint space, first two principal axes, pairs joined. "
        f"The centres of images and texts are {gap:.2f} apart.",
    )
