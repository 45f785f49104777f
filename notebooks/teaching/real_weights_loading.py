"""Lesson 15: the checks of the exercises on tensors: names of a checkpoint, what doesn't fit, positions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from teaching import real_weights_reference as reference
from teaching.exercises import Exercise, normal, number, pure_rule, rule
from teaching.real_weights_reference import PARTS

THEIRS = (*PARTS, "self_attn.k_proj", "self_attn.v_proj")


def layer_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Tensors of two towers with some layers, of which one has two digits, and tensors outside of layers, in any order."""
    width, layers = number(generator, 2, 4), (1, 2, 10 + number(generator, 0, 2))
    names = [
        f"{tower}_model.encoder.layers.{layer}.{part}.{kind}"
        for tower in ("vision", "text")
        for layer in layers
        for part in THEIRS
        for kind in ("weight", "bias")
    ]
    names += ["vision_model.pre_layrnorm.weight", "text_model.final_layer_norm.bias", "logit_scale"]
    names = [names[index] for index in torch.randperm(len(names), generator=generator)]
    shapes = {name: (width,) if name.endswith("bias") else (width, width) for name in names}
    return [{name: normal(generator, *shape) for name, shape in shapes.items()}], {}


def renamed(change: Callable[[str, Tensor], tuple[str, Tensor] | None]) -> Callable:
    """convert_layers with each (name, tensor) changed; None leaves it out."""

    def convert(source: dict) -> dict:
        pairs = (change(*pair) for pair in reference.convert_layers(source).items())
        return dict(pair for pair in pairs if pair)

    return convert


def joined(source: dict, join: Callable[[Tensor, Tensor], Tensor]) -> dict:
    """convert_layers with another way to join the two halves of key_value."""
    return renamed(
        lambda name, tensor: (
            name,
            join(*tensor.chunk(2)) if "key_value" in name else tensor,
        )
    )(source)


def swapped(name: str, tensor: Tensor, one: str, other: str) -> tuple[str, Tensor]:
    """Two modules of a layer are exchanged."""
    swapped_name = name.replace(f".{one}.", ".?.").replace(f".{other}.", f".{one}.")
    return swapped_name.replace(".?.", f".{other}."), tensor


def values_above(name: str, tensor: Tensor, kind: str) -> tuple[str, Tensor]:
    """In key_value's weights or biases alone the values stand above the keys."""
    wrong = name.endswith(f"key_value.{kind}")
    return name, torch.cat(tensor.chunk(2)[::-1]) if wrong else tensor


LAYER_MISTAKES = {
    "in key_value the values stand above the keys; the keys come first.": partial(
        joined, join=lambda key, value: torch.cat([value, key])
    ),
    "key_value holds the keys twice.": partial(joined, join=lambda key, _: torch.cat([key, key])),
    "key_value holds the values twice.": partial(
        joined, join=lambda _, value: torch.cat([value, value])
    ),
    "keys and values stand side by side; join their rows, one below the other.": partial(
        joined, join=lambda key, value: torch.cat([key, value], dim=-1)
    ),
    "key_value holds the keys alone.": partial(joined, join=lambda key, _: key),
    "in key_value's weights the values stand above the keys; in the biases the order is right.": (
        renamed(partial(values_above, kind="weight"))
    ),
    "in key_value's biases the values stand above the keys; in the weights the order is right.": (
        renamed(partial(values_above, kind="bias"))
    ),
    "rows of keys and values take turns; all rows of the keys come first.": partial(
        joined, join=lambda key, value: torch.stack([key, value], 1).flatten(0, 1)
    ),
    "norm1 and norm2 are exchanged.": renamed(partial(swapped, one="norm1", other="norm2")),
    "query and out are exchanged.": renamed(partial(swapped, one="query", other="out")),
    "feedforward.0 and feedforward.2 are exchanged.": renamed(
        partial(swapped, one="feedforward.0", other="feedforward.2")
    ),
    "matrices are transposed: a Linear's weight is (out, in) in both libraries.": renamed(
        lambda name, tensor: (name, tensor.T if tensor.dim() == 2 else tensor)
    ),
    "there are no biases.": renamed(
        lambda name, tensor: None if name.endswith("bias") else (name, tensor)
    ),
    "the text tower is missing.": renamed(
        lambda name, tensor: None if name.startswith("text") else (name, tensor)
    ),
    "key_value is missing.": renamed(
        lambda name, tensor: None if "key_value" in name else (name, tensor)
    ),
}


def explain_layers(got: object, wanted: dict, source: dict) -> str | None:
    """The first name that is wrong, and how."""
    if not isinstance(got, dict):
        return None
    if outside := sorted(set(got) & set(source)):
        return f"{outside[0]}: this name is still transformers', or belongs to no layer."
    if not (extra := sorted(set(got) - set(wanted))):
        lost = sorted(set(wanted) - set(got))
        return (
            f"{lost[0]} is missing: two tensors got one name, or one was left out."
            if lost
            else None
        )
    name = extra[0]
    lost = next((n for n in wanted if n.rsplit(".", 1)[1:] == name.rsplit(".", 1)[1:]), "")
    if "_model" in name:
        return f"{name}: the tower's name still has '_model'."
    if ".transformer.blocks." not in name:
        return f"{name}: between tower and number stands 'transformer.blocks', as in {lost}."
    if "k_proj" in name or "v_proj" in name:
        return f"{name}: keys and values have one name here, attention.key_value."
    return f"{name}: no parameter of ours has this name; one of ours is {lost}."


