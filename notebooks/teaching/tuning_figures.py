"""Lesson 06, its second half: diagrams, figures and tables."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from matplotlib.container import BarContainer

from teaching import tuning_task
from vlmcourse import evaluation, plots
from vlmcourse.parts.language import LanguageModel, width
from vlmcourse.plots.diagrams import Diagram
from vlmcourse.plots.style import COLOURS, MARKERS, course_style, describe, figure
from vlmcourse.world import tokenizer
from vlmcourse.world.documents import vocabulary

Rows = Sequence[Mapping]


def places_of_change(model: LanguageModel, vectors: int, bottleneck: int):
    """Where prompt tuning, BitFit and adapters change a language model: one of its sub-layers, with the shapes of this model."""
    lm = model.lm
    depth, wide = lm.config.num_hidden_layers, width(lm)
    diagram = Diagram("Three ways to change a frozen language model a little")
    small = f"{wide} → {bottleneck} → {wide}"
    diagram.box("prompt", "prompt", f"({vectors}, {wide})", column=0, row=1, kind="trained")
    diagram.box(
        "words", "embeddings", "'<bos> cat :'", f"(3, {wide})", column=0, row=3, kind="frozen"
    )
    diagram.box("sequence", "one sequence", f"({vectors + 3}, {wide})", column=1, row=2)
    diagram.box("bias", "biases", "BitFit", column=2, row=0, kind="trained")
    diagram.box(
        "weights", "weights", "attention or", "feed-forward", column=2, row=1, kind="frozen"
    )
    diagram.box("adapter", "adapter", small, column=3, row=1, kind="trained")
    diagram.box("sum", "+", column=4, row=2)
    diagram.box(
        "loss", "loss", f"after {depth} layers of", "2 sub-layers", column=5, row=2, kind="loss"
    )
    for arrow in (("prompt", "sequence"), ("words", "sequence"), ("sequence", "weights"),
                  ("bias", "weights"), ("weights", "adapter"), ("adapter", "sum"), ("sum", "loss")):  # fmt: skip
        diagram.arrow(*arrow)
    diagram.arrow("sequence", "sum", "residual stream")
    return diagram


def prompt_and_prefix(wide: int):
    """Prompt tuning beside Frozen: where the vectors before the text come from."""
    diagram = Diagram("A trained prompt, and a prefix computed from a picture")
    diagram.box(
        "constant",
        "trained vectors",
        f"(2, {wide}), always the same",
        column=1,
        row=0,
        kind="trained",
    )
    diagram.box("pixels", "picture", "(3, 32, 32)", column=0, row=2, kind="data")
    diagram.box("encoder", "image encoder", f"→ (2, {wide})", column=1, row=2, kind="trained")
    diagram.box("words", "text", "its embeddings", column=1, row=1, kind="data")
    diagram.box("lm1", "language model", "prompt tuning", column=2, row=0, kind="frozen")
    diagram.box("lm2", "language model", "Frozen", column=2, row=2, kind="frozen")
    diagram.box("out1", "next words", "answers, one task", column=3, row=0)
    diagram.box("out2", "next words", "depend on the picture", column=3, row=2)
    for arrow in (
        ("constant", "lm1"),
        ("words", "lm1"),
        ("words", "lm2"),
        ("lm1", "out1"),
        ("pixels", "encoder"),
        ("encoder", "lm2"),
        ("lm2", "out2"),
    ):
        diagram.arrow(*arrow)
    return diagram


def next_words(models: Mapping[str, torch.nn.Module], words: Sequence[str], count: int = 3):
    """Most likely words after 'noun :', as bars of probabilities: a row a noun, a column a model."""
    known = vocabulary()
    names = {number: word for word, number in known.items()}
    groups = {}
    for word in words:
        ids = torch.tensor([[tokenizer.BOS, known[word], known[":"]]])
        for name, model in models.items():
            with evaluation.eval_mode(model):
                probabilities = model(ids)[0, -1].softmax(-1)
            top = probabilities.topk(count)
            groups[f"'{word} :' {name}"] = {
                names[int(index)]: float(value) for value, index in zip(*top)
            }
    return _ranked(groups, len(models))


@course_style()
def _ranked(groups: Mapping[str, Mapping[str, float]], columns: int):
    """One panel a group, row by row: its words' probabilities, as bars with the words written beside them."""
    rows = len(groups) // columns
    drawn, axes = figure(7.2, 0.95 * rows + 0.6, rows, columns, sharex=True)
    for panel, (name, values) in zip(axes, groups.items()):
        panel.barh(range(len(values)), list(values.values()), color=COLOURS[0], alpha=0.85)
        panel.set_yticks(range(len(values)), list(values), fontsize=9)
        panel.invert_yaxis()
        panel.set(xlim=(0, 1.12))
        panel.set_title(name, fontsize=9, loc="left", pad=2)
        for row, value in enumerate(values.values()):
            panel.annotate(
                f"{value:.2f}",
                (value, row),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
    for panel in axes[-columns:]:
        panel.set_xlabel("probability of the next word")
    words = "; ".join(
        f"{name}: " + ", ".join(f"{w} {p:.2f}" for w, p in values.items())
        for name, values in groups.items()
    )
    return describe(drawn, f"Most likely next words. {words}.")


def live_table(results: Mapping[str, Mapping], whole: int) -> str:
    """One row a method: what was trained and how fast, accuracy, what is still known, and whether frozen parameters moved."""
    lines = ["| method | trained numbers | share | learning rate | held-out nouns | facts still known "
             "| frozen parameters that changed | seconds |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for name, found in results.items():
        moved = len(found["frozen but changed"]) or "none"
        moved = "–" if found["trained"] == whole else moved  # nothing was frozen
        lines.append(f"| {name} | {found['trained']:,} | {found['trained'] / whole:.2%} "
                     f"| {found['learning rate']:g} | {found['held-out nouns']:.2f} | {found['facts']:.2f} | {moved} | {found['seconds']:.0f} |")  # fmt: skip
    most = max(found["facts"] for found in results.values())
    least = " and ".join(name for name, found in results.items() if found["facts"] == most)
    return "\n".join([*lines, "", f"Fewest facts lost, in this run: {least}."])


def spread_of(
    rows: Rows, row: str, task: str, key: str = "held-out nouns", examples: int | None = None
) -> evaluation.Spread:
    """A measurement of replicate_tuning over seeds; examples: default, all nouns of the training."""
    most = max(one["examples"] for one in rows)
    chosen = [
        one[key]
        for one in rows
        if (one["row"], one["task"], one["examples"]) == (row, task, examples or most)
    ]
    return evaluation.spread(chosen)


METHODS = (
    "prompt, 1 vector",
    "prompt, 5 vectors",
    "prompt, 20 vectors",
    "BitFit",
    "adapters, width 8",
    "all weights",
)


WAYS = {
    "in the prompt, 'noun : answer'": "noun : answer .",
    "in the prompt, a known form": "question : which ?",
    "prompt tuning, 5 vectors": "prompt, 5 vectors",
    "all weights": "all weights",
}
"""{way to use few examples: its row in replicate_tuning}."""


def _without_whiskers(value: evaluation.Spread) -> evaluation.Spread:
    """Of two seeds the dots tell all."""
    return value if len(value.values) > 2 else evaluation.Spread(value.mean, 0.0, value.values)


def methods(rows: Rows, task: str, task_of: Callable[[int], tuning_task.Task]):
    """Accuracy on held-out and training nouns and what is still known, by method, on one task."""
    scores = {
        "held-out nouns, answered right": "held-out nouns",
        "training nouns, answered right": "training nouns",
        "facts still known": "facts",
    }
    groups = {}
    for name in METHODS:
        trained = next(one["trained"] for one in rows if one["row"] == name)
        groups[f"{name}\n({trained:,} trained)"] = {
            label: _without_whiskers(spread_of(rows, name, task, key))
            for label, key in scores.items()
        }
    drawn = plots.bars(groups, "share right", sideways=True, highest=1)
    seeds = sorted({row["seed"] for row in rows if row["task"] == task})
    usual = [tuning_task.most_frequent(task_of(seed)) for seed in seeds]
    held_out, *_ = _bars(drawn)
    return _level(_numbers_in_a_column(drawn, "mean"), held_out, usual)


def _bars(drawn) -> list[list]:
    """The bars of a figure by `plots.bars`: a list for each name, one bar of each group."""
    (axes,) = drawn.axes
    return [one.patches for one in axes.containers if isinstance(one, BarContainer)]


def _level(drawn, bars: Sequence, usual: Sequence[float]):
    """Lying bars with larger dots, and dashes across some of them at what the most frequent answer gets of the held-out nouns.

    bars  those that count held-out nouns;  usual  of each seed; the dashes stand at their mean
    """
    (axes,) = drawn.axes
    for line in axes.lines:
        line.set_markersize(8)
    level = evaluation.spread(usual).mean
    name = f"most frequent answer:\n{level:.2f} of held-out nouns"
    style = {"color": "black", "linestyle": (0, (2, 1)), "linewidth": 1.6, "zorder": 3}
    for bar in bars:
        ends = [bar.get_y() - 0.03, bar.get_y() + bar.get_height() + 0.03]
        axes.plot([level] * 2, ends, label=name if bar is bars[0] else None, **style)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    words = re.sub(r" ± 0(?!\.\d)", "", drawn.description)  # not drawn, see _without_whiskers
    return describe(drawn, f"{words} Dashes: {' '.join(name.split())}.")


def _numbers_in_a_column(drawn, name: str):
    """Lying bars with their numbers in one column on the right, since a mean behind a dot reads as the dot's value."""
    (axes,) = drawn.axes
    for text, bar in zip(axes.texts, itertools.chain(*_bars(drawn))):
        text.set(x=0, ha="left", text=f"{bar.get_width():.2f}")
        text.xy = (1.04, text.xy[1])
    axes.set_xlim(0, 1.16)
    axes.annotate(name, (1.04, axes.get_ylim()[1]), (0, 2), textcoords="offset points", fontsize=8)
    return drawn


def few_counts(rows: Rows) -> list[int]:
    """How many examples were tried where few are shown or trained on."""
    return sorted({one["examples"] for one in rows if one["row"] in tuning_task.FORMS})


def few_examples(rows: Rows):
    """Accuracy with few examples: trained on, or shown in the prompt."""
    groups = {}
    for count in few_counts(rows):
        groups[f"{count} examples"] = {
            label: _without_whiskers(spread_of(rows, name, "place", examples=count))
            for label, name in WAYS.items()
        }
    label = "held-out nouns, answered right (share)"
    drawn = _numbers_in_a_column(plots.bars(groups, label, sideways=True, highest=1), "mean")
    seeds = sorted({one["seed"] for one in rows if one["row"] in tuning_task.FORMS})
    usual = [tuning_task.most_frequent(tuning_task.place_task(seed)) for seed in seeds]
    return _level(drawn, list(itertools.chain(*_bars(drawn))), usual)


@course_style()
def lab(runs: Mapping[str, Mapping]):
    """Training losses of the failure lab's runs."""
    drawn, (axes,) = figure(7.2, 3.4)
    for (name, run), colour, marker in zip(runs.items(), COLOURS, MARKERS):
        steps = np.arange(1, len(run["losses"]) + 1)
        axes.plot(
            steps,
            np.maximum(run["losses"], 1e-4),
            color=colour,
            marker=marker,
            markevery=0.1,
            label=name,
        )
    axes.set(xlabel="step", ylabel="training loss (nats)", yscale="log")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    ends = "; ".join(f"{name} ends at {run['losses'][-1]:.2g}" for name, run in runs.items())
    return describe(drawn, f"Training losses of four runs: {ends}.")


def lab_scores(runs: Mapping[str, Mapping]):
    """Scores of the failure lab's runs, and the most frequent answer."""
    keys = ("held-out nouns", "facts, adapters removed")
    groups = {name: {key: run[key] for key in keys} for name, run in runs.items()}
    drawn = _numbers_in_a_column(plots.bars(groups, "share right", sideways=True), "share")
    held_out, *_ = _bars(drawn)
    return _level(drawn, held_out, [tuning_task.most_frequent(tuning_task.place_task(0))])
