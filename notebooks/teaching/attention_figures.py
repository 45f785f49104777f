"""Lesson 01's measurements and figures: cost of attention, kernels beside each other, a layer inside CLIP."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from IPython.display import Markdown
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from vlmcourse import plots, recipes, world
from vlmcourse.doctor import compiler_trouble
from vlmcourse.papers.clip import CLIP
from vlmcourse.parts.attention import Attention, attend
from vlmcourse.parts.layers import Transformer
from vlmcourse.parts.masks import Mask
from vlmcourse.plots.diagrams import Diagram
from vlmcourse.training.scale import Scale

SEQUENTIAL_WIDTHS = (4, 16, 64, 256)
FLEX_MASK = "packed documents"
"""The one that is also run with FlexAttention, which compiles for many seconds."""


def block_diagram(length: int, width: int, heads: int) -> Diagram:
    """A pre-norm block with multi-head attention, with the shapes of a batch of one."""
    x, split = f"(1, {length}, {width})", f"(1, {heads}, {length}, {width // heads})"
    diagram = Diagram("A pre-norm block with multi-head attention")
    diagram.box("x", "residual stream x", x, column=0, row=0, kind="data")
    diagram.box("norm1", "LayerNorm", x, column=1, row=2, kind="trained")
    for row, name in enumerate(("query", "key", "value"), start=1):
        diagram.box(name, f"Linear: {name}", split, column=2, row=row, kind="trained")
        diagram.arrow("norm1", name)
    diagram.box("mask", "mask", f"(1, 1, {length}, {length})", column=2, row=4, kind="data")
    diagram.box("attention", "masked attention", split, column=3, row=2)
    diagram.box("output", "Linear: output", x, column=4, row=2, kind="trained")
    diagram.box("sum1", "sum", x, column=5, row=0)
    diagram.box("feedforward", "LayerNorm, feed-forward", x, column=6, row=2, kind="trained")
    diagram.box("sum2", "sum", x, column=7, row=0)
    for start, end in (
        ("x", "norm1"),
        ("query", "attention"),
        ("key", "attention"),
        ("value", "attention"),
        ("mask", "attention"),
        ("attention", "output"),
        ("output", "sum1"),
        ("x", "sum1"),
        ("sum1", "feedforward"),
        ("feedforward", "sum2"),
        ("sum1", "sum2"),
    ):
        diagram.arrow(start, end)
    return diagram


def cache_diagram(heads: int, head_width: int, cached: int) -> Diagram:
    """One step of generation with a cache of keys and values."""
    old, new = f"(1, {heads}, {cached}, {head_width})", f"(1, {heads}, 1, {head_width})"
    diagram = Diagram("One generation step with a cache")
    diagram.box("x", "new token", f"(1, 1, {heads * head_width})", column=0, row=1, kind="data")
    diagram.box("q", "query", new, column=1, row=0, kind="trained")
    diagram.box("kv", "key and value", new, column=1, row=1, kind="trained")
    diagram.box("cache", "cached keys, values", old, column=1, row=2, kind="data")
    longer = f"(1, {heads}, {cached + 1}, {head_width})"
    diagram.box("all", "all keys, values", longer, column=2, row=1, kind="data")
    diagram.box("attention", "attention", new, column=3, row=0, kind="operation")
    diagram.box("out", "output", f"(1, 1, {heads * head_width})", column=4, row=0, kind="trained")
    diagram.arrow("x", "q")
    diagram.arrow("x", "kv")
    diagram.arrow("kv", "all", "appended")
    diagram.arrow("cache", "all")
    diagram.arrow("all", "cache", "replaces")
    diagram.arrow("q", "attention")
    diagram.arrow("all", "attention")
    diagram.arrow("attention", "out")
    return diagram


def named_pictures(model: CLIP, scale: Scale, count: int = 3) -> tuple:
    """Test pictures of one thing, named by a CLIP: images, pixels (N, 3, S, S), "wanted: predicted (probability)", right or not."""
    pairs, pixel_values, labels = recipes.clip.single_things(scale.image_size, count)
    names = world.known_nouns()
    with torch.no_grad():
        cosines = model.encode_image(pixel_values) @ recipes.clip.noun_classes(model).T
    probabilities = (model.logit_scale.exp() * cosines).softmax(-1)
    best = probabilities.argmax(-1)
    captions = [
        f"{names[label]}: CLIP says {names[noun]} ({row[noun]:.0%})"
        for label, noun, row in zip(labels.tolist(), best.tolist(), probabilities.detach())
    ]
    return pairs.images(range(count)), pixel_values, captions, (best == labels).tolist()


def weight_on_object(image: np.ndarray, weights: Tensor) -> float:
    """The largest weight of any head on a patch that the object fills for the most part. image (S, S, 3), weights (H, patches).

    The object is what has another colour than the picture's first corner.
    """
    side = round(weights.shape[1] ** 0.5)
    size = len(image) // side
    differs = torch.from_numpy((image != image[0, 0]).any(-1)).float()
    share = differs.reshape(side, size, side, size).mean((1, 3)).flatten()
    return weights[:, share > 0.5].max().item()


class StudentLayer(nn.Module):
    """A layer called with (x, allowed), in the place of the package's Attention and with its weights."""

    def __init__(self, layer: nn.Module, attention: Attention):
        super().__init__()
        self.layer = layer
        key, value = attention.key_value.weight.chunk(2)
        key_bias, value_bias = attention.key_value.bias.chunk(2)
        weights = {
            "query.weight": attention.query.weight,
            "query.bias": attention.query.bias,
            "key.weight": key,
            "key.bias": key_bias,
            "value.weight": value,
            "value.bias": value_bias,
            "output.weight": attention.out.weight,
            "output.bias": attention.out.bias,
        }
        layer.load_state_dict(weights)

    def forward(
        self, x: Tensor, context: None = None, mask: Tensor | None = None, cache: None = None
    ) -> Tensor:
        length = x.shape[1]
        allowed = torch.ones(1, 1, length, length).bool() if mask is None else mask
        return self.layer(x, allowed)


