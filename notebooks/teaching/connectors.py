"""Lesson 09: the ways from pictures to words side by side, on the same pictures and captions, with the same language model,
steps, batches and seeds.

    linear     CLIP's class token, frozen; one linear map writes two words of it. The smallest bridge there is (LiMBeR)
    mapped     the same with one hidden layer in the map (ClipCap's MLP; by default ClipCap tunes its language model, too)
    frozen     the same two words, by an image tower that learns them from scratch
    blip       no bridge: a decoder of its own learns to write, from scratch, on CLIP's tower, which learns on. It reads one
               picture, and no language model knows anything for it
    blip2      a Q-Former's queries stand in the text as words; half of the steps are stage 1
    flamingo   words look aside, through gates, between the language model's layers. Trained on single pictures here, like all of
               them; lesson 08's own, trained on pages, is `pages()`

Each has the learning rate of its lesson, the maps their own. Bridge, Alone, Matching: how they are asked (answering.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from teaching.interface import Alone, Bridge
from vlmcourse import world
from vlmcourse.papers.blip2 import Stage1
from vlmcourse.papers.frozen import Frozen
from vlmcourse.parts.language import freeze
from vlmcourse.recipes.blip import BLIP_OPTIMISATION, blip_config, new_blip
from vlmcourse.recipes.blip2 import (
    STAGE1_OPTIMISATION,
    STAGE2_OPTIMISATION,
    CachedFeatures,
    image_prefix,
    new_blip2,
    new_qformer,
    qformer_config,
)
from vlmcourse.recipes.clip import clip
from vlmcourse.recipes.flamingo import (
    FLAMINGO_OPTIMISATION,
    RESIDUAL_SCALE,
    FrozenTower,
    flamingo,
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
from vlmcourse.recipes.language import language
from vlmcourse.training import checkpoint
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import TrainedStage, seeded, train_or_load
from vlmcourse.world import tokenizer
from vlmcourse.world.co_occurrence import BiasedPairs
from vlmcourse.world.interleaved import END_OF_CHUNK, IMAGE_TEXT
from vlmcourse.world.prompts import training_batch

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
class CaptionDataset:
    """Captions after the place of their picture, and pixels: what a prefix learns from."""

    pictures: BiasedPairs
    place: str = IMAGE_PREFIX

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        said = [self.pictures.text(index) for index in indices]
        made = training_batch([(self.place,)] * len(said), said, self.pictures.size)
        return made | {"pixel_values": world.to_pixels(self.pictures.images(indices))}


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

    def looked(self, place: str | None) -> CachedFeatures:
        return CachedFeatures(self.pictures, self.tower.vit, self.budget.pictures, place)

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
            "start": checkpoint.checksum(model.state_dict()),
            "data": str(self.pictures),
            "budget": str(self.budget),
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
    vision = clip(size).model.vision if vision is None else vision
    lm = language(size).model.lm if lm is None else lm
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


def new_prefix(banks: FrozenParts, hidden: int = 0) -> Frozen:
    """Frozen with a tower that has learnt and stays: only `language_projection` learns. hidden: width of a hidden layer in it, if any."""
    config = frozen_config(banks.scale, vision_depth=1)
    model = new_frozen(config, banks.lm, banks.seed, mean_noun_and_background(banks.lm))
    model.vision = banks.vision
    if hidden:
        with seeded(banks.seed):
            model.language_projection = nn.Sequential(
                nn.Linear(banks.vision.width, hidden),
                nn.GELU(),
                nn.Linear(hidden, model.language_projection.out_features),
            )
    return model


def linear(banks: FrozenParts, on_step: Callable[[Step], None] | None = None) -> Bridge:
    trained = banks.train(
        "bridge-linear",
        new_prefix(banks),
        CaptionDataset(banks.pictures),
        LINEAR_OPTIMISATION,
        on_step=on_step,
    )
    return Bridge("CLIP + linear map", trained.model, banks.scale.image_size, steps=trained.history)


def mlp(banks: FrozenParts, on_step: Callable[[Step], None] | None = None) -> Bridge:
    model = new_prefix(banks, 4 * banks.vision.width)
    trained = banks.train(
        "bridge-mapped", model, CaptionDataset(banks.pictures), MLP_OPTIMISATION, on_step=on_step
    )
    return Bridge("CLIP + MLP", trained.model, banks.scale.image_size, steps=trained.history)


def frozen(banks: FrozenParts, on_step: Callable[[Step], None] | None = None) -> Bridge:
    model = new_frozen(
        frozen_config(banks.scale), banks.lm, banks.seed, mean_noun_and_background(banks.lm)
    )
    trained = banks.train(
        "bridge-frozen", model, CaptionDataset(banks.pictures), FROZEN_OPTIMISATION, on_step=on_step
    )
    return Bridge("Frozen", trained.model, banks.scale.image_size, steps=trained.history)


def blip(banks: FrozenParts, on_step: Callable[[Step], None] | None = None) -> Alone:
    model = new_blip(blip_config(banks.scale), deepcopy(banks.vision), banks.seed)
    model.vision = _unfreeze(model.vision)
    trained = banks.train(
        "bridge-blip", model, ContrastiveDataset(banks.pictures), BLIP_OPTIMISATION, on_step=on_step
    )
    return Alone("BLIP", trained.model, banks.scale.image_size, "<image>", steps=trained.history)


def _unfreeze(module: nn.Module) -> nn.Module:
    """Undoes `freeze` on a copy."""
    for part in module.modules():
        part.__dict__.pop("train", None)
    return module.requires_grad_(True).train()


def blip2(banks: FrozenParts, on_step: Callable[[Step], None] | None = None) -> Bridge:
    """Half of the steps are stage 1, on the same pictures; both stages count."""
    on_step = on_step or (lambda step: None)
    with seeded(banks.seed):
        start = Stage1(
            new_qformer(qformer_config(banks.scale), banks.seed),
            banks.tower.vit,
            banks.scale.width // 2,
        )
    half = banks.steps // 2
    first = banks.train("bridge-blip2-stage1", start, banks.looked(None), STAGE1_OPTIMISATION, half)
    former = first.model.qformer
    model = new_blip2(former, banks.tower.vit, banks.lm, banks.seed)
    looks = image_prefix(former.config.queries)
    trained = banks.train(
        "bridge-blip2", model, banks.looked(looks), STAGE2_OPTIMISATION, banks.steps - half, on_step
    )
    return Bridge(
        "BLIP-2",
        trained.model,
        banks.scale.image_size,
        looks,
        steps=[*first.history, *trained.history],
    )


def new_gated(banks: FrozenParts):
    """An untrained Flamingo between the banks."""
    residual_scale = tuple(RESIDUAL_SCALE * one for one in residual_rms(banks.lm))
    return new_flamingo(
        flamingo_config(banks.scale, residual_scale=residual_scale),
        banks.tower,
        deepcopy(banks.lm),
        banks.seed,
    )


def gated(banks: FrozenParts, on_step: Callable[[Step], None] | None = None) -> Bridge:
    """Flamingo on single pictures."""
    trained = banks.train(
        "bridge-flamingo",
        new_gated(banks),
        GatedBridgeDataset(banks.looked("<image>")),
        FLAMINGO_OPTIMISATION,
        on_step=on_step,
    )
    return Bridge(
        "Flamingo", trained.model, banks.scale.image_size, "<image>", steps=trained.history
    )


def pages(scale: Scale | str | None = None) -> Bridge:
    """Lesson 08's Flamingo: other data (pages of several pictures, films, descriptions), more steps. No part of the comparison,
    but what the same model becomes with them."""
    size = Scale.of(scale)
    trained = flamingo(size)
    return Bridge(
        "Flamingo, on pages",
        trained.model.model,
        size.image_size,
        IMAGE_TEXT,
        END_OF_CHUNK,
        trained.history,
    )


ALL: dict[str, Callable[..., Bridge]] = {
    "linear": linear,
    "mapped": mlp,
    "frozen": frozen,
    "blip": blip,
    "blip2": blip2,
    "flamingo": gated,
}
