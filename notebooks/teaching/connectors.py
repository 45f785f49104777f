"""Lesson 13: the ways from pictures to words side by side, on the same pictures and captions, with the same language model,
steps, batches and seeds.

    linear     CLIP's class token, frozen; one linear map writes two words of it. The smallest bridge there is (LiMBeR)
    mapped     the same with one hidden layer in the map (ClipCap's MLP; by default ClipCap tunes its language model, too)
    frozen     the same two words, by an image tower that learns them from scratch
    blip       no bridge: a decoder of its own learns to write, from scratch, on CLIP's tower, which learns on. It reads one
               picture, and no language model knows anything for it
    blip2      a Q-Former's queries stand in the text as words; half of the steps are stage 1
    flamingo   words look aside, through gates, between the language model's layers. Trained on single pictures here, like all of
               them; lesson 11's own, trained on pages, is `pages()`

Each has the learning rate of its lesson, the maps their own. How they are asked: evaluation/interface.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vlmcourse import recipes, world
from vlmcourse.evaluation.interface import PromptedModel, SinglePictureModel
from vlmcourse.papers.blip2 import Stage1
from vlmcourse.papers.frozen import Frozen
from vlmcourse.parts.language import freeze
from vlmcourse.recipes.blip import BLIP_OPTIMISATION, blip_config, new_blip
from vlmcourse.recipes.blip2 import (
    STAGE1_OPTIMISATION,
    STAGE2_OPTIMISATION,
    image_prefix,
    new_blip2,
    new_qformer,
    qformer_config,
)
from vlmcourse.recipes.features import CachedFeatures
from vlmcourse.recipes.flamingo import (
    FLAMINGO_OPTIMISATION,
    RESIDUAL_SCALE,
    FrozenTower,
    flamingo_config,
    new_flamingo,
    residual_rms,
)
from vlmcourse.recipes.frozen import (
    FROZEN_OPTIMISATION,
    IMAGE_PREFIX,
    frozen_config,
    mean_noun_and_background,
    new_frozen,
)
from vlmcourse.recipes.recipe import describe
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import TrainedStage, seeded, train_or_load
from vlmcourse.world import tokenizer
from vlmcourse.world.co_occurrence import BiasedPairs
from vlmcourse.world.interleaved import END_OF_CHUNK, IMAGE_TEXT
from vlmcourse.world.prompts import CaptionDataset

MLP_OPTIMISATION = Optimisation(5e-3, weight_decay=0.05, betas=(0.9, 0.95))
"""Of the MLP behind CLIP: it has little to lose."""
LINEAR_OPTIMISATION = Optimisation(3e-2, weight_decay=0.05, betas=(0.9, 0.95))
"""Of the linear map, which has less. Rates between 0.02 and 0.08 end alike, 0.005 names half as many nouns."""


@dataclass(frozen=True)
class Budget:
    """The same for all: different pictures, how many in a step, steps."""

    pictures: int
    batch: int
    steps: int


BUDGETS = {
    "smoke": Budget(64, 16, 12),
    "laptop": Budget(8192, 64, 1200),
    "gpu": Budget(500_000, 512, 10_000),
}


# The data: one picture and its caption, in each model's form.


@dataclass(frozen=True)
class ContrastiveDataset:
    """Pixels and captions, with equal captions marked: what BLIP learns from."""

    pictures: BiasedPairs

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        said = [self.pictures.text(index) for index in indices]
        return {
            "pixel_values": world.to_pixels(self.pictures.images(indices)),
            "ids": tokenizer.encode(said),
            "positive_groups": torch.tensor([said.index(text) for text in said]),
        }


@dataclass(frozen=True)
class GatedBridgeDataset:
    """Captions after an image tag, and what the frozen tower sees, each picture a film of one frame: for Flamingo."""

    looked: CachedFeatures

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        made = self.looked.batch(indices)
        return made | {"features": made["features"][:, None]}


# The bridges.


@dataclass(frozen=True)
class FrozenParts:
    """What stands on both sides of every bridge, and the data: made once, shared by all.

    steps  default: the budget's
    """

    scale: Scale
    seed: int
    vision: nn.Module = field(repr=False)  # CLIP's image tower, frozen, whole
    tower: FrozenTower = field(
        repr=False
    )  # the same without its last block, normalised: for those who look at patches
    lm: nn.Module = field(repr=False)  # the tiny language model, frozen
    steps: int
    budget: Budget

    @property
    def pictures(self) -> BiasedPairs:
        return BiasedPairs(self.scale.image_size, self.seed)

    def looked(self, image_prefix: str | None) -> CachedFeatures:
        return CachedFeatures(self.pictures, self.tower.vit, self.budget.pictures, image_prefix)

    def train(
        self,
        name: str,
        model: nn.Module,
        data,
        optimisation: Optimisation,
        steps: int | None = None,
        on_step: Callable[[Step], None] | None = None,
        **fingerprint,
    ) -> TrainedStage:
        """train_or_load: everyone sees the same pictures in the same order."""
        batches = Batches(data.batch, self.budget.batch, self.budget.pictures, self.seed)
        fingerprint |= {
            "start": describe(model),
            "data": describe(self.pictures),
            "budget": describe(self.budget),
        }
        return train_or_load(
            name,
            model,
            batches,
            steps or self.steps,
            optimisation,
            fingerprint=fingerprint,
            seed=self.seed,
            on_step=on_step,
        )


def frozen_parts(
    scale: Scale | str | None = None,
    seed: int = 0,
    *,
    vision: nn.Module | None = None,
    lm: nn.Module | None = None,
    steps: int | None = None,
) -> FrozenParts:
    """vision, lm: default: the course's CLIP and tiny language model, trained or loaded."""
    size = Scale.of(scale)
    vision = recipes.get("clip").train_or_load(size).model.vision if vision is None else vision
    lm = recipes.get("language").train_or_load(size).model.lm if lm is None else lm
    budget = BUDGETS[size.name]
    return FrozenParts(
        size,
        seed,
        freeze(deepcopy(vision)),
        freeze(FrozenTower(vision)),
        freeze(deepcopy(lm)),
        steps or budget.steps,
        budget,
    )