def with_attention(model: CLIP, layer: Callable[[int, int], nn.Module]) -> CLIP:
    """A copy of a CLIP in which every attention layer is `layer(width, heads)`, with CLIP's weights."""
    copied = copy.deepcopy(model)
    for transformer in (part for part in copied.modules() if isinstance(part, Transformer)):
        for block in transformer.blocks:
            width = block.attention.out.out_features
            block.attention = StudentLayer(layer(width, block.attention.heads), block.attention)
        transformer.forward_at = _at_positions(transformer)  # every position, then those asked for
    return copied.eval()


def _at_positions(transformer: Transformer) -> Callable[..., Tensor]:
    def forward_at(x: Tensor, positions: Tensor, mask: Tensor | None = None) -> Tensor:
        return transformer(x, mask)[torch.arange(len(x)), positions]

    return forward_at


def saturation(attention: Callable) -> dict[str, dict[str, dict[int, float]]]:
    """By the width of a head, for 64 random keys: the largest weight, and the mean derivative of a weight by its score."""
    largest, slope = ({"divided by √d": {}, "not divided": {}} for _ in range(2))
    generator = torch.Generator().manual_seed(0)
    for width in SEQUENTIAL_WIDTHS:
        q, k = torch.randn(2, 1, 1, 64, width, generator=generator)
        for name, factor in (("divided by √d", 1.0), ("not divided", math.sqrt(width))):
            weights = attention(q * factor, k, k)[1]
            largest[name][width] = weights.amax(-1).mean().item()
            slope[name][width] = (weights * (1 - weights)).sum(-1).mean().item()
    return {"largest of 64 weights": largest, "sum of the derivatives": slope}


def cost(function: Callable, length: int) -> tuple[float, float]:
    """Milliseconds of forward and backward, and MiB that forward stores for backward, for 4 heads of width 32."""
    stored: dict[int, int] = {}
    inputs = [torch.randn(1, 4, length, 32, requires_grad=True) for _ in range(3)]

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        stored[storage.data_ptr()] = (
            storage.nbytes()
        )  # one that is stored for two operations counts once
        return tensor

    best = math.inf
    for _ in range(3):
        stored.clear()
        start = time.perf_counter()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = function(*inputs)
        out.sum().backward()
        best = min(best, time.perf_counter() - start)
    return 1e3 * best, sum(stored.values()) / 2**20


