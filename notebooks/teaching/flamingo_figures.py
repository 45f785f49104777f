"""Lesson 11: figures on Flamingo's parts, the student's training, and the shipped model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from teaching import flamingo_measures as measures
from teaching.flamingo_model import CHANCE, BuiltFlamingo, Pages, right_nouns
from vlmcourse import evaluation, introspection, plots, world
from vlmcourse.evaluation import eval_mode
from vlmcourse.papers.flamingo import Flamingo
from vlmcourse.plots.style import (
    COLOURS,
    DARK,
    PALE,
    blank_figure,
    course_style,
    describe,
    figure,
    hide_axes,
    text_colour,
)
from vlmcourse.world import tokenizer

POINTS = 25


def rendered(scenes: Sequence[world.Scene], size: int) -> np.ndarray:
    """Scenes as pictures (N, S, S, 3)."""
    return np.stack([world.render(scene, size) for scene in scenes])


def at_work(model: Flamingo, scenes: Sequence[world.Scene], size: int):
    """Pictures with the model's caption, and what the language model writes when all gates are closed."""
    lines = []
    for scene, caption, blind in zip(
        scenes,
        measures.written(model, scenes, size),
        measures.written(model, scenes, size, closed=True),
    ):
        facts = evaluation.caption_facts(caption)
        right = bool(facts) and facts <= evaluation.scene_facts(scene)
        mark = "✓" if right else "✗"
        lines.append(f"{mark} a picture of {caption}\ngates closed: a picture of {blind}")
    return plots.pictures(rendered(scenes, size), lines, columns=3)


def gradient_bars(table: Mapping[str, Mapping[str, float]]):
    """Lengths of the gradients of each group at two steps."""
    groups = {group: {step: of[group] for step, of in table.items()} for group in measures.GROUPS}
    return plots.bars(groups, "length of the gradient", sideways=True, form=".2g")


def opening_curve(model: BuiltFlamingo, batch: dict):
    """How far predictions move as all gates of an untrained Flamingo are opened by hand."""
    found = measures.moved_by_gates(model, batch, (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8))
    series = {"untrained blocks": found}
    return plots.curves(
        series, "opening of all gates, tanh(α)", "distance from the LM (0 to 1)"
    ), found


