"""The attention explorer: for a word or a query, a layer and a head, the patches of the picture that were used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch import Tensor

from vlmcourse import world
from vlmcourse.introspection import AttentionMaps
from vlmcourse.plots import attention_over_image
from vlmcourse.widgets.interactive import offer, only, play, row, worded

Look = Callable[[Tensor, str], AttentionMaps]


def part(looked: AttentionMaps, row_number: int, layer: int, head: int) -> tuple[str, Tensor]:
    """(what it is, weights (P,)) of a row; layer and head count from 1, 0 is the mean. Too large a number is the last one."""
    layers, heads, rows, _ = looked.maps.shape
    row_number, layer, head = min(row_number, rows - 1), min(layer, layers), min(head, heads)
    maps = looked.maps[:, :, row_number]
    maps = maps.mean(0) if layer == 0 else maps[layer - 1]
    named = (
        "mean of layers and heads"
        if layer == head == 0
        else f"{'mean of layers' if layer == 0 else f'layer {layer}'}, {'mean of heads' if head == 0 else f'head {head}'}"
    )
    return f"'{looked.rows[row_number]}', {named}", maps.mean(0) if head == 0 else maps[head - 1]


def overlaid(
    image: np.ndarray, name: str, looked: AttentionMaps, row_number: int, layer: int, head: int
):
    """The picture (S, S, 3), the chosen weights over it, and the mean of all rows, layers and heads for comparison."""
    title, weights = part(looked, row_number, layer, head)
    made = attention_over_image(image, {title: weights, "mean of all": looked.maps.mean((0, 1, 2))})
    made.suptitle(f"{name}: {looked.what}", fontsize=9.5)
    made.description = (
        f"{name}, {looked.what}. Rows to choose from: {', '.join(looked.rows)}. {made.description}"
    )
    return made


def attention_explorer(
    models: Mapping[str, Look], images: np.ndarray, texts: Sequence[str]
) -> None:
    """Displays the explorer.

    models  {name: (pixel_values (3, S, S), text) -> Looked}, such as teaching.explorer_models.lookers()
    images  (N, S, S, 3) uint8 with a text each, which can be changed
    """
    import ipywidgets

    name = ipywidgets.Dropdown(options=list(models), description="model")
    number = ipywidgets.IntSlider(
        value=0, min=0, max=len(images) - 1, description="picture", continuous_update=False
    )
    typed = ipywidgets.Text(
        value=texts[0],
        description="text",
        continuous_update=False,
        layout={"width": "min(34em, 100%)"},
    )
    place, layer, head = (
        ipywidgets.SelectionSlider(
            options=range(most), value=at, description=of, continuous_update=False
        )
        for of, most, at in (("word", 8, 4), ("layer", 1, 0), ("head", 1, 0))
    )
    kept: dict[
        tuple, AttentionMaps
    ] = {}  # layers, heads and words of one pass are all there: only the first look computes

    def prepared() -> None:
        state = name.value, number.value, typed.value
        if state not in kept:
            looked = models[name.value](world.to_pixels(images[number.value][None])[0], typed.value)
            kept.clear()
            kept[state] = looked
        (looked,) = kept.values()
        layers, heads, _, _ = looked.maps.shape
        offer(place, [(word, at) for at, word in enumerate(looked.rows)])
        for field, many in ((layer, layers), (head, heads)):
            offer(field, [("mean", 0), *((str(one + 1), one + 1) for one in range(many))])
        only(
            [place, layer, head],
            [place, *([layer] if layers > 1 else []), *([head] if heads > 1 else [])],
        )

    def drawn():
        (looked,) = kept.values()
        return overlaid(
            images[number.value], name.value, looked, place.value, layer.value, head.value
        )

    def its_text(change: dict) -> None:
        typed.value = texts[change["new"]]

    number.observe(its_text, "value")
    play([row(name, number), typed, worded(place, layer, head)], drawn, prepared)