def costs(attention: Callable, lengths: Sequence[int]) -> dict[str, dict[str, dict[int, float]]]:
    """{"milliseconds": {"explicit": {length: ...}, "fused": ...}, "MiB stored for backward": ...}."""
    functions = {
        "explicit": lambda q, k, v: attention(q, k, v)[0],
        "fused": scaled_dot_product_attention,
    }
    measured = {
        name: {length: cost(function, length) for length in lengths}
        for name, function in functions.items()
    }
    return {
        what: {
            name: {length: pair[place] for length, pair in points.items()}
            for name, points in measured.items()
        }
        for place, what in enumerate(("milliseconds", "MiB stored for backward"))
    }


def _between(values: Sequence[float]) -> str:
    """The smallest and the largest of some numbers, or one if they are the same: "2.0", "1.7 to 4.0"."""
    return " to ".join(dict.fromkeys(f"{value:.1f}" for value in (min(values), max(values))))


def growth(points: Mapping[int, float]) -> str:
    """By what factors the values grow from one length to the next: {length: value} -> "3.1 to 3.8"."""
    values = list(points.values())
    return _between([later / value for value, later in zip(values, values[1:])])


def ratios(times: Mapping[str, Mapping[int, float]]) -> str:
    """How many times as long explicit attention takes as fused attention, over all lengths: "1.7 to 4.0"."""
    return _between([times["explicit"][length] / time for length, time in times["fused"].items()])


def cost_figure(measured: Mapping[str, Mapping], xlabel: str, ylog: bool = True):
    """One panel of curves for each quantity, under each other."""
    panels = (
        plots.curves(series, xlabel, what, xlog=True, ylog=ylog)
        for what, series in measured.items()
    )
    return plots.stack_figures(*panels)


def kernels(masked_attention: Callable, masks: Mapping[str, Mask], scale: Scale) -> Markdown:
    """The largest difference between explicit attention and each fused kernel, for each mask, as a table."""
    trouble = "not at scale smoke" if scale.name == "smoke" else compiler_trouble()
    lines = ["| mask | explicit − SDPA | explicit − FlexAttention |", "|---|---|---|"]
    for name, mask in masks.items():
        q, k, v = (torch.randn(1, 2, length, 16) for length in (mask.queries, mask.keys, mask.keys))
        explicit = masked_attention(q, k, v, mask.to_bool())
        difference = (explicit - attend(q, k, v, mask.to_bool())).abs().max().item()
        flex = "not run"
        if not trouble and name == FLEX_MASK:
            flex = f"{(explicit - attend(q, k, v, mask.to_block_mask())).abs().max().item():.0e}"
        lines.append(f"| {name} | {difference:.0e} | {flex} |")
    if trouble and scale.name != "smoke":
        lines.append(
            "\nFlexAttention was skipped: it is compiled when first used, which needs a C++ compiler and Python's "
            f"headers. Here: {trouble} On Debian and Ubuntu: `sudo apt install g++ python3-dev`. Nothing else needs it."
        )
    return Markdown("\n".join(lines))


def generation_times(
    layer: nn.Module, step: Callable, lengths: Sequence[int]
) -> dict[str, dict[int, float]]:
    """Milliseconds to run a layer over a sequence token by token: with a cache, and computing everything again each time."""
    width = layer.query.in_features
    names = ("with the cache", "everything again")
    times: dict[str, dict[int, float]] = {name: {} for name in names}
    for length in lengths:
        x = torch.randn(1, length, width)
        causal = torch.ones(length, length).tril().bool()[None, None]

        def with_cache() -> None:
            cache: dict = {}
            for token in x.split(1, dim=1):
                step(layer, token, cache)

        def again() -> None:
            for end in range(1, length + 1):
                layer(x[:, :end], causal[:, :, :end, :end])

        for name, run in zip(names, (with_cache, again)):
            times[name][length] = best_of(run)
    return times


@torch.no_grad()
def best_of(run: Callable[[], None], times: int = 4) -> float:
    """Milliseconds of the fastest of some runs, so that the first one, and what else the machine does, counts little."""
    best = math.inf
    for _ in range(times):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return 1e3 * best
