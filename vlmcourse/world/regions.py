"""Pictures as regions, each with its box, its pixels and its class, with captions that may be false: what ViLBERT reads.

The papers ask a detector for regions. Here the world knows where its things are: the boxes are the true ones, and a small
network says what is in them. The grid cuts every picture alike instead, into squares that know nothing of things.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from vlmcourse.world.noise import mismatched
from vlmcourse.world.nouns import nouns
from vlmcourse.world.pairs import Pairs
from vlmcourse.world.scenes import BACKGROUNDS, Scene, SeededRandom, sample

Box = tuple[float, float, float, float]


def thing_boxes(scene: Scene) -> list[Box]:
    """The box of each thing, in the scene's order."""
    return [thing.box for thing in scene.things]


def grid_boxes(scene: Scene, cells: int = 4) -> list[Box]:
    """cells * cells equal squares, row by row: the same for all scenes."""
    return [
        (column / cells, row / cells, (column + 1) / cells, (row + 1) / cells)
        for row in range(cells)
        for column in range(cells)
    ]


@cache
def class_names() -> tuple[str, ...]:
    """What a region may show: every noun, and at last 'nothing'."""
    return (*(noun.word for noun in nouns()), "nothing")


def box_classes(scene: Scene, boxes: Sequence[Box]) -> Tensor:
    """Which part of each box belongs to which class: (R, C), rows sum to 1. A thing's own box is wholly the thing's."""
    names, shares = class_names(), torch.zeros(len(boxes), len(class_names()))
    for row, box in enumerate(boxes):
        if box in (own := thing_boxes(scene)):
            shares[row, names.index(scene.things[own.index(box)].word)] = 1
            continue
        x1, y1, x2, y2 = box
        for thing in scene.things:
            a1, b1, a2, b2 = thing.box
            overlap = max(0.0, min(x2, a2) - max(x1, a1)) * max(0.0, min(y2, b2) - max(y1, b1))
            shares[row, names.index(thing.word)] += overlap / ((x2 - x1) * (y2 - y1))
        shares[row, -1] = max(0.0, 1 - shares[row].sum().item())
        shares[row] /= shares[row].sum()  # where things overlap
    return shares


@dataclass(frozen=True)
class SubsetOfNouns(Pairs):
    """Pairs whose scenes show only the nouns `noun_subset`, so that each is met often: a small model learns them in a minute."""

    noun_subset: tuple[str, ...] = ()

    def scene(self, index: int) -> Scene:
        return sample(self.split, index, self.seed, self.things, self.noun_subset)


def swap_across_rows(scene: Scene, rng: SeededRandom) -> Scene | None:
    """Two things have exchanged positions, so that what a caption says of who is where becomes false; None for one thing alone.

    They come from different rows where there are two rows: within a row, captions name things without saying where.
    """
    top, bottom = (
        [index for index, thing in enumerate(scene.things) if (thing.y < 0.5) == up]
        for up in (True, False)
    )
    if len(scene.things) < 2:
        return None
    first, second = (
        (rng.choice(top), rng.choice(bottom))
        if top and bottom
        else rng.sample(range(len(scene.things)), 2)
    )
    words = list(scene.words)
    words[first], words[second] = words[second], words[first]
    return replace(
        scene, things=tuple(replace(thing, word=word) for thing, word in zip(scene.things, words))
    )


def recolour_background(scene: Scene, rng: SeededRandom) -> Scene:
    """The same things on another background."""
    return replace(
        scene,
        background=rng.choice([colour for colour in BACKGROUNDS if colour != scene.background]),
    )


SEEDS = {swap_across_rows: "places_swapped", recolour_background: "recoloured"}
"""What seeds the choices of a change; others are seeded by their names."""


def false_caption(
    index: int, pairs: Pairs, change: Callable[[Scene, SeededRandom], Scene | None]
) -> str | None:
    """What the caption of pair `index` would be if one thing about the scene were different; None if it would be the same.

    All other choices of words stay as they are, so neither caption is the likelier text.
    """
    scene = change(
        pairs.scene(index),
        SeededRandom("change", SEEDS.get(change, change.__name__), pairs.seed, pairs.split, index),
    )
    if scene is None:
        return None
    text = pairs.caption(scene, SeededRandom("caption", pairs.seed, pairs.split, index))
    return text if text != pairs.true_caption(index) else None


def hard_or_mismatched(index: int, pairs: Pairs) -> str:
    """For Noise: every second time the caption of another picture, else one that is wrong in one point."""
    rng = SeededRandom("nearly right", pairs.seed, index)
    if rng.random() < 0.5:
        return mismatched(index, pairs)
    first, second = rng.sample((swap_across_rows, recolour_background), 2)
    return (
        false_caption(index, pairs, first)
        or false_caption(index, pairs, second)
        or mismatched(index, pairs)
    )


@dataclass(frozen=True)
class RegionDataset:
    """Scenes as regions, with captions: batches for ViLBERT and VL-BERT.

    pairs  scenes and captions; with Noise, those captions are false that the noise replaced
    cut    scene -> boxes: `things`, or `grid`
    namer  describes regions, see parts/vision.RegionClassifier: (pixels, boxes) -> features (B, R, F) and logits (B, R, C). Default: none,
           then there are no features, the classes are the true ones, and the background is each region's attribute.
    """

    pairs: Pairs
    region_boxes: Callable[[Scene], list[Box]] = thing_boxes
    region_classifier: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor | list[str]]:
        """Pairs.batch, and `boxes` (B, R, 4), `region_mask` (B, R), False at padding, `classes` (B, R, C), rows that sum to 1,
        `aligned` (B,), False where the caption is not the picture's; with a namer also `features` (B, R, F), without one
        `attributes` (B, R)."""
        batch, scenes, noise = (
            self.pairs.batch(indices),
            self.pairs.scenes(indices),
            self.pairs.noise,
        )
        region_boxes = [self.region_boxes(scene) for scene in scenes]
        max_regions = max(map(len, region_boxes))
        boxes = torch.tensor(
            [
                scene_boxes + [(0.0, 0.0, 1.0, 1.0)] * (max_regions - len(scene_boxes))
                for scene_boxes in region_boxes
            ]
        )  # (B, R, 4)
        region_mask = (
            torch.arange(max_regions)
            < torch.tensor([len(scene_boxes) for scene_boxes in region_boxes])[:, None]
        )  # (B, R)
        batch |= {
            "boxes": boxes,
            "region_mask": region_mask,
            "aligned": torch.tensor(
                [noise is None or not noise.is_noisy(index, self.pairs.seed) for index in indices]
            ),
        }
        if self.region_classifier is None:
            classes = torch.zeros(*region_mask.shape, len(class_names()))
            for row, (scene, scene_boxes) in enumerate(zip(scenes, region_boxes)):
                classes[row, : len(scene_boxes)] = box_classes(scene, scene_boxes)
            backgrounds = torch.tensor(
                [list(BACKGROUNDS).index(scene.background) for scene in scenes]
            )
            return batch | {
                "classes": classes,
                "attributes": backgrounds[:, None].expand(region_mask.shape),
            }
        with torch.no_grad():
            features, logits = self.region_classifier(batch["pixel_values"], boxes)
        return batch | {
            "features": features.masked_fill(~region_mask[..., None], 0),
            "classes": logits.softmax(-1),
        }
