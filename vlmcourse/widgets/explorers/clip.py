"""The CLIP playground: your classes and prompts, the temperature, neighbours both ways, and the gap between the modalities."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vlmcourse import world
from vlmcourse.evaluation import class_embeddings, retrieval_recall
from vlmcourse.plots import bars, embeddings, picture_and_bars, pictures
from vlmcourse.plots.style import set_margins, subtitle
from vlmcourse.widgets.interactive import (
    buttons,
    interactive,
    log_slider,
    row,
    show_only,
    slider,
    text_field,
)
from vlmcourse.world import tokenizer

VIEWS = ("classes", "nearest pictures", "nearest captions", "modality gap")
MAX_SHOWN = 6
"""Neighbours that are shown."""


def classify(
    model,
    image: np.ndarray,
    classes: str,
    template: str,
    encode: Callable[[list[str]], Tensor] = tokenizer.encode,
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
    texts = class_embeddings(model, [world.article(name) for name in names], (template,), encode)
    with torch.no_grad():
        cosines = model.encode_image(world.to_pixels(image[None])) @ texts.T
        probabilities = ((scale or model.logit_scale.exp()) * cosines).softmax(-1)[0]
    return dict(zip(names, probabilities.tolist()))


def class_figure(
    model, image: np.ndarray, classes: str, template: str, scale: float | None = None, title=""
):
    """The picture beside the probability of each class."""
    probabilities = classify(model, image, classes, template, scale=scale)
    return picture_and_bars(
        image, probabilities, "probability of the class", 1 / len(probabilities), title
    )


@dataclass(frozen=True)
class Gallery:
    """Pictures (N, S, S, 3) uint8 with their captions, and what a CLIP makes of both: unit vectors (N, E)."""

    images: np.ndarray
    texts: list[str]
    image: Tensor
    text: Tensor


@torch.no_grad()
def gallery(model, pairs: world.Pairs, count: int = 48) -> Gallery:
    """The first `count` pairs with different captions."""
    chosen = pairs.distinct(count)
    batch = pairs.batch(chosen)
    return Gallery(
        pairs.images(chosen),
        batch["text"],
        model.encode_image(batch["pixel_values"]),
        model.encode_text(batch["ids"]),
    )


def close_gap(shown: Gallery, share: float) -> Tensor:
    """The texts' vectors (N, E) after `share` of the gap between the centres is taken away, and made unit vectors again."""
    return normalize(shown.text + share * (shown.image.mean(0) - shown.text.mean(0)), dim=-1)


def gap_figure(shown: Gallery, share: float):
    """Images and texts in the plane of their main axes, the texts moved over a share of the gap; does retrieval change?"""
    text = close_gap(shown, share)
    recall = retrieval_recall(shown.image, text)
    figure = set_margins(embeddings(shown.image, text))
    title = (
        f"gap closed {share:.0%}: image to text R@1 {recall['image to text R@1']:.2f}, text to image "
        f"{recall['text to image R@1']:.2f}, of {len(text)}"
    )
    subtitle(figure.axes[0], title)
    figure.description = f"{title}. {figure.description}"
    return figure


@torch.no_grad()
def nearest_captions(shown: Gallery, number: int):
    """The captions that fit a picture best, by cosine; its own is marked."""
    cosines = shown.text @ shown.image[number]
    values, order = cosines.topk(min(MAX_SHOWN, len(cosines)))
    labels = [
        ("its own: " if index == number else "") + shown.texts[index] for index in order.tolist()
    ]
    figure = bars(
        {
            "\n".join(textwrap.wrap(label, 40)): {"cosine": value}
            for label, value in zip(labels, values.tolist())
        },
        "cosine",
        sideways=True,
    )
    rank = int((cosines > cosines[number]).sum()) + 1
    title = f"its own caption is number {rank} of {len(cosines)}"
    subtitle(set_margins(figure, left=3.4).axes[0], title)
    figure.description = f"Picture {number}; {title}. {figure.description}"
    return figure


@torch.no_grad()
def nearest_pictures(model, shown: Gallery, query: str):
    """The pictures that fit a text best. Raises ValueError for unknown words."""
    text = model.encode_text(tokenizer.encode([query], model.config.context))
    values, order = (text @ shown.image.T)[0].topk(min(MAX_SHOWN, len(shown.image)))
    captions = [
        f"{value:.2f}: {shown.texts[index]}"
        for index, value in zip(order.tolist(), values.tolist())
    ]
    figure = pictures(shown.images[order.numpy()], captions)
    figure.description = f"Pictures nearest to '{query}' by cosine, best first, with their own captions: {'; '.join(captions)}."
    return figure


def clip_playground(
    model,
    shown: Gallery,
    classes: str = "cat, dog, car, apple",
    template: str = "a picture of {}",
    query: str = "a cat above a car",
) -> None:
    """Displays the playground. shown: of `gallery`."""
    view = buttons("show", VIEWS, width="11em")
    number = slider("picture", 0, 0, len(shown.images) - 1)
    names, prompt, text = (
        text_field(what, value)
        for what, value in (("classes", classes), ("prompt", template), ("query", query))
    )
    scale = log_slider("scale", min(100.0, model.logit_scale.exp().item()))
    share = slider("close gap", 0, 0, 1, 0.1)

    def draw_classes():
        title = f"scale {scale.value:.1f}, temperature {1 / scale.value:.3f}"
        figure = class_figure(
            model, shown.images[number.value], names.value, prompt.value, scale.value, title
        )
        figure.description = (
            f"'{shown.texts[number.value]}', scale {scale.value:.1f}, prompt '{prompt.value}'. "
            f"{figure.description}"
        )
        return figure

    views: dict[str, tuple[Sequence, Callable]] = {
        "classes": ([number, scale, names, prompt], draw_classes),
        "nearest pictures": ([text], lambda: nearest_pictures(model, shown, text.value)),
        "nearest captions": ([number], lambda: nearest_captions(shown, number.value)),
        "modality gap": ([share], lambda: gap_figure(shown, share.value)),
    }
    interactive(
        [view, row(number, scale, share), names, prompt, text],
        lambda: views[view.value][1](),
        lambda: show_only([number, scale, share, names, prompt, text], views[view.value][0]),
    )
