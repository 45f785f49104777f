"""Who is where? Match on the hardest negatives there are, with and without BLIP's contrast beside it (lesson 08).

BLIP's recipe leaves "a cat left of a dog" and "a dog left of a cat" at chance. Here is the same model in a smaller world, at a
third of the learning rate, and each text's wrong picture is its sibling's: it breaks through, without contrast, with contrast
on the same siblings, and with contrast on ordinary batches, in which no scene stands beside its sibling: the paper's division.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn

from vlmcourse import recipes, world
from vlmcourse.papers.blip import BLIP
from vlmcourse.parts.losses import itm_loss
from vlmcourse.recipes.blip import blip_config, new_blip, prefers_right_caption
from vlmcourse.recipes.recipe import describe
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import TrainedStage, train_or_load
from vlmcourse.world.minimal_pairs import MinimalPairs, caption_choices, swap_positions

EVERY = 10  # of the known nouns, every tenth, as in lesson 04
TWO = (2, 2)
MINIMAL_PAIRS_OPTIMISATION = Optimisation(5e-4, weight_decay=0.05, betas=(0.9, 0.98), warmup=0.1)
"""At twice this rate the plateau lasted longer, and left and right stayed at chance (seed 0, 2,400 steps without contrast)."""
STEPS = {"smoke": 20, "laptop": 2400, "gpu": 10_000}


Rows = Callable[[Mapping[str, Tensor], Tensor], tuple[dict[str, Tensor], Tensor]]
"""(batch of siblings, states) -> the rows of both that contrast sees."""


def siblings(batch: Mapping[str, Tensor], states: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """All rows: each scene beside its sibling."""
    return dict(batch), states


def ordinary(batch: Mapping[str, Tensor], states: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """One scene of each two: none stands beside its sibling, as in batches that are drawn at random."""
    return {name: values[::2] for name, values in batch.items()}, states[::2]


class MinimalPairsBLIP(nn.Module):
    """BLIP on siblings: each text's wrong picture is its sibling's, drawn without a draw. contrast: learnt too, on these rows."""

    def __init__(self, blip: BLIP, contrast: Rows | None = None):
        super().__init__()
        self.blip, self.contrast = deepcopy(blip), contrast

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A batch of Siblings, rows 2i and 2i + 1 belonging together -> {"itm", "lm"} and, if asked for, "itc"."""
        ids, blip = batch["ids"], self.blip
        states = blip.vision_context(batch["pixel_values"])["states"]
        read = blip.encoder.project_kv(states)
        sibling = torch.arange(len(ids), device=ids.device) ^ 1
        twice = [
            (torch.cat([k, k]), torch.cat([v, v])) for k, v in read
        ]  # each picture beside its own text and its sibling's
        belongs = blip.itm_logits(torch.cat([ids, ids[sibling]]), twice)
        losses = {
            "itm": itm_loss(belongs[: len(ids)], belongs[len(ids) :]),
            "lm": blip.lm_loss(ids, blip.loss_mask(batch), read),
        }
        if self.contrast is None:
            return losses
        return {**losses, "itc": blip.itc_loss(*self.contrast(batch, states))[0]}

    def after_step(self) -> None:
        self.blip.after_step()


def nouns() -> tuple[str, ...]:
    return world.known_nouns()[::EVERY]


def train_on_minimal_pairs(
    scale: Scale | str | None = None,
    seed: int = 0,
    contrast: Rows | None = None,
    steps: int | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> TrainedStage:
    """From CLIP's tower and an untrained text transformer, trained or loaded. Its model is MinimalPairsBLIP: `.model.blip` is the BLIP."""
    size = Scale.of(scale)
    vision, config = recipes.get("clip").train_or_load(size).model.vision, blip_config(size)
    pairs = MinimalPairs(
        "train",
        size.image_size,
        seed,
        TWO,
        world.captions.detailed,
        change=swap_positions,
        noun_subset=nouns(),
    )
    batch = recipes.get("blip").sizes[size.name].batch
    return train_or_load(
        "blip-minimal-pairs",
        MinimalPairsBLIP(new_blip(config, vision, seed), contrast),
        Batches(pairs.batch, batch),
        steps or STEPS[size.name],
        MINIMAL_PAIRS_OPTIMISATION,
        fingerprint=describe({"parts": [config, vision, contrast], "data": pairs, "batch": batch}),
        seed=seed,
        on_step=on_step,
    )


def close_report(model: MinimalPairsBLIP, count: int = 512) -> dict[str, float]:
    """Of two held-out captions of the same words, is the right one preferred? By match, and by contrast; chance 0.5. And match
    by what the captions say: one above the other, or beside it."""
    chosen = caption_choices(swap_positions, count=count, things=TWO, noun_subset=nouns())
    found = prefers_right_caption(model.blip, chosen)
    beside = torch.tensor([bool({"left", "right"} & set(right.split())) for _, right, _ in chosen])
    return {judge: right.float().mean().item() for judge, right in found.items()} | {
        "match, above or below": found["match"][~beside].float().mean().item(),
        "match, left or right": found["match"][beside].float().mean().item(),
    }
