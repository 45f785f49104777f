"""Lesson 13: a small world with habits, two bridges that the student writes, and the course's shipped systems beside them.

The world has 24 nouns. As on the web, some things are shown often, and each has a companion that stands beside it more often than
chance. Held-out pictures have no such habits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from vlmcourse import recipes, world
from vlmcourse.evaluation.interface import PromptedModel, SinglePictureModel
from vlmcourse.parts.language import embedding_rms, freeze, next_token_loss
from vlmcourse.parts.soft_prompts import SoftPromptModel
from vlmcourse.recipes import blip2
from vlmcourse.recipes.features import FeatureCache
from vlmcourse.recipes.frozen import (
    IMAGE_PREFIX,
    embeddings,
    mean_embedding,
    mean_noun_and_background,
)
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step, fit
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import prompts, tokenizer
from vlmcourse.world.interleaved import END_OF_CHUNK, IMAGE_TEXT
from vlmcourse.world.scenes import BACKGROUNDS, SeededRandom, arrange, held_out, split_of

NOUNS = world.known_nouns()[:96:4]
POPULAR = NOUNS[::6]
"""Four nouns with which every third picture begins."""
CAPTION = "a picture of"
VECTORS = 2
"""What a bridge of this lesson makes of a picture."""
RATE = 5e-3
"""Learning rate, chosen by hand."""


def companion(word: str) -> str:
    """What stands beside a thing in nine of ten training pictures of two things."""
    place = NOUNS.index(word)
    after = (NOUNS[(place + step) % len(NOUNS)] for step in range(5, 5 + len(NOUNS)))
    return next(other for other in after if other != word and not held_out((word, other), "white"))


@dataclass(frozen=True)
class Habits:
    """Training pictures 0, 1, 2, ... of one or two things, each with a caption that names them in random order.

    Every third picture begins with one of POPULAR; one in five shows one thing; of the others, nine in ten show a companion.
    seed: draws other pictures;  companions: the share of pictures of two things that show a companion
    """

    seed: int = 0
    companions: float = 0.9

    def scene(self, index: int) -> world.Scene:
        rng = SeededRandom("side by side", self.seed, index)
        while True:
            first = rng.choice(POPULAR if rng.random() < 1 / 3 else NOUNS)
            second = companion(first) if rng.random() < self.companions else rng.choice(NOUNS)
            words = (first,) if rng.random() < 0.2 else (first, second)
            background = rng.choice(tuple(BACKGROUNDS))
            if len(set(words)) == len(words) and split_of(words, background) == "train":
                return arrange(tuple(rng.sample(words, len(words))), background, rng)

    def text(self, index: int) -> str:
        """The caption of picture `index`: 'a picture of a cat and a dog .'"""
        words = self.scene(index).words  # in random order
        return f"{CAPTION} {' and '.join(map(world.article, words))} ."


@dataclass(frozen=True)
class Budget:
    """The same for all: different pictures, how many in a step, steps."""

    pictures: int
    batch: int
    steps: int


BUDGETS = {"smoke": Budget(32, 8, 4), "laptop": Budget(4096, 32, 600), "gpu": Budget(100_000, 256, 5000)}  # fmt: skip


class Summary(nn.Module):
    """CLIP's one vector for a picture, with mean 0 and standard deviation 1 over `pictures`: pixels (M, 3, S, S) -> (M, 1, C)."""

    mean: Tensor
    std: Tensor

    def __init__(self, vision: nn.Module, pictures: Tensor):
        super().__init__()
        self.vision, self.width = vision, vision.width
        with torch.no_grad():
            seen = torch.cat([vision(part) for part in pictures.split(128)])
        self.register_buffer("mean", seen.mean(0))
        self.register_buffer("std", seen.std(0) + 1e-4)

    def forward(self, pixel_values: Tensor) -> Tensor:
        return ((self.vision(pixel_values) - self.mean) / self.std)[:, None]


@dataclass(frozen=True)
class Ends:
    """What every bridge stands between: CLIP's image encoder and the language model, both frozen."""

    scale: Scale

    @cached_property
    def vision(self) -> nn.Module:
        return freeze(deepcopy(recipes.get("clip").train_or_load(self.scale).model.vision))

    @cached_property
    def lm(self) -> nn.Module:
        return freeze(deepcopy(recipes.get("language").train_or_load(self.scale).model.lm))

    @cached_property
    def summaries(self) -> FeatureCache:
        """Of pictures: CLIP's summary, (N, 1, C)."""
        size, count = self.scale.image_size, min(512, BUDGETS[self.scale.name].pictures)
        pictures = [(Habits().scene(index),) for index in range(count)]
        pixel_values = prompts.frame_pixels(pictures, size)
        return FeatureCache(freeze(Summary(self.vision, pixel_values)), size)


