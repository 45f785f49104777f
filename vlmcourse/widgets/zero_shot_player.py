"""The zero-shot player of lesson 02: type your own classes and prompt, and see what a CLIP makes of a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from vlmcourse.evaluation import class_embeddings
from vlmcourse.plots import picture_and_bars
from vlmcourse.world import article, to_pixels, tokenizer

Encode = Callable[[list[str]], Tensor]


def classify(
    model,
    image: np.ndarray,
    classes: Sequence[str],
    template: str,
    encode: Encode = tokenizer.encode,
    scale: float | None = None,
) -> dict[str, float]:
    """{class: probability} of a picture (S, S, 3) uint8; scale: another than the learned one, 1 / temperature.

    Raises ValueError for unknown words or a template without {}.
    """
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise ValueError(
            f"classes {', '.join(classes) or '(none)'}: expected at least two different ones, with commas between."
        )
    texts = class_embeddings(model, [article(word) for word in classes], (template,), encode)
    with torch.no_grad():
        cosines = model.encode_image(to_pixels(image[None])) @ texts.T
        found = ((scale or model.logit_scale.exp()) * cosines).softmax(-1)[0]
    return dict(zip(classes, found.tolist()))


def zero_shot_player(
    model, images: np.ndarray, classes: Sequence[str], template: str = "a picture of {}"
) -> None:
    """Displays pictures (N, S, S, 3) uint8 to choose from, with fields for classes and template."""
    import ipywidgets

    from vlmcourse.widgets.interactive import play

    number = ipywidgets.IntSlider(
        value=0, min=0, max=len(images) - 1, description="picture", continuous_update=False
    )
    names = ipywidgets.Text(
        value=", ".join(classes),
        description="classes",
        continuous_update=False,
        layout={"width": "42em"},
    )
    prompt = ipywidgets.Text(
        value=template, description="prompt", continuous_update=False, layout={"width": "42em"}
    )

    def drawn():
        wanted = [name.strip().lower() for name in names.value.split(",") if name.strip()]
        found = classify(model, images[number.value], wanted, prompt.value)
        return picture_and_bars(
            images[number.value], found, "probability of the class", chance=1 / len(found)
        )

    play([number, names, prompt], drawn)