def fit_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Tensors of a model and of a checkpoint: two only here, three only there, three of another shape, two with other values."""
    letters = [f"part{index}.weight" for index in torch.randperm(12, generator=generator).tolist()]
    size = number(generator, 2, 4)
    model = {name: torch.zeros(size, size + 1) for name in letters[:9]}
    source = {name: torch.zeros(size, size + 1) for name in letters[2:]}
    source[letters[3]] = torch.zeros(size + 1, size)  # as many numbers, another shape
    source[letters[5]] = torch.zeros(size, size + 2)
    source[letters[7]] = torch.zeros(size + 2, size + 1)
    for letter in letters[4], letters[8]:  # of one shape, as all tensors of two trained models
        source[letter] = 1 + source[letter]
    return [model, source], {}


def report(
    model: dict,
    source: dict,
    order=lambda lists: lists,
    differs=lambda one, other: one.shape != other.shape,
    arrange=sorted,
) -> list:
    """compare_tensors with other choices."""
    lists = [
        [name for name in model if name not in source],
        [name for name in source if name not in model],
        [name for name in model if name in source and differs(model[name], source[name])],
    ]
    return order([arrange(names) for names in lists])


FIT_MISTAKES = {
    "missing and unexpected are exchanged: missing is what the checkpoint lacks.": partial(
        report, order=lambda lists: [lists[1], lists[0], lists[2]]
    ),
    "a tensor with as many numbers can still have another shape: compare shapes.": partial(
        report, differs=lambda one, other: one.numel() != other.numel()
    ),
    "tensors of another shape are not listed.": partial(report, differs=lambda *_: False),
    "the third list holds the names that fit; wanted are those that don't.": partial(
        report, differs=lambda one, other: one.shape == other.shape
    ),
    "the third list holds all common names.": partial(report, differs=lambda *_: True),
    "names of one shape are in the third list because values differ: compare shapes alone.": partial(
        report,
        differs=lambda one, other: one.shape != other.shape or not torch.equal(one, other),
    ),
    "only the first axis is compared.": partial(
        report, differs=lambda one, other: len(one) != len(other)
    ),
    "only the last axis is compared.": partial(
        report, differs=lambda one, other: one.shape[-1] != other.shape[-1]
    ),
    "the lists are not sorted.": partial(report, arrange=list),
    "the lists are sorted backwards.": partial(report, arrange=partial(sorted, reverse=True)),
    "names of another shape stand among the missing ones, too.": partial(
        report, order=lambda lists: [sorted(lists[0] + lists[2]), *lists[1:]]
    ),
}


def position_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Positions of a class token and of a square grid, and another grid."""
    old, new = number(generator, 3, 4), number(generator, 5, 7)
    return [normal(generator, 1 + old**2, number(generator, 2, 3)), new], {}


def resized(
    positions: Tensor, grid: int, mode: str = "bicubic", change: str = "", **options
) -> Tensor:
    """resize_positions with other choices."""
    patches = positions[1:]
    old = round(len(patches) ** 0.5)
    image = patches.T.reshape(1, -1, old, old)
    if change == "scrambled":
        image = patches.reshape(1, -1, old, old)
    image = interpolate(image, size=(grid, grid), mode=mode, **options)[0]
    image = image.transpose(1, 2) if change == "transposed" else image
    rows = image.flatten(1).T
    if change == "end":
        return torch.cat([rows, positions[:1]])
    if change == "mean":
        return torch.cat([positions.mean(0, keepdim=True), rows])
    return rows if change == "lost" else torch.cat([positions[:1], rows])


def as_a_line(positions: Tensor, grid: int) -> Tensor:
    """Interpolated along the sequence, without a grid."""
    line = interpolate(positions[1:].T[None], size=grid**2, mode="linear")[0].T
    return torch.cat([positions[:1], line])


def repeated(positions: Tensor, grid: int) -> Tensor:
    """The old rows, again and again."""
    rows = positions[1:].repeat(grid**2, 1)[: grid**2]
    return torch.cat([positions[:1], rows])


POSITION_MISTAKES = {
    "the class token's position is lost; it stays first, unchanged.": partial(
        resized, change="lost"
    ),
    "the class token's position stands last; it comes first.": partial(resized, change="end"),
    "the class token got another position; its own stays.": partial(resized, change="mean"),
    "that is bilinear interpolation; wanted is bicubic.": partial(resized, mode="bilinear"),
    "the nearest position is copied; wanted is bicubic interpolation.": partial(
        resized, mode="nearest"
    ),
    "that is align_corners=True; the reference has False, the default.": partial(
        resized, align_corners=True
    ),
    "rows and columns are exchanged: patches stand row by row.": partial(
        resized, change="transposed"
    ),
    "the grid is scrambled: the width is the last axis, so transpose before you reshape.": partial(
        resized, change="scrambled"
    ),
    "that is an interpolation along the sequence; neighbours of a patch stand on a grid.": as_a_line,
    "the old positions are repeated; wanted is an interpolation.": repeated,
}


EXERCISES = {
    "convert_layers": Exercise(
        "Every tensor of both towers' layers has its name, and keys and values share one.",
        (
            pure_rule(
                "convert_layers",
                layer_inputs,
                reference.convert_layers,
                LAYER_MISTAKES,
                "the tensors of `source` were changed; make new ones.",
                explain_layers,
            ),
        ),
        reference=reference.convert_layers,
    ),
    "compare_tensors": Exercise(
        "Three lists say whether a checkpoint fits, before anything is copied.",
        (rule("compare_tensors", fit_inputs, report, FIT_MISTAKES),),
        reference=reference.compare_tensors,
    ),
    "resize_positions": Exercise(
        "The class token keeps its position; the patches' positions are an image, resized.",
        (rule("resize_positions", position_inputs, resized, POSITION_MISTAKES),),
        reference=reference.resize_positions,
    ),
}
