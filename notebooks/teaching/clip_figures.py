"""Lesson 02: its diagrams, figures and players."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from teaching.clip_training import BrokenRun
from vlmcourse import evaluation, plots, recipes, world
from vlmcourse.plots.diagrams import Diagram
from vlmcourse.plots.style import COLOURS, course_style, describe, figure
from vlmcourse.widgets.interactive import interactive, slider, text_field


def towers_diagram(model, batch: int):
    """CLIP's Figure 1 with the shapes of this model, for a batch of so many pairs."""
    c = model.config
    patches = (c.image_size // c.patch) ** 2
    diagram = Diagram("CLIP: two encoders, one loss")
    diagram.box(
        "pixels",
        "images",
        f"({batch}, 3, {c.image_size}, {c.image_size})",
        column=0,
        row=0,
        kind="data",
    )
    diagram.box(
        "vit",
        "image encoder",
        f"ViT: {c.vision_depth} layers, width {c.vision_width}",
        f"{patches} patches + class token",
        column=1,
        row=0,
        kind="trained",
    )
    diagram.box(
        "image", "projection, norm", f"({batch}, {c.embedding})", column=2, row=0, kind="trained"
    )
    diagram.box("ids", "texts", f"({batch}, T), T ≤ {c.context}", column=0, row=2, kind="data")
    layers = "layer" if c.text_depth == 1 else "layers"
    diagram.box(
        "causal",
        "text encoder",
        f"causal: {c.text_depth} {layers}, width {c.text_width}",
        "state at the end token",
        column=1,
        row=2,
        kind="trained",
    )
    diagram.box(
        "text", "projection, norm", f"({batch}, {c.embedding})", column=2, row=2, kind="trained"
    )
    diagram.box("logits", "cosines × exp(s)", f"({batch}, {batch})", column=3, row=1)
    diagram.box("scale", "logit scale s", "1 number", column=3, row=0, kind="trained")
    diagram.box("loss", "two cross-entropies", "rows and columns", column=4, row=1, kind="loss")
    for source, target in (
        ("pixels", "vit"),
        ("vit", "image"),
        ("ids", "causal"),
        ("causal", "text"),
        ("image", "logits"),
        ("text", "logits"),
        ("scale", "logits"),
        ("logits", "loss"),
    ):
        diagram.arrow(source, target)
    return diagram


def pooling_diagram(tower):
    """CLIP's modified ResNet with the shapes of this tower, for one image."""
    size, grid, width = tower.image_size, tower.grid, tower.width
    with torch.no_grad():
        stem = tower.stem(torch.zeros(1, 3, size, size)).shape
    diagram = Diagram("CLIP's ResNet: from pixels to one vector")
    diagram.box("pixels", "image", f"(3, {size}, {size})", column=0, row=0, kind="data")
    diagram.box(
        "stem",
        "stem",
        "three 3 x 3 convolutions",
        f"({', '.join(map(str, stem[1:]))})",
        column=1,
        row=0,
        kind="trained",
    )
    diagram.box(
        "stages",
        "residual stages",
        "average pooling in each stride",
        f"({grid**2}, {width})",
        column=2,
        row=0,
        kind="trained",
    )
    diagram.box("mean", "mean", f"(1, {width})", column=3, row=1)
    diagram.box(
        "pool",
        "attention",
        f"mean and tokens, ({1 + grid**2}, {width})",
        "+ positions: query, keys, values",
        column=4,
        row=0,
        kind="trained",
    )
    diagram.box("vector", "image vector", f"({width},)", column=5, row=0)
    diagram.arrow("pixels", "stem")
    diagram.arrow("stem", "stages")
    diagram.arrow("stages", "pool", "tokens: keys, values")
    diagram.arrow("stages", "mean")
    diagram.arrow("mean", "pool", "mean: query, key, value")
    diagram.arrow("pool", "vector")
    return diagram


def answers_figure(model, images: np.ndarray, most: int = 4):
    """For each picture the most probable of all known nouns, by zero-shot classification."""
    names = world.known_nouns()
    classes = recipes.clip.noun_classes(model, ("a picture of {}",))
    with evaluation.eval_mode(model):
        vectors = model.encode_image(world.to_pixels(images))
        probabilities = (model.logit_scale.exp() * vectors @ classes.T).softmax(-1)
    figures = []
    for image, shares in zip(images, probabilities):
        best = shares.topk(most)
        values = {names[index]: float(p) for index, p in zip(best.indices.tolist(), best.values)}
        figures.append(plots.picture_and_bars(image, values, "probability", 1 / len(names)))
    return plots.stack_figures(*figures)


def pairs_per_query_figure(candidates: Sequence[tuple], collected: Sequence[tuple]):
    """Pairs of each query, most popular first, before and after the collection's rules."""
    counts = Counter(query for query, *_ in candidates)
    left = Counter(query for query, *_ in collected)
    order = [query for query, _ in counts.most_common()]
    series = {
        "found by the search": {rank: counts[query] for rank, query in enumerate(order, 1)},
        "collected": {rank: left[query] for rank, query in enumerate(order, 1)},
    }
    drawn = plots.curves(series, "rank of the query (1: most popular)", "pairs (log scale above 1)")
    axes, ticks = drawn.axes[0], (0, 1, 3, 10, 40, 100, 240)
    for line in axes.lines[: len(series)]:  # ranks are counted, not measured: nothing lies between
        line.set_linestyle("none")
    axes.legend(loc="upper right")
    axes.set_yscale("symlog", linthresh=1)
    axes.set_yticks(ticks, [str(tick) for tick in ticks], minor=False)
    axes.set_ylim(-0.2, 320)
    axes.axhline(40, color="black", linewidth=1, linestyle=":")
    axes.text(24.4, 44, "limit: 40", ha="right", fontsize=9)
    axes.minorticks_off()
    return drawn


def patches_figure(patches: Tensor, p: int):
    """The patches (P, 3 * p * p) of one image, in their order, each as a small picture, in rows as long as the image's."""
    images = world.to_images(patches.reshape(-1, 3, p, p))
    return plots.pictures(
        images,
        [str(number) for number in range(1, 1 + len(images))],
        columns=math.isqrt(len(images)),
    )


def training_figure(curves: Mapping[str, Sequence], chance: float, chance_name: str):
    """Training loss of several runs, {name: Steps}, with the mean of each one's last 20 steps and the width of the running mean."""
    ends = {name: [step.loss for step in run[-20:]] for name, run in curves.items()}
    named = {
        f"{name}, mean of the last 20 steps: {sum(ends[name]) / len(ends[name]):.2f}": run
        for name, run in curves.items()
    }
    drawn = plots.loss(named, chance=chance, chance_name=chance_name)
    axes = drawn.axes[0]
    single_steps, running_mean = axes.lines[0], axes.lines[1]
    width = len(single_steps.get_xdata()) - len(running_mean.get_xdata()) + 1
    axes.set_ylabel(f"loss (nats), mean of {width} steps\n(pale: each step)")
    for line in axes.lines[0 : 2 * len(curves) : 2]:
        line.set_alpha(0.5)
    return drawn


@course_style()
def controls_figure(report: Mapping[str, float]):
    """Retrieval and zero-shot accuracy beside their controls, as points on an axis that is logarithmic above 0.002."""
    scores = {"image to text R@1": "retrieval, R@1", "zero-shot nouns": "zero-shot accuracy"}
    controls = {"right images": "", "blank images": ", blind", "shuffled images": ", shuffled"}
    drawn, panels = figure(8.4, 2.5, 1, 2)
    words = []
    for panel, (key, label) in zip(panels, scores.items()):
        for place, (name, suffix) in enumerate(controls.items()):
            value = report[f"{key}{suffix}"]
            panel.plot(value, place, "os^"[place], color=COLOURS[place], markersize=9)
            side = -1 if value > 0.3 else 1
            panel.annotate(
                f"{value:.3f}",
                (value, place),
                (side * 9, 0),
                textcoords="offset points",
                ha="right" if side < 0 else "left",
                va="center",
            )
            words.append(f"{label}, {name} {value:.3f}")
        chance = report[f"{key}, chance"]
        panel.axvline(chance, color="grey", linestyle="--", linewidth=1.2)
        panel.text(1.15 * chance, -0.62, f"chance {chance:.4f}", fontsize=9, color="dimgrey")
        panel.set_xscale("symlog", linthresh=0.002)
        ticks = (0, 0.002, 0.01, 0.1, 1)
        panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.minorticks_off()
        panel.set(xlim=(-0.0004, 1.6), ylim=(2.5, -1), xlabel=f"{label} (share right)")
        panel.set_yticks(range(len(controls)), controls if panel is panels[0] else [])
        panel.grid(axis="x", alpha=0.3)
    return describe(drawn, f"Scores of one model: {'; '.join(words)}.")


@course_style()
def failure_figure(runs: Mapping[str, BrokenRun], chance: float):
    """Loss curves of the failure lab beside the runs' R@1 on held-out pairs, each run in one colour."""
    drawn, (left, right) = figure(10, 3.9, 1, 2, width_ratios=(3, 2))
    words = []
    for number, ((letter, run), dash) in enumerate(zip(runs.items(), ("-", "--", ":", "-."))):
        losses = [step.loss for step in run.history]
        steps = [step.step for step in run.history]
        smooth = np.convolve(losses, np.ones(9) / 9, mode="valid")
        left.plot(steps, losses, color=COLOURS[number], alpha=0.25, linewidth=1)
        left.plot(steps[4 : 4 + len(smooth)], smooth, dash, color=COLOURS[number], linewidth=2.2)
        up = 8 if letter == "D" else 0
        place = (steps[-1], smooth[-1])
        style = {"textcoords": "offset points", "va": "center", "fontweight": "bold"}
        left.annotate(letter, place, (6, up), color=COLOURS[number], **style)
        right.barh(number, run.recall, 0.6, color=COLOURS[number])
        right.text(run.recall + 0.02, number, f"{run.recall:.2f}", va="center")
        words.append(f"run {letter}: loss {smooth[-1]:.2f} at the end, R@1 {run.recall:.2f}")
    left.axhline(math.log(32), color="grey", linestyle=(0, (1, 2)), linewidth=1.2, zorder=0)
    left.text(steps[-1] * 0.35, math.log(32) + 0.06, "ln 32 = 3.47", fontsize=9, color="dimgrey")
    left.set(xlabel="step", ylabel="training loss (nats)", ylim=(-0.2, 4.2))
    right.axvline(chance, color="grey", linestyle="--", linewidth=1.2)
    right.text(chance + 0.01, -0.55, f"chance {chance:.3f}", fontsize=9, color="dimgrey")
    right.set(xlim=(0, 1), ylim=(len(runs) - 0.5, -0.9), xlabel="held-out R@1, image to text")
    right.set_yticks(range(len(runs)), [f"run {letter}" for letter in runs])
    return describe(drawn, f"Failure lab. {'; '.join(words)}.")


def classify(
    model,
    image: np.ndarray,
    classes: str,
    template: str,
    encode: Callable[[list[str]], Tensor] = world.tokenizer.encode,
    scale: float | None = None,
) -> dict[str, float]:
    """{class: probability} of a picture (S, S, 3) uint8. classes: with commas between.

    scale  another than the learned one, 1 / temperature
    Raises ValueError for unknown words, a template without {}, and fewer than two different classes.
    """
    names = [name.strip().lower() for name in classes.split(",") if name.strip()]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(
            f"classes {', '.join(names) or '(none)'}: expected at least two different ones, with commas between."
        )
    texts = evaluation.class_embeddings(
        model, [world.article(name) for name in names], (template,), encode
    )
    with torch.no_grad():
        cosines = model.encode_image(world.to_pixels(image[None])) @ texts.T
        probabilities = ((scale or model.logit_scale.exp()) * cosines).softmax(-1)[0]
    return dict(zip(names, probabilities.tolist()))


def class_figure(
    model, image: np.ndarray, classes: str, template: str, scale: float | None = None, title=""
):
    """The picture beside the probability of each class."""
    probabilities = classify(model, image, classes, template, scale=scale)
    return plots.picture_and_bars(
        image, probabilities, "probability of the class", 1 / len(probabilities), title
    )


def zero_shot_player(
    model, images: np.ndarray, classes: Sequence[str], template: str = "a picture of {}"
) -> None:
    """Displays pictures (N, S, S, 3) uint8 to choose from, with fields for classes and template."""
    picture = slider("picture", 0, 0, len(images) - 1)
    names, prompt = text_field("classes", ", ".join(classes)), text_field("prompt", template)
    interactive(
        [picture, names, prompt],
        lambda: class_figure(model, images[picture.value], names.value, prompt.value),
    )
