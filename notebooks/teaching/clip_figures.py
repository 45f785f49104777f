"""Lesson 02: its diagrams, figures and players."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from teaching.clip_training import BrokenRun
from vlmcourse import evaluation, plots, recipes, world
from vlmcourse.parts.losses import clip_loss
from vlmcourse.plots.diagrams import Diagram
from vlmcourse.widgets.explorers.clip import class_figure
from vlmcourse.widgets.interactive import interactive, log_slider, row, slider, text_field


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
    diagram.box("ids", "texts", f"({batch}, T)", column=0, row=2, kind="data")
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
    diagram.box("logits", "cosines x exp(s)", f"({batch}, {batch})", column=3, row=1)
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
        "+ positions: keys, values",
        column=4,
        row=0,
        kind="trained",
    )
    diagram.box("vector", "image vector", f"({width},)", column=5, row=0, kind="data")
    diagram.arrow("pixels", "stem")
    diagram.arrow("stem", "stages")
    diagram.arrow("stages", "pool", "tokens")
    diagram.arrow("stages", "mean")
    diagram.arrow("mean", "pool", "query, key, value")
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
    return plots.curves(series, "query, most popular first", "pairs")


def patches_figure(patches: Tensor, p: int):
    """The patches (P, 3 * p * p) of one image, in their order, each as a small picture, in rows as long as the image's."""
    images = world.to_images(patches.reshape(-1, 3, p, p))
    return plots.pictures(
        images,
        [str(number) for number in range(1, 1 + len(images))],
        columns=math.isqrt(len(images)),
    )


def temperature_figure(images: Tensor, texts: Tensor, learned: float):
    """The loss of held-out pairs (N, E), (N, E), and of the same texts in a wrong order, over the scale."""
    scales = (1, 2, 5, 10, 14.3, 20, 30, 50, 70, 100)
    series = {
        name: {scale: clip_loss(images, given, float(scale)).item() for scale in scales}
        for name, given in (("right pairs", texts), ("wrong pairs", texts.roll(1, 0)))
    }
    drawn = plots.curves(
        series,
        "scale exp(s) = 1 / temperature",
        "loss (nats)",
        chance=math.log(len(images)),
        xlog=True,
        ylog=True,
    )
    axes = drawn.axes[0]
    axes.axvline(learned, color="black", linestyle=":", label=f"learned scale {learned:.1f}")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    drawn.set_size_inches(8.2, 3.6)
    drawn.description += f" Vertical line at the learned scale, {learned:.1f}."
    return drawn


def controls_figure(report: Mapping[str, float]):
    """Retrieval and zero-shot accuracy beside their controls."""
    groups = {"image to text R@1": "retrieval, R@1", "zero-shot nouns": "zero-shot accuracy"}
    controls = {
        "CLIP": "",
        "blank images": ", blind",
        "shuffled images": ", shuffled",
        "chance": ", chance",
    }
    groups = {
        label: {name: report[f"{key}{suffix}"] for name, suffix in controls.items()}
        for key, label in groups.items()
    }
    return plots.probability_bars(groups, "share right")


def failure_figure(runs: Mapping[str, BrokenRun], chance: float):
    """Loss curves of the failure lab above the runs' R@1 on held-out pairs."""
    curves = {f"run {letter}": run.history for letter, run in runs.items()}
    bars = {f"run {letter}": {"R@1": run.recall} for letter, run in runs.items()}
    return plots.stack_figures(
        plots.loss(curves, chance=math.log(32), chance_name="ln 32"),
        plots.probability_bars(bars, "image-to-text R@1", chance),
    )


def at_scale(cosines: Tensor, scale: float, names: list[str]):
    """Softmax of scale * cosines (texts,) of one picture, as bars; names label the texts, the right one first."""
    probabilities = (scale * cosines).softmax(-1)
    value = cross_entropy((scale * cosines)[None], torch.tensor([0])).item()
    labels = ["\n".join(textwrap.wrap(name, 32)) for name in names]
    figure = plots.bars(
        {label: {"probability": float(p)} for label, p in zip(labels, probabilities)},
        "probability",
        chance=1 / len(names),
        sideways=True,
    )
    title = f"scale {scale:.1f}, temperature {1 / scale:.3f}, loss {value:.3f}"
    figure.axes[0].set_title(title, loc="left", fontsize=10)
    figure.axes[0].set_xlim(0, 1)
    figure.description = f"Scale {scale:.1f}, loss {value:.3f}. {figure.description}"
    return figure


def temperature_player(
    cosines: Tensor, names: list[str], learned: float, start: float | None = None
) -> None:
    """Displays a slider for the scale, and a button for the learned one. cosines (texts,), the right text first.

    start  where the slider stands at first; default: at the learned scale
    """
    import ipywidgets

    scale = log_slider("scale", learned if start is None else start)
    reset = ipywidgets.Button(description=f"learned: {learned:.1f}")
    rounded = min(100.0, max(1.0, math.floor(learned * 100) / 100))
    reset.on_click(lambda _: setattr(scale, "value", rounded))
    interactive([row(scale, reset)], lambda: at_scale(cosines, scale.value, names))


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
