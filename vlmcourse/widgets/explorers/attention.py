"""The attention explorer: for a word or a query, a layer and a head, the patches of the picture that were used.

`attention.js` draws them over the picture; the maps come from here, saved for some pictures and their texts, or from the kernel.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from vlmcourse import world
from vlmcourse.introspection import AttentionMaps
from vlmcourse.widgets.explorer import picture_address, show_explorer

AttentionFunction = Callable[[Tensor, str], AttentionMaps]


def packed(maps: AttentionMaps) -> dict:
    """Maps (layers, heads, rows, patches) as one byte a number; 255 stands for `most`."""
    largest = maps.maps.max().clamp(min=1e-9)
    whole = (maps.maps / largest * 255).round().clamp(0, 255).to(torch.uint8)
    return {
        "rows": list(maps.rows),
        "what": maps.what,
        "rest": maps.rest,
        "unit": maps.unit,
        "probabilities": [round(one, 3) for one in maps.probabilities],
        "instead": [" ".join(words) for words in maps.instead],
        "shape": list(whole.shape),
        "most": round(largest.item(), 6),
        "maps": base64.b64encode(whole.cpu().contiguous().numpy().tobytes()).decode(),
    }


def describe(texts: Sequence[str], maps: Mapping[str, Sequence[dict]]) -> str:
    """What the maps are of, and where the first map is brightest."""
    name, (first, *_) = next(iter(maps.items()))
    return (
        f"{len(texts)} pictures with maps of {', '.join(maps)}. First: '{texts[0]}' and {name}, {first['what']}, with the rows "
        f"{', '.join(first['rows'])}, in {first['shape'][0]} layers of {first['shape'][1]} heads."
    )


def attention_explorer(
    models: Mapping[str, AttentionFunction],
    images: np.ndarray,
    texts: Sequence[str],
    covering: Mapping[str, AttentionFunction] | None = None,
) -> None:
    """Displays the explorer.

    models    {name: (pixels (3, S, S), text) -> AttentionMaps}, such as teaching.explorer_models.attention_functions()
    images    (N, S, S, 3) uint8 with a text each
    covering  {name: the same by covering squares}, of models where a reader may change from one to the other
    """
    pixels, kinds = world.to_pixels(images), {"maps": models, "covering": covering or {}}
    maps, covered = (
        {
            name: [packed(maps_of(image, text)) for image, text in zip(pixels, texts)]
            for name, maps_of in functions.items()
        }
        for functions in kinds.values()
    )

    def answer(question: dict) -> dict:
        maps_of = kinds[question["kind"]][question["model"]]
        return packed(maps_of(pixels[question["picture"]], question["text"]))

    pictures = [picture_address(image) for image in images]
    data = {"pictures": pictures, "texts": list(texts), "models": list(models), "maps": maps}
    data["covering"] = covered
    show_explorer("attention", data, describe(texts, maps), answer)
