"""The attention explorer: for a word or a query, a layer and a head, the patches of the picture that were used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch import Tensor

from vlmcourse import world
from vlmcourse.introspection import AttentionMaps
from vlmcourse.plots import attention_over_image
from vlmcourse.widgets.interactive import (
    dropdown,
    interactive,
    option_slider,
    row,
    row_with_labels,
    set_options,
    show_only,
    slider,
    text_field,
)

AttentionFunction = Callable[[Tensor, str], AttentionMaps]


def select(maps: AttentionMaps, row_number: int, layer: int, head: int) -> tuple[str, Tensor]:
    """(what it is, weights (P,)) of a row; layer and head count from 1, 0 is the mean. Too large a number is the last one."""
    layers, heads, rows, _ = maps.maps.shape
    row_number, layer, head = min(row_number, rows - 1), min(layer, layers), min(head, heads)
    weights = maps.maps[:, :, row_number]
    weights = weights.mean(0) if layer == 0 else weights[layer - 1]
    of_layer = f"layer {layer}" if layer else "mean of layers"
    of_head = f"head {head}" if head else "mean of heads"
    name = "mean of layers and heads" if layer == head == 0 else f"{of_layer}, {of_head}"
    return f"'{maps.rows[row_number]}', {name}", weights.mean(0) if head == 0 else weights[head - 1]


def attention_figure(
    image: np.ndarray, name: str, maps: AttentionMaps, row_number: int, layer: int, head: int
):
    """The picture (S, S, 3), the chosen weights over it, and the mean of all rows, layers and heads for comparison."""
    title, weights = select(maps, row_number, layer, head)
    figure = attention_over_image(image, {title: weights, "mean of all": maps.maps.mean((0, 1, 2))})
    figure.suptitle(f"{name}: {maps.what}", fontsize=9.5)
    figure.description = (
        f"{name}, {maps.what}. Rows to choose from: {', '.join(maps.rows)}. {figure.description}"
    )
    return figure


def attention_explorer(
    models: Mapping[str, AttentionFunction], images: np.ndarray, texts: Sequence[str]
) -> None:
    """Displays the explorer.

    models  {name: (pixels (3, S, S), text) -> AttentionMaps}, such as teaching.explorer_models.attention_functions()
    images  (N, S, S, 3) uint8 with a text each, which can be changed
    """
    name = dropdown("model", list(models))
    number = slider("picture", 0, 0, len(images) - 1)
    typed = text_field("text", texts[0])
    word, layer, head = (
        option_slider(what, range(count), value)
        for what, count, value in (("word", 8, 4), ("layer", 1, 0), ("head", 1, 0))
    )
    computed: dict[tuple, AttentionMaps] = {}  # layers, heads and words of one pass are all there

    def current() -> AttentionMaps:
        state = name.value, number.value, typed.value
        if state not in computed:
            pixels = world.to_pixels(images[number.value][None])[0]
            maps = models[name.value](pixels, typed.value)
            computed.clear()
            computed[state] = maps
        return computed[state]

    def prepare() -> None:
        maps = current()
        layers, heads, _, _ = maps.maps.shape
        set_options(word, [(text, at) for at, text in enumerate(maps.rows)])
        for field, count in ((layer, layers), (head, heads)):
            set_options(field, [("mean", 0), *((str(i + 1), i + 1) for i in range(count))])
        show_only([layer, head], [layer] * (layers > 1) + [head] * (heads > 1))

    def draw():
        return attention_figure(
            images[number.value], name.value, current(), word.value, layer.value, head.value
        )

    number.observe(lambda change: setattr(typed, "value", texts[change["new"]]), "value")
    interactive([row(name, number), typed, row_with_labels(word, layer, head)], draw, prepare)