def new_prefix(parts: FrozenParts, hidden: int = 0) -> Frozen:
    """Frozen with a tower that has learnt and stays: only `language_projection` learns. hidden: width of a hidden layer in it, if any."""
    config = frozen_config(parts.scale, vision_depth=1)
    model = new_frozen(config, parts.lm, parts.seed, mean_noun_and_background(parts.lm))
    model.vision = parts.vision
    if hidden:
        with seeded(parts.seed):
            model.language_projection = nn.Sequential(
                nn.Linear(parts.vision.width, hidden),
                nn.GELU(),
                nn.Linear(hidden, model.language_projection.out_features),
            )
    return model


def linear(parts: FrozenParts, on_step: Callable[[Step], None] | None = None) -> PromptedModel:
    trained = parts.train(
        "bridge-linear",
        new_prefix(parts),
        CaptionDataset(parts.pictures, IMAGE_PREFIX),
        LINEAR_OPTIMISATION,
        on_step=on_step,
    )
    return PromptedModel(
        "CLIP + linear map",
        trained.model,
        parts.scale.image_size,
        IMAGE_PREFIX,
        steps=trained.history,
    )


def mlp(parts: FrozenParts, on_step: Callable[[Step], None] | None = None) -> PromptedModel:
    model = new_prefix(parts, 4 * parts.vision.width)
    trained = parts.train(
        "bridge-mapped",
        model,
        CaptionDataset(parts.pictures, IMAGE_PREFIX),
        MLP_OPTIMISATION,
        on_step=on_step,
    )
    return PromptedModel(
        "CLIP + MLP", trained.model, parts.scale.image_size, IMAGE_PREFIX, steps=trained.history
    )


