"""How large: smoke, laptop or gpu."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """The one dial. Here stands what several papers share: pictures and image towers; the rest stands in their recipes.

    seeds  how many runs a claim with a spread takes
    """

    name: str
    image_size: int
    width: int
    heads: int
    vision_depth: int
    text_depth: int
    seeds: int

    @classmethod
    def of(cls, name: Scale | str | None = None) -> Scale:
        """smoke (seconds, for tests), laptop (2 cores, minutes) or gpu; default: VLMCOURSE_SCALE, else laptop."""
        if isinstance(name, Scale):
            return name
        name = name or os.environ.get("VLMCOURSE_SCALE", "laptop")
        if name not in SCALES:
            raise ValueError(f"scale '{name}' is unknown; expected one of {', '.join(SCALES)}.")
        return SCALES[name]


SCALES = {
    scale.name: scale
    for scale in (
        Scale("smoke", 32, width=64, heads=2, vision_depth=1, text_depth=1, seeds=2),
        Scale("laptop", 64, width=128, heads=4, vision_depth=4, text_depth=1, seeds=3),
        Scale("gpu", 128, width=512, heads=8, vision_depth=12, text_depth=6, seeds=3),
    )
}
