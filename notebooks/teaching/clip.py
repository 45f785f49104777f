"""Lesson 02, CLIP: exercises, quizzes, the failure lab, and players for the temperature and for zero-shot classes."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from teaching.exercises import Exercise, gradient_rule, normal, number, rule
from vlmcourse.plots import bars
from vlmcourse.widgets.explorers.clip import class_figure
from vlmcourse.widgets.interactive import interactive, log_slider, row, slider, text_field

unit = partial(normalize, dim=-1)


def same(x: Tensor) -> Tensor:
    return x


def loss(
    image: Tensor,
    text: Tensor,
    logit_scale: Tensor,
    rows: float = 0.5,
    columns: float = 0.5,
    scale=torch.exp,
    units=(unit, unit),
    logits_of=(same, same),
) -> Tensor:
    """CLIP's loss of image (B, D) and text (B, D) vectors: rows and columns weigh its two directions."""
    logits = scale(logit_scale) * units[0](image) @ units[1](text).T
    by_image = -logits_of[0](logits).log_softmax(1).diagonal().mean()
    by_text = -logits_of[1](logits).log_softmax(0).diagonal().mean()
    return rows * by_image + columns * by_text


def as_float(**changes):
    return lambda *args: loss(*args, **changes).item()


def loss_inputs(generator: torch.Generator) -> tuple[list, dict]:
    size, width = number(generator, 4, 8), number(generator, 5, 9)
    image, text = (normal(generator, size, width, scale=3) for _ in range(2))
    return [image, text, 1 + torch.rand((), generator=generator)], {}


def ensemble(embeddings: Tensor, before=unit, after=unit) -> Tensor:
    """(templates, classes, E) -> (classes, E): the mean of unit vectors, made a unit vector."""
    return after(before(embeddings).mean(0))


def ensemble_inputs(generator: torch.Generator) -> tuple[list, dict]:
    templates, classes = number(generator, 4, 6), number(generator, 2, 3)
    lengths = 5 * torch.rand(templates, classes, 1, generator=generator) + 0.1
    return [normal(generator, templates, classes, 8) * lengths], {}


softmax_rows, softmax_columns = partial(torch.softmax, dim=1), partial(torch.softmax, dim=0)
over_batch = partial(normalize, dim=0)
EXERCISES = {
    "loss": Exercise(
        "Both directions, unit vectors, the exponential of the logit scale, and a gradient for all three.",
        (
            rule(
                "my_loss",
                loss_inputs,
                as_float(),
                {
                    "that is only image to text: add the loss of the columns (the transpose) and halve.": as_float(
                        rows=1, columns=0
                    ),
                    "that is only text to image: add the loss of the rows and halve.": as_float(
                        rows=0, columns=1
                    ),
                    "that is the sum of both directions: the paper takes their mean.": as_float(
                        rows=1, columns=1
                    ),
                    "the logit scale is used as it is: multiply by its exponential.": as_float(
                        scale=same
                    ),
                    "the cosines are divided by the scale: it multiplies.": as_float(
                        scale=lambda s: 1 / s.exp()
                    ),
                    "there is no temperature: multiply the cosines by exp(logit_scale).": as_float(
                        scale=torch.ones_like
                    ),
                    "the vectors are not normalised: these are dot products, not cosines.": as_float(
                        units=(same, same)
                    ),
                    "only the images are normalised: the length of a text must not count either.": as_float(
                        units=(unit, same)
                    ),
                    "only the texts are normalised: the length of an image vector must not count either.": as_float(
                        units=(same, unit)
                    ),
                    "normalised over the batch (dim 0): each *vector* gets length 1, so dim=-1.": (
                        as_float(units=(over_batch, over_batch))
                    ),
                    "cross_entropy was given probabilities: it takes logits, and does the softmax itself.": (
                        as_float(logits_of=(softmax_rows, softmax_columns)),
                        as_float(logits_of=(softmax_rows, softmax_rows)),
                    ),
                    "the rows are summed: cross-entropy takes the mean over the batch.": lambda *args: (
                        len(args[0]) * loss(*args).item()
                    ),
                    "the sign is wrong: a loss is minus the log-probability.": lambda *args: (
                        -loss(*args).item()
                    ),
                },
            ),
            gradient_rule(
                "my_loss",
                loss_inputs,
                loss,
                3,
                "the number is right, but it has no gradient, so nothing can learn from it: keep tensors, "
                "without .item(), torch.tensor(...) or detach().",
            ),
        ),
    ),
    "ensemble": Exercise(
        "Normalise, average, normalise again: each template has one vote, and cosines stay cosines.",
        (
            rule(
                "my_ensemble",
                ensemble_inputs,
                ensemble,
                {
                    "the mean is not normalised: its length would depend on how much the templates agree.": partial(
                        ensemble, after=same
                    ),
                    "normalise each embedding before the mean, or long vectors outvote short ones.": partial(
                        ensemble, before=same
                    ),
                    "nothing is normalised.": partial(ensemble, before=same, after=same),
                    "that is one template, not the mean over all.": lambda e: unit(e)[0],
                    "that is the sum over templates: take the mean, and normalise it.": lambda e: (
                        unit(e).sum(0)
                    ),
                    "averaged over classes: one vector for each class is wanted, averaged over templates (axis 0).": (
                        lambda e: unit(unit(e).mean(1)),
                        lambda e: unit(e).mean(1),
                    ),
                },
            ),
        ),
    ),
}


def at_scale(cosines: Tensor, scale: float, names: list[str]):
    """Softmax of scale * cosines (texts,) of one picture, as bars; names label the texts, the right one first."""
    probabilities = (scale * cosines).softmax(-1)
    value = cross_entropy((scale * cosines)[None], torch.tensor([0])).item()
    labels = ["\n".join(textwrap.wrap(name, 32)) for name in names]
    figure = bars(
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


def temperature_player(cosines: Tensor, names: list[str], learned: float) -> None:
    """Displays a slider for the scale, which starts at the learned one. cosines (texts,), the right text first."""
    import ipywidgets

    scale, reset = (
        log_slider("scale", learned),
        ipywidgets.Button(description=f"learned: {learned:.1f}"),
    )
    start = min(100.0, max(1.0, math.floor(learned * 100) / 100))
    reset.on_click(lambda _: setattr(scale, "value", start))
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
