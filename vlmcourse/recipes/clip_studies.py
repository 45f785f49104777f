"""Small CLIPs for studies of their data: half of the known nouns, pictures of 32 pixels, pairs kept in memory.

One takes about 20 seconds on one core, so that a table of ten conditions and three seeds takes minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vlmcourse import world
from vlmcourse.evaluation import class_embeddings
from vlmcourse.papers.clip import CLIP, image_tower
from vlmcourse.recipes.clip import clip_config
from vlmcourse.recipes.recipe import Sizes, describe, get
from vlmcourse.training.batches import Batches
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import TrainedStage, train_or_load
from vlmcourse.world import tokenizer
from vlmcourse.world.scenes import SeededRandom, sample

NOUNS = world.known_nouns()[::2]
"""What these pictures show: every second known noun."""
VARIED = ("as trained", "grey", "noise", "sketch")
"""Styles of a collection of pictures as mixed as the web's; "rotated" and "inverted" are in none."""
SIZES = {"smoke": Sizes(32, 8), "laptop": Sizes(128, 300), "gpu": Sizes(128, 300)}
PAIRS = {"smoke": 128, "laptop": 8192, "gpu": 8192}
"""Pairs in memory at each scale."""


def study_scale(scale: Scale | str | None = None) -> Scale:
    """The small sizes, under the name of a scale."""
    sizes = {"image_size": 32, "width": 64, "heads": 2, "vision_depth": 2, "text_depth": 1}
    return replace(Scale.of(scale), **sizes)


@dataclass(frozen=True)
class StudyPairs(world.Pairs):
    """Pairs that show NOUNS only; each picture is in one of `styles`, chosen at random (see world.STYLES)."""

    styles: tuple[str, ...] = field(default=("as trained",), kw_only=True)

    def scene(self, index: int) -> world.Scene:
        rng = SeededRandom("alone", self.seed, self.split, index)
        things = (1, 1) if rng.random() < self.single_share else self.things
        return sample(self.split, index, self.seed, things, NOUNS)

    def images(self, indices: Sequence[int]):
        drawn = super().images(indices)
        for row, index in enumerate(indices):
            style = SeededRandom("style", self.seed, self.split, index).choice(self.styles)
            drawn[row] = world.restyle(drawn[row][None], style)[0]
        return drawn


def study_pairs(split: str = "train", seed: int = 0, **changes) -> StudyPairs:
    """Half of the scenes show one thing, as in recipes.clip.training_pairs; `changes` replace fields."""
    fields = {"single_share": 1 / 3, "caption": world.captions.prompted} | changes
    return StudyPairs(split, study_scale().image_size, seed, **fields)


@lru_cache(8)
def _images(pairs: world.Pairs, count: int):
    return pairs.images(range(count))


@lru_cache(64)
def _order(count: int, epoch: int) -> list[int]:
    return torch.randperm(count, generator=torch.Generator().manual_seed(epoch)).tolist()


@dataclass(frozen=True)
class Pool:
    """The first `count` pairs, drawn once and kept in memory; each epoch visits them in another order.

    rows  numbers of the pairs that are trained on; default: all. A filter's choice goes here.
    """

    pairs: world.Pairs
    count: int
    rows: tuple[int, ...] | None = None

    def images(self):
        """uint8 (count, S, S, 3)."""
        return _images(replace(self.pairs, noise=None), self.count)

    def batch(self, indices: Sequence[int]) -> dict:
        """`pixel_values` (B, 3, S, S), `ids` (B, T), `text`, `labels` (B,): the number of the first thing in NOUNS."""
        rows = range(self.count) if self.rows is None else self.rows
        numbers = [rows[_order(len(rows), i // len(rows))[i % len(rows)]] for i in indices]
        text = [self.pairs.text(number) for number in numbers]
        first = [self.pairs.scene(number).words[0] for number in numbers]
        return {
            "pixel_values": world.to_pixels(self.images()[numbers]),
            "ids": tokenizer.encode(text),
            "text": text,
            "labels": torch.tensor([NOUNS.index(word) for word in first]),
        }


def train_study_clip(
    scale: Scale | str | None = None, seed: int = 0, data: Pool | None = None, **options
) -> TrainedStage:
    """A small CLIP on `data` (default: clean pairs of this seed); options: of Recipe.train_or_load, or of CLIPConfig."""
    size = study_scale(scale)
    data = data or Pool(study_pairs(seed=seed), PAIRS[size.name])
    sizes = SIZES[size.name]
    options = {"patch": 8, "batch": sizes.batch, "steps": sizes.steps} | options
    return get("clip").train_or_load(size, seed, data=data, **options)


class Supervised(nn.Module):
    """CLIP's image tower with a linear layer, trained on labels instead of captions."""

    def __init__(self, config, classes: int, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        self.vision = image_tower(config)
        self.classify = nn.Linear(self.vision.width, classes)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, S, S) -> logits (B, C)."""
        return self.classify(self.vision(pixel_values))

    def losses(self, batch: dict) -> dict[str, Tensor]:
        """batch: `pixel_values` (B, 3, S, S), `labels` (B,) -> {"label": scalar}."""
        return {"label": cross_entropy(self(batch["pixel_values"]), batch["labels"])}


def train_supervised(
    scale: Scale | str | None, seed: int, data: Pool, steps: int | None = None, **changes
) -> TrainedStage:
    """The control: as many pictures as a small CLIP sees, with the label of their first thing; changes: of CLIPConfig."""
    size = study_scale(scale)
    config, sizes = clip_config(size, **({"patch": 8} | changes)), SIZES[size.name]
    return train_or_load(
        "supervised",
        Supervised(config, len(NOUNS), seed),
        Batches(data.batch, sizes.batch, seed=seed),
        steps or sizes.steps,
        fingerprint={"config": describe(config), "data": describe(data), "batch": sizes.batch},
        seed=seed,
    )


def things_alone(count: int, split: str = "test", seed: int = 0) -> tuple[StudyPairs, Tensor]:
    """Scenes of one thing, and its number in NOUNS, (count,)."""
    pairs = study_pairs(split, seed, things=(1, 1))
    words = [pairs.scene(index).words[0] for index in range(count)]
    return pairs, torch.tensor([NOUNS.index(word) for word in words])


def study_classes(model: CLIP, names: Sequence[str] = NOUNS) -> Tensor:
    """Class embeddings of nouns, each in all of the world's prompts: (C, E)."""
    texts = [world.article(name) for name in names]
    return class_embeddings(model, texts, world.captions.PROMPTS, tokenizer.encode)
