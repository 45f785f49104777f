"""Photographs of lesson 15: six that Python packages ship, regions in them, crops of the regions, and who took them.

Four lie in photos/, made smaller from those of scikit-image's wheel; two come with scikit-learn, a portrait with matplotlib.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

LONGEST = 400
"""Pixels of a photograph's longer side."""
FOLDER = Path(__file__).with_name("photos")
LICENCES = {
    "cat": ("scikit-image", "Stefan van der Walt", "CC0"),
    "coffee": ("scikit-image", "Rachel Michetti, Pikolo Espresso Bar", "CC0"),
    "rocket": ("scikit-image", "SpaceX", "public domain"),
    "astronaut": ("scikit-image", "NASA", "public domain"),
    "china": ("scikit-learn", "danielbuechele on Flickr", "CC BY 2.0"),
    "flower": ("scikit-learn", "vultilion on Flickr", "CC BY 2.0"),
    "portrait": ("matplotlib", "US Navy", "public domain"),
}
"""Photograph -> the package that ships it, who took it, and its licence."""
CREDIT = (
    "Photographs: S. van der Walt (cat), R. Michetti (coffee), SpaceX, NASA: CC0 or public domain; "
    "danielbuechele (pagoda), vultilion (flower): CC BY 2.0, made smaller."
)


@dataclass(frozen=True)
class Region:
    """A part of a photograph: a box (left, top, right, bottom) in pixels, and a caption of what its crops show."""

    photo: str
    box: tuple[int, int, int, int]
    caption: str


REGIONS = {
    "cat": Region("cat", (60, 0, 340, 256), "the face of a cat"),
    "table": Region("coffee", (320, 0, 400, 267), "an old wooden table"),
    "cup": Region("coffee", (130, 10, 280, 130), "a cup of coffee"),
    "saucer": Region("coffee", (55, 100, 130, 250), "a red saucer"),
    "night sky": Region("rocket", (80, 0, 340, 74), "the sky at night"),
    "tower": Region("rocket", (10, 0, 80, 267), "a tower of steel"),
    "rocket": Region("rocket", (165, 75, 235, 267), "a white rocket"),
    "pagoda": Region("china", (50, 60, 210, 230), "a pagoda with green roofs"),
    "day sky": Region("china", (210, 5, 390, 110), "the sky by day"),
    "trees": Region("china", (215, 180, 400, 267), "green trees"),
    "petals": Region("flower", (110, 55, 275, 222), "petals of an orange flower"),
    "leaves": Region("flower", (0, 0, 100, 267), "dark leaves"),
    "suit": Region("astronaut", (40, 180, 190, 380), "an orange suit of an astronaut"),
    "flag": Region("astronaut", (0, 0, 64, 180), "a flag with stripes"),
    "helmet": Region("astronaut", (225, 265, 395, 395), "a black and white helmet"),
    "woman": Region("astronaut", (120, 10, 235, 145), "the face of a woman"),
}
"""The classes of the lesson's tiny data set; no two boxes share a pixel."""


def photo(name: str) -> Image.Image:
    """A photograph in RGB whose longer side has LONGEST pixels. Raises ValueError for a name that LICENCES lacks."""
    if name not in LICENCES:
        raise ValueError(f"no photograph {name!r}; expected one of {', '.join(LICENCES)}.")
    if LICENCES[name][0] == "scikit-image":
        return Image.open(FOLDER / f"{name}.jpg").convert("RGB")
    if name == "portrait":
        from matplotlib.cbook import get_sample_data

        image = Image.open(get_sample_data("grace_hopper.jpg")).convert("RGB")
    else:
        from sklearn.datasets import load_sample_image

        image = Image.fromarray(load_sample_image(f"{name}.jpg"))
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    return image


def photos() -> dict[str, Image.Image]:
    """The six photographs of REGIONS, by name."""
    return {name: photo(name) for name in LICENCES if name != "portrait"}


def licence_table() -> str:
    """LICENCES as a Markdown table."""
    rows = (f"| {name} | {' | '.join(facts)} |" for name, facts in LICENCES.items())
    return "\n".join(
        ["| photograph | comes with | taken by | licence |", "|---|---|---|---|", *rows]
    )


def crops(image: Image.Image, corners: Tensor, side: int) -> list[Image.Image]:
    """Squares of a photograph: corners (n, 2) are the left and top of each, in pixels."""
    return [image.crop((x, y, x + side, y + side)) for x, y in corners.tolist()]


@dataclass(frozen=True)
class CropSet:
    """Crops of all regions: pixel_values (N, 3, S, S), the number of each one's region (N,), and the uint8 crops."""

    pixel_values: Tensor
    labels: Tensor
    images: np.ndarray

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random crops, each region equally often: pixel_values (size, 3, S, S), labels (size,)."""
        regions = self.labels.unique()
        chosen = regions[torch.randint(len(regions), (size,), generator=generator)]
        rows = [
            members[torch.randint(len(members), (), generator=generator)]
            for members in ((self.labels == label).nonzero()[:, 0] for label in chosen.tolist())
        ]
        return self.pixel_values[torch.stack(rows)], chosen


def crop_sets(
    split: Callable[..., tuple[Tensor, Tensor]],
    prepare: Callable[[Image.Image], Tensor],
    side: int,
    step: int,
    regions: Sequence[Region] = tuple(REGIONS.values()),
) -> tuple[CropSet, CropSet]:
    """Training and test crops of each region.

    split    (box, side, step) -> corners of training crops and of test crops, (n, 2) each
    prepare  crop -> pixel_values (3, S, S)
    """
    images, parts = {region.photo: photo(region.photo) for region in regions}, ([], [])
    for number, region in enumerate(regions):
        for part, corners in zip(parts, split(region.box, side, step)):
            part += [(number, crop) for crop in crops(images[region.photo], corners, side)]
    return tuple(
        CropSet(
            torch.stack([prepare(crop) for _, crop in part]),
            torch.tensor([number for number, _ in part]),
            np.stack([np.asarray(crop) for _, crop in part]),
        )
        for part in parts
    )
