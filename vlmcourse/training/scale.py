"""How large: smoke, laptop or gpu."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """The one dial: widths, depths, batch and steps together."""

    name: str
    width: int
    vision_depth: int
    text_depth: int
    heads: int
    image_size: int
    batch: int
    steps: int
    seeds: int  # how many runs a claim with a spread takes
    language_width: int  # of the language model, whose heads are 32 wide
    language_depth: int
    language_batch: int
    language_steps: int
    frozen_batch: int  # pictures with captions, into a frozen language model
    frozen_steps: int
    blip_batch: int  # pairs, half of them siblings of the others
    blip_steps: int
    vilbert_width: int  # heads 32 wide
    vilbert_batch: int  # pairs of regions and captions
    vilbert_steps: int

    @classmethod
    def of(cls, name: Scale | str | None = None) -> Scale:
        """smoke (seconds, for tests), laptop (2 cores, minutes) or gpu; default: VLMCOURSE_SCALE, else laptop."""
        if isinstance(name, Scale):
            return name
        name = name or os.environ.get("VLMCOURSE_SCALE", "laptop")
        if name not in (known := {scale.name: scale for scale in SCALES}):
            raise ValueError(f"scale '{name}' is unknown; expected one of {', '.join(known)}.")
        return known[name]


SCALES = (
    Scale(
        "smoke",
        width=64,
        vision_depth=1,
        text_depth=1,
        heads=2,
        image_size=32,
        batch=32,
        steps=20,
        seeds=2,
        language_width=64,
        language_depth=1,
        language_batch=16,
        language_steps=20,
        frozen_batch=16,
        frozen_steps=20,
        blip_batch=16,
        blip_steps=20,
        vilbert_width=32,
        vilbert_batch=16,
        vilbert_steps=20,
    ),
    Scale(
        "laptop",
        width=128,
        vision_depth=4,
        text_depth=1,
        heads=4,
        image_size=64,
        batch=64,
        steps=3000,
        seeds=3,
        language_width=96,
        language_depth=3,
        language_batch=32,
        language_steps=3000,
        frozen_batch=64,
        frozen_steps=2400,
        blip_batch=64,
        blip_steps=1500,
        vilbert_width=64,
        vilbert_batch=64,
        vilbert_steps=2000,
    ),
    Scale(
        "gpu",
        width=512,
        vision_depth=12,
        text_depth=6,
        heads=8,
        image_size=128,
        batch=1024,
        steps=10_000,
        seeds=3,
        language_width=512,
        language_depth=12,
        language_batch=256,
        language_steps=20_000,
        frozen_batch=512,
        frozen_steps=10_000,
        blip_batch=1024,
        blip_steps=10_000,
        vilbert_width=512,
        vilbert_batch=512,
        vilbert_steps=20_000,
    ),
)