def frozen(parts: FrozenParts, on_step: Callable[[Step], None] | None = None) -> PromptedModel:
    model = new_frozen(
        frozen_config(parts.scale), parts.lm, parts.seed, mean_noun_and_background(parts.lm)
    )
    trained = parts.train(
        "bridge-frozen",
        model,
        CaptionDataset(parts.pictures, IMAGE_PREFIX),
        FROZEN_OPTIMISATION,
        on_step=on_step,
    )
    return PromptedModel(
        "Frozen", trained.model, parts.scale.image_size, IMAGE_PREFIX, steps=trained.history
    )


def blip(parts: FrozenParts, on_step: Callable[[Step], None] | None = None) -> SinglePictureModel:
    model = new_blip(blip_config(parts.scale), deepcopy(parts.vision), parts.seed)
    model.vision = _unfreeze(model.vision)
    trained = parts.train(
        "bridge-blip", model, ContrastiveDataset(parts.pictures), BLIP_OPTIMISATION, on_step=on_step
    )
    return SinglePictureModel(
        "BLIP", trained.model, parts.scale.image_size, "<image>", steps=trained.history
    )


def _unfreeze(module: nn.Module) -> nn.Module:
    """Undoes `freeze` on a copy."""
    for part in module.modules():
        part.__dict__.pop("train", None)
    return module.requires_grad_(True).train()


def blip2(parts: FrozenParts, on_step: Callable[[Step], None] | None = None) -> PromptedModel:
    """Half of the steps are stage 1, on the same pictures; both stages count."""
    on_step = on_step or (lambda step: None)
    with seeded(parts.seed):
        start = Stage1(
            new_qformer(qformer_config(parts.scale), parts.seed),
            parts.tower.vit,
            parts.scale.width // 2,
        )
    half = parts.steps // 2
    first = parts.train("bridge-blip2-stage1", start, parts.looked(None), STAGE1_OPTIMISATION, half)
    former = first.model.qformer
    model = new_blip2(former, parts.tower.vit, parts.lm, parts.seed)
    looks = image_prefix(former.config.queries)
    trained = parts.train(
        "bridge-blip2", model, parts.looked(looks), STAGE2_OPTIMISATION, parts.steps - half, on_step
    )
    return PromptedModel(
        "BLIP-2",
        trained.model,
        parts.scale.image_size,
        looks,
        steps=[*first.history, *trained.history],
    )


def new_gated(parts: FrozenParts):
    """An untrained Flamingo between the parts."""
    residual_scale = tuple(RESIDUAL_SCALE * one for one in residual_rms(parts.lm))
    return new_flamingo(
        flamingo_config(parts.scale, residual_scale=residual_scale),
        parts.tower,
        deepcopy(parts.lm),
        parts.seed,
    )


def gated(parts: FrozenParts, on_step: Callable[[Step], None] | None = None) -> PromptedModel:
    """Flamingo on single pictures."""
    trained = parts.train(
        "bridge-flamingo",
        new_gated(parts),
        GatedBridgeDataset(parts.looked("<image>")),
        FLAMINGO_OPTIMISATION,
        on_step=on_step,
    )
    return PromptedModel(
        "Flamingo", trained.model, parts.scale.image_size, "<image>", steps=trained.history
    )


def pages(scale: Scale | str | None = None) -> PromptedModel:
    """Lesson 11's Flamingo: other data (pages of several pictures, films, descriptions), more steps. No part of the comparison,
    but what the same model becomes with them."""
    size = Scale.of(scale)
    trained = recipes.get("flamingo").train_or_load(size)
    return PromptedModel(
        "Flamingo, on pages",
        trained.model.model,
        size.image_size,
        IMAGE_TEXT,
        END_OF_CHUNK,
        trained.history,
    )


ALL: dict[str, Callable[..., PromptedModel]] = {
    "linear": linear,
    "mapped": mlp,
    "frozen": frozen,
    "blip": blip,
    "blip2": blip2,
    "flamingo": gated,
}