class Bridged(SoftPromptModel):
    """A frozen language model that reads as words what `bridge` makes of a frozen encoder's features.

    encoder  pixels (M, 3, S, S) -> features (M, P, C);  bridge: features -> vectors (M, n, D)
    """

    def __init__(self, encoder: nn.Module, bridge: nn.Module, lm: nn.Module):
        super().__init__()
        self.encoder, self.bridge, self.lm = encoder, bridge, lm
        self.image_token_id = tokenizer.world_tokenizer().convert_tokens_to_ids("<image>")

    def vision_context(self, pixel_values: Tensor) -> dict[str, Tensor]:
        return {"prefix": self.bridge(self.encoder(pixel_values)).flatten(0, 1)}

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        prefix = self.bridge(batch["features"]).flatten(0, 1)
        logits = self(batch["ids"], prefix=prefix)
        return {"lm": next_token_loss(logits, batch["ids"], batch["loss_mask"])}


def prefix_of(vectors: int) -> str:
    """What stands in a text for a picture, and a full stop, as after descriptions in the language model's texts."""
    return " ".join(["<image>"] * vectors + ["."])


@dataclass(frozen=True)
class Captions:
    """Captions behind a picture's placeholders, and the picture's features."""

    pictures: Habits
    features: FeatureCache

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        texts = [self.pictures.text(index) for index in indices]
        pages = [(prefix_of(VECTORS),)] * len(texts)
        batch = prompts.training_batch(pages, texts, self.features.size)
        del batch["pixel_values"]
        scenes = [self.pictures.scene(index) for index in indices]
        return batch | {"features": self.features.pictures(scenes)}


def new_bridge(
    ends: Ends, make: Callable[[int, Tensor, float], nn.Module], seed: int = 0
) -> Bridged:
    """A frozen language model behind make(C, start (n, D), size), which reads CLIP's summary of a picture.

    start  the mean noun, twice: there the two vectors of a picture begin;  size: of a step away from it
    """
    start = mean_embedding(ends.lm, NOUNS)[None].repeat(VECTORS, 1)
    with seeded(seed):
        bridge = make(ends.vision.width, start, 0.15 * embedding_rms(ends.lm))
    return Bridged(ends.summaries.encoder, bridge, ends.lm)


def train(
    model: Bridged,
    ends: Ends,
    on_step: Callable[[Step], None] = lambda step: None,
    seed: int = 0,
    companions: float = Habits.companions,
) -> None:
    """Trains the bridge in place, on captions of Habits(seed, companions)."""
    budget = BUDGETS[ends.scale.name]
    data = Captions(Habits(seed, companions), ends.summaries)
    batches = Batches(data.batch, budget.batch, budget.pictures, seed)
    optimisation = Optimisation(RATE, weight_decay=0.05, betas=(0.9, 0.95))
    steps = fit(model, batches, budget.steps, optimisation, seed=seed, precision=torch.float32)
    for step in steps:
        on_step(step)
    model.eval()


def prompted(name: str, model: Bridged, ends: Ends) -> PromptedModel:
    """The form in which it is asked."""
    return PromptedModel(name, model, ends.scale.image_size, prefix_of(VECTORS))


class Solved(nn.Module):
    """The map of `ridge_map` as a bridge: features (M, 1, C) -> the word that it finds, and `start`'s second vector: (M, 2, D)."""

    def __init__(self, found: Tensor, start: Tensor):
        super().__init__()
        self.register_buffer("found", found)
        self.register_buffer("start", start)

    def forward(self, features: Tensor) -> Tensor:
        found: Tensor = self.found
        word = features @ found[:-1] + found[-1]
        return torch.cat([word, self.start[1].expand_as(word)], 1)


def words_to_find(ends: Ends, count: int) -> tuple[Tensor, Tensor]:
    """Features (N, C) of training pictures of one thing, and the embeddings (N, D) of their nouns."""
    pictures = [scene for scene in map(Habits().scene, range(count)) if len(scene.things) == 1]
    targets = embeddings(ends.lm, [scene.words[0] for scene in pictures])
    return ends.summaries.pictures(pictures)[:, 0], targets


def solved_bridge(ends: Ends, found: Tensor) -> Bridged:
    """A bridge without training: `found` (C + 1, D) writes a noun, and the mean background stands behind it."""
    return Bridged(
        ends.summaries.encoder, Solved(found, mean_noun_and_background(ends.lm)), ends.lm
    )


def shipped(scale: Scale) -> dict[str, PromptedModel]:
    """The course's trained systems, each in the form in which it reads pages."""
    size = scale.image_size
    blip_model, frozen_model, blip2_model, pages = (
        recipes.get(name).train_or_load(scale) for name in ("blip", "frozen", "blip2", "flamingo")
    )
    queries = blip2.image_prefix(blip2_model.model.qformer.config.queries)
    return {
        "BLIP": SinglePictureModel("BLIP", blip_model.model, size),
        "Frozen": PromptedModel("Frozen", frozen_model.model, size, IMAGE_PREFIX),
        "BLIP-2": PromptedModel("BLIP-2", blip2_model.model, size, queries),
        "Flamingo": PromptedModel("Flamingo", pages.model.model, size, IMAGE_TEXT, END_OF_CHUNK),
    }