@course_style()
def index_strip(words: Sequence[str], numbers: Sequence[int], columns: int = 14):
    """A text with its phi: under the words the number of the picture they attend to (0: none), in that picture's colour."""
    from matplotlib.patches import Rectangle

    rows, columns = -(-len(words) // columns), min(columns, len(words))
    drawn, axes = blank_figure(0.78 * columns, 0.62 * rows)
    style = {"ha": "center", "va": "center", "fontsize": 9}
    for index, word in enumerate(words):
        row, column = divmod(index, columns)
        weight = "bold" if word.startswith("<") else "normal"
        axes.text(column + 0.5, -row - 0.2, word, fontweight=weight, **style)
    # neighbours that attend to the same: one band
    for (row, number), run in groupby(
        range(len(words)), lambda index: (index // columns, numbers[index])
    ):
        places = [index % columns for index in run]
        colour = COLOURS[(number - 1) % len(COLOURS)] if number else PALE
        corner, size = (places[0] + 0.03, -row - 0.82), (len(places) - 0.06, 0.42)
        axes.add_patch(Rectangle(corner, *size, facecolor=colour, linewidth=0))
        label = f"picture {number}" if number else "no picture"
        label = str(number) if len(places) < 3 else label
        middle = (places[0] + places[-1] + 1) / 2
        axes.text(middle, -row - 0.61, label, color=text_colour(colour), **style)
    axes.set(xlim=(0, columns), ylim=(-rows, 0))
    pairs = " ".join(f"{word}({number})" for word, number in zip(words, numbers))
    return describe(drawn, f"Which picture each word attends to (0: none): {pairs}.")


def page_strip(ids: Tensor, mask: Tensor, R: int):
    """The tokens of a page with the number of the picture they attend to, read from a mask (1, T, N * R)."""
    words = tokenizer.world_tokenizer().convert_ids_to_tokens(ids[0].tolist())
    open_to = mask[0].unflatten(-1, (-1, R)).any(-1)  # (T, N)
    numbers = torch.where(open_to.any(-1), open_to.long().argmax(-1) + 1, 0)
    return index_strip(words, numbers.tolist())


@course_style()
def two_masks(measured: Tensor, declared: Tensor, words: Sequence[str]):
    """Two tables of booleans (T, N), one below the other, a column for each token and a row for each picture."""
    from matplotlib.colors import ListedColormap

    T, N = declared.shape
    drawn, axes = figure(0.42 * T + 1.4, 2 * (0.36 * N + 0.5) + 0.7, 2, 1, sharex=True)
    for panel, values, title in zip(axes, (measured, declared), ("measured", "declared")):
        colours = ListedColormap((PALE, DARK))
        style = {"cmap": colours, "vmin": 0, "vmax": 1, "edgecolors": "white", "linewidth": 1.5}
        panel.pcolormesh(values.T.float().numpy(), **style)
        panel.set_title(title, loc="left", fontsize=10)
        panel.set_yticks(np.arange(N) + 0.5, [f"picture {n + 1}" for n in range(N)])
        panel.set_xticks(np.arange(T) + 0.5, words, rotation=60, ha="right", fontsize=9)
        panel.tick_params(length=0)
        panel.invert_yaxis()
        for spine in panel.spines.values():
            spine.set_visible(False)
    axes[0].tick_params(labelbottom=False)
    pairs = [
        f"{word}: {', '.join(str(n + 1) for n in row.nonzero()[:, 0].tolist()) or 'none'}"
        for word, row in zip(words, measured)
    ]
    differ = int((measured != declared).sum())
    return describe(
        drawn,
        f"Pictures that move each token: {'; '.join(pairs)}. Cells where both differ: {differ}.",
    )


def declared_and_measured(model: BuiltFlamingo, ids: Tensor, latents: Tensor):
    """A mask as declared, and who moves whom in the first block by derivatives; do they agree? latents (N, R, C)"""
    N, R, C = latents.shape
    declared = model.parts["image_mask"](ids, model.config.image_token_id, N, R)
    words = tokenizer.world_tokenizer().convert_ids_to_tokens(ids[0].tolist())
    with torch.no_grad():
        y = model.lm.get_input_embeddings()(ids)
    block = model.blocks[0]
    moved = introspection.influence(lambda x: block(y, x, declared), latents.reshape(1, N * R, C))
    found, said = (x.unflatten(-1, (N, R)).any(-1) for x in (moved > 0, declared[0]))
    return two_masks(found, said, words), torch.equal(moved > 0, declared[0])


def moved_by_first(model: BuiltFlamingo, ids: Tensor, features: Tensor):
    """How far each token's state after the first block, and its logits, move when picture 1 is exchanged."""
    other = features.clone()
    other[0] = features[-1]
    N, R = len(features), model.config.latents
    with eval_mode(model):
        mask = model.parts["image_mask"](ids, model.config.image_token_id, N, R)
        y = model.lm.get_input_embeddings()(ids)
        blocks = [
            model.blocks[0](
                y, model.parts["resample"](model.resampler, f).flatten(0, 1)[None], mask
            )
            for f in (features, other)
        ]
        ends = [model(ids, f) for f in (features, other)]
    direct, whole = ((b - a).norm(dim=-1)[0].numpy() for a, b in (blocks, ends))
    words = tokenizer.world_tokenizer().convert_ids_to_tokens(ids[0].tolist())
    return two_rows_of_bars(
        words, {"states after the first block": direct, "logits at the model's end": whole}
    )


@course_style()
def two_rows_of_bars(words: Sequence[str], rows: Mapping[str, np.ndarray]):
    """For each token a bar in each of two panels, one below the other: {what changes: by how much}"""
    T = len(words)
    drawn, axes = figure(0.42 * T + 1.4, 4.6, len(rows), 1, sharex=True)
    for panel, colour, (title, values) in zip(axes, COLOURS, rows.items()):
        panel.bar(range(T), values, 0.8, color=colour, alpha=0.85)
        panel.set_title(title, loc="left", fontsize=10)
        panel.set(ylabel="length of the change", xlim=(-0.6, T - 0.4))
        panel.margins(y=0.15)
        for index, value in enumerate(values):
            panel.annotate(
                f"{value:.1f}",
                (index, value),
                (0, 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=8,
            )
        panel.set_xticks(range(T), words, rotation=60, ha="right", fontsize=9)
    axes[0].tick_params(labelbottom=False)
    pairs = (
        f"{word} {', '.join(f'{values[index]:.1f}' for values in rows.values())}"
        for index, word in enumerate(words)
    )
    return describe(drawn, f"Token by token, {' and '.join(rows)}: {'; '.join(pairs)}.")


def gate_curves(gates: Mapping[str, Mapping[int, float]]):
    """|tanh(α)| of each gate over steps."""
    shown = {}
    for name, values in gates.items():
        every = max(1, len(values) // POINTS)
        shown[name] = {step: abs(value) for step, value in values.items() if step % every == 0}
    return plots.curves(shown, "step", "|tanh(α)|")


def shipped_gates(trace: Mapping[str, Sequence[float]]) -> dict[str, dict[int, float]]:
    """The recorded gates of the shipped stage by their names in the figures."""
    found = {}
    for name, values in trace.items():
        _, layer, gate = name.split(".")
        part = "feed-forward" if "feedforward" in gate else "attention"
        found[f"before layer {int(layer) + 1}: {part}"] = dict(enumerate((0.0, *values)))
    return found


def noun_bars(model: BuiltFlamingo, pages: Pages):
    """Right nouns on held-out pages: with their pictures, with blank ones, with another page's."""
    features = pages.whole["features"]
    pairs = features.unflatten(0, (pages.size, 2))
    shown = {
        "their pictures": features,
        "no features (zeros)": torch.zeros_like(features),
        "another page's": pairs.roll(1, 0).flatten(0, 1),
    }
    found = {name: right_nouns(model, pages, one) for name, one in shown.items()}
    names = ("noun after picture 1", "noun after picture 2")
    groups = {shown_as: dict(zip(names, both)) for shown_as, both in found.items()}
    label = "right nouns (share)"
    return plots.bars(groups, label, CHANCE, sideways=True, highest=1, form=".2f"), found


def closed_bars(found: Mapping[str, float], chance: float):
    """Right nouns with one gate closed at a time."""
    groups = {name: {"right noun": value} for name, value in found.items()}
    label = "captions with the right noun (share)"
    return plots.bars(groups, label, chance=chance, sideways=True, highest=1, form=".2f")


@course_style()
def maps(scenes: Sequence[world.Scene], found: Sequence[Mapping[str, Tensor]], size: int):
    """Pictures with two maps of 4 x 4 numbers each: attention by the way of the latents, and occlusion.

    Each map has its own scale: the darkest square holds its largest number.
    """
    from matplotlib.patches import Rectangle

    columns = ("picture", "attention in %", "fall in nats when covered")
    drawn, axes = figure(2.4 * len(columns), 2.5 * len(scenes), len(scenes), len(columns))
    words = []
    for row, (scene, both) in enumerate(zip(scenes, found)):
        image = world.render(scene, size)
        panels = axes[len(columns) * row : len(columns) * (row + 1)]
        panels[0].imshow(image, extent=(0, 1, 1, 0))
        panels[0].set_ylabel(scene.things[0].word, fontsize=10)
        for panel, values, unit in zip(panels[1:], both.values(), (100, 1)):
            side = int(len(values) ** 0.5)
            table = unit * values.reshape(side, side)
            panel.imshow(image, extent=(0, 1, 1, 0), alpha=0.45)
            top = float(table.abs().max().clamp(min=1e-9))
            for (r, c), value in np.ndenumerate(table.numpy()):
                strength = max(0.0, float(value) / top)
                corner = c / side, r / side
                style = {"facecolor": DARK, "alpha": 0.55 * strength, "linewidth": 0}
                panel.add_patch(Rectangle(corner, 1 / side, 1 / side, **style))
                text = f"{value:.0f}" if unit == 100 else f"{round(float(value), 1) + 0.0:.1f}"
                place = (c + 0.5) / side, (r + 0.5) / side
                panel.text(*place, text, ha="center", va="center", fontsize=9)
            r, c = divmod(int(values.argmax()), side)
            words.append(
                f"{scene.things[0].word}, largest {float(table.max()):.1f} in row {r + 1}, column {c + 1}"
            )
        for panel, title in zip(panels, columns):
            hide_axes(panel)
            if row == 0:
                panel.set_title(title, fontsize=10)
    return describe(drawn, f"Attention and occlusion, pair by pair: {'; '.join(words)}.")
