"""Lesson 15: its failure lab. CLIPs that loaded without an error, all but one with a fault, each by an id."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor

from vlmcourse import evaluation, plots, recipes, world
from vlmcourse.papers.clip import CLIP
from vlmcourse.parts.layers import QuickGELU
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer

Prepare = Callable[[Tensor], Tensor]
MEASURES = ("pictures", "texts without padding", "texts with padding")
"""Largest difference from the healthy run's unit vectors: of pictures, of texts without padding, of texts with padding."""


def other_activation(model: CLIP) -> tuple[CLIP, Prepare]:
    """QuickGELU in place of GELU."""
    for tower in (model.vision, model.text):
        for block in tower.transformer.blocks:
            block.feedforward[1] = QuickGELU()
    return model, lambda pixels: pixels


def last_position(model: CLIP) -> tuple[CLIP, Prepare]:
    """A text is read at its last position, whatever stands there."""
    model.text.end_positions = lambda ids: torch.full((len(ids),), ids.shape[1] - 1)
    return model, lambda pixels: pixels


def other_pixels(model: CLIP) -> tuple[CLIP, Prepare]:
    """Pixels normalised with OpenAI's mean and deviation."""
    mean = torch.tensor([0.4815, 0.4578, 0.4082])[:, None, None]
    std = torch.tensor([0.2686, 0.2613, 0.2758])[:, None, None]
    return model, lambda pixels: ((pixels + 1) / 2 - mean) / std


RUNS: dict[str, Callable[[CLIP], tuple[CLIP, Prepare]]] = {
    "healthy": lambda model: (model, lambda pixels: pixels),
    "A": last_position,
    "B": other_pixels,
    "C": other_activation,
}


def texts_of(names: list[str]) -> tuple[Tensor, Tensor]:
    """Ids of "a cat", "a dog on ..." texts, and which of them are padded."""
    texts = [
        world.article(name) + (" on a blue background" if number % 2 else "")
        for number, name in enumerate(names)
    ]
    ids = tokenizer.encode(texts)
    return ids, (ids == tokenizer.PAD).any(1)


@torch.no_grad()
def runs(scale: Scale) -> dict[str, dict[str, float]]:
    """Each run's differences from the healthy one (MEASURES), and its zero-shot accuracy on drawings."""
    clip = recipes.get("clip").train_or_load(scale).model
    _, pixels, labels = recipes.clip.single_things(scale.image_size, 256)
    ids, padded = texts_of(world.known_nouns())
    wanted = clip.encode_image(pixels), clip.encode_text(ids)
    found = {}
    for id, fault in RUNS.items():
        model, prepare = fault(deepcopy(clip))
        images, texts = model.encode_image(prepare(pixels)), model.encode_text(ids)
        away = (texts - wanted[1]).abs()
        values = (images - wanted[0]).abs().max(), away[~padded].max(), away[padded].max()
        right = evaluation.accuracy(
            evaluation.zero_shot(images, recipes.clip.noun_classes(model)), labels
        )
        found[id] = {name: value.item() for name, value in zip(MEASURES, values)}
        found[id] |= {"zero-shot": right}
    return found


def differences(found: dict[str, dict[str, float]]):
    """Bars of MEASURES."""
    drawn = plots.bars(
        {id: {name: values[name] for name in MEASURES} for id, values in found.items()},
        "largest difference of a coordinate",
        form=".2g",
    )
    for number in drawn.axes[0].texts:
        number.set_fontsize(6.5)
    return drawn


def accuracies(found: dict[str, dict[str, float]]):
    """Bars of zero-shot accuracy."""
    groups = {id: {"": values["zero-shot"]} for id, values in found.items()}
    groups["guessing"] = {"": 1 / len(world.known_nouns())}
    return plots.bars(groups, "share of right nouns", form=".3f")
