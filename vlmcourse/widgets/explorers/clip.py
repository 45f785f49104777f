"""The CLIP playground: your classes and prompts, the temperature, neighbours both ways, and the gap between the modalities."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vlmcourse import world
from vlmcourse.evaluation import retrieval_recall
from vlmcourse.plots import bars, embeddings, picture_and_bars, pictures
from vlmcourse.plots.style import subtitle, set_margins
from vlmcourse.widgets.interactive import only, play, row
from vlmcourse.widgets.zero_shot_player import classify
from vlmcourse.world import tokenizer

VIEWS = ("classes", "nearest pictures", "nearest captions", "modality gap")


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
    made = pairs.batch(chosen)
    return Gallery(
        pairs.images(chosen),
        made["text"],
        model.encode_image(made["pixel_values"]),
        model.encode_text(made["ids"]),
    )


def moved(shown: Gallery, share: float) -> Tensor:
    """The texts' vectors (N, E) after `share` of the gap between the centres is taken away, and made unit vectors again."""
    return normalize(shown.text + share * (shown.image.mean(0) - shown.text.mean(0)), dim=-1)


def gap(shown: Gallery, share: float):
    """Images and texts in the plane of their main axes, the texts moved over a share of the gap; does retrieval change?"""
    text = moved(shown, share)
    found = retrieval_recall(shown.image, text)
    made = set_margins(embeddings(shown.image, text))
    told = (
        f"gap closed {share:.0%}: image to text R@1 {found['image to text R@1']:.2f}, text to image "
        f"{found['text to image R@1']:.2f}, of {len(text)}"
    )
    subtitle(made.axes[0], told)
    made.description = f"{told}. {made.description}"
    return made


@torch.no_grad()
def nearest_captions(shown: Gallery, number: int, most: int = 6):
    """The captions that fit a picture best, by cosine; its own is marked."""
    cosines = shown.text @ shown.image[number]
    values, order = cosines.topk(min(most, len(cosines)))
    made = bars(
        {
            "\n".join(
                textwrap.wrap(("its own: " if index == number else "") + shown.texts[index], 40)
            ): {"cosine": value}
            for index, value in zip(order.tolist(), values.tolist())
        },
        "cosine",
        sideways=True,
    )
    rank = int((cosines > cosines[number]).sum()) + 1
    subtitle(
        set_margins(made, left=3.4).axes[0], f"its own caption is number {rank} of {len(cosines)}"
    )
    made.description = (
        f"Picture {number}; its own caption is number {rank} of {len(cosines)}. {made.description}"
    )
    return made


@torch.no_grad()
def nearest_pictures(model, shown: Gallery, query: str, most: int = 6):
    """The pictures that fit a text best. Raises ValueError for words that nobody knows."""
    cosines = (model.encode_text(tokenizer.encode([query], model.config.context)) @ shown.image.T)[
        0
    ]
    values, order = cosines.topk(min(most, len(cosines)))
    captions = [
        f"{value:.2f}: {shown.texts[index]}"
        for index, value in zip(order.tolist(), values.tolist())
    ]
    made = pictures(shown.images[order.numpy()], captions)
    made.description = f"Pictures nearest to '{query}' by cosine, best first, with their own captions: {'; '.join(captions)}."
    return made


def played(
    model,
    shown: Gallery,
    view: str,
    number: int,
    classes: str,
    template: str,
    scale: float,
    query: str,
    share: float,
):
    """The picture of a state; view: one of VIEWS."""
    if view == "modality gap":
        return gap(shown, share)
    if view == "nearest captions":
        return nearest_captions(shown, number)
    if view == "nearest pictures":
        return nearest_pictures(model, shown, query)
    names = [name.strip().lower() for name in classes.split(",") if name.strip()]
    found = classify(model, shown.images[number], names, template, scale=scale)
    made = picture_and_bars(
        shown.images[number],
        found,
        "probability of the class",
        1 / len(found),
        f"scale {scale:.1f}, temperature {1 / scale:.3f}",
    )
    made.description = (
        f"'{shown.texts[number]}', scale {scale:.1f}, prompt '{template}'. {made.description}"
    )
    return made


def clip_playground(
    model,
    shown: Gallery,
    classes: str = "cat, dog, car, apple",
    template: str = "a picture of {}",
    query: str = "a cat above a car",
) -> None:
    """Displays the playground. shown: of `gallery`."""
    import ipywidgets

    wide = {"width": "min(34em, 100%)"}
    learned = min(100.0, model.logit_scale.exp().item())
    view = ipywidgets.ToggleButtons(
        options=VIEWS, description="show", style={"button_width": "11em"}
    )
    number = ipywidgets.IntSlider(
        value=0, min=0, max=len(shown.images) - 1, description="picture", continuous_update=False
    )
    names = ipywidgets.Text(
        value=classes, description="classes", continuous_update=False, layout=wide
    )
    prompt = ipywidgets.Text(
        value=template, description="prompt", continuous_update=False, layout=wide
    )
    scale = ipywidgets.FloatLogSlider(
        value=learned,
        base=10,
        min=0,
        max=2,
        step=0.05,
        description="scale",
        continuous_update=False,
        readout_format=".1f",
    )
    text = ipywidgets.Text(value=query, description="query", continuous_update=False, layout=wide)
    share = ipywidgets.FloatSlider(
        value=0, min=0, max=1, step=0.1, description="close gap", continuous_update=False
    )
    wanted = dict(zip(VIEWS, ([number, scale, names, prompt], [text], [number], [share])))
    play(
        [view, row(number, scale, share), names, prompt, text],
        lambda: played(
            model,
            shown,
            view.value,
            number.value,
            names.value,
            prompt.value,
            scale.value,
            text.value,
            share.value,
        ),
        lambda: only([number, scale, share, names, prompt, text], wanted[view.value]),
    )
