"""Lesson 15, real weights: exercises (names, joined matrices, pixels), quizzes and the failure lab."""

from __future__ import annotations

import torch
from torch import Tensor

from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import driver_source

PARTS = {
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "self_attn.q_proj": "attention.query",
    "self_attn.out_proj": "attention.out",
    "mlp.fc1": "feedforward.0",
    "mlp.fc2": "feedforward.2",
}
"""Parts of a block: transformers' names -> ours."""


def our_name(name: str) -> str:
    """vision_model.encoder.layers.3.mlp.fc1.weight -> vision.transformer.blocks.3.feedforward.0.weight"""
    tower, _, _, index, rest = name.split(".", 4)
    part, kind = rest.rsplit(".", 1)
    return f"{tower.removesuffix('_model')}.transformer.blocks.{index}.{PARTS[part]}.{kind}"


def name_inputs(generator: torch.Generator) -> tuple[list, dict]:
    return [
        [
            f"{tower}_model.encoder.layers.{layer}.{part}.{kind}"
            for tower in ("vision", "text")
            for layer in (0, 1, 10, 11)
            for part in PARTS
            for kind in ("weight", "bias")
        ]
    ], {}


def run_names(target, names):
    """Driver: the student's name of each name."""
    return {name: target(name) for name in names}


def explain_names(got: dict, wanted: dict, *_) -> str:
    name = next(name for name in wanted if got[name] != wanted[name])
    found, right = got[name], wanted[name]
    if found is None:
        return "renamed() returned None. Did you forget the return?"
    if not isinstance(found, str):
        return f"renamed() returned a {type(found).__name__}; expected the name as text."
    pieces, rights = found.split("."), right.split(".")
    reason = (
        "nothing was renamed."
        if found == name
        else "the ending is lost: weight and bias are two tensors."
        if not found.endswith(("weight", "bias"))
        else "the ending changed: weight stays weight, bias stays bias."
        if pieces[-1] != rights[-1]
        else "the tower is the wrong one, or still has '_model'."
        if pieces[0] != rights[0]
        else "the part between tower and block is not right: it is 'transformer.blocks'."
        if pieces[1:3] != rights[1:3]
        else "another block's number: replace whole pieces between dots, or 10 and 11 lose a digit."
        if len(pieces) < 4 or pieces[3] != rights[3]
        else "the block is right, the part in it is not."
    )
    return f"{name}: {reason} Found {found}, expected {right}."


def split(qkv: Tensor, order=(0, 1, 2), query: int = 1) -> list[Tensor]:
    """The fused matrix (3 D, D) as [its first `query` thirds, the others], after its thirds are put into an order."""
    thirds = qkv.chunk(3)
    joined = torch.cat([thirds[index] for index in order])
    return [joined[: query * len(thirds[0])], joined[query * len(thirds[0]) :]]


def in_turns(qkv: Tensor) -> list[Tensor]:
    return [qkv[::3], torch.cat([qkv[1::3], qkv[2::3]])]


def qkv_inputs(generator: torch.Generator) -> tuple[list, dict]:
    width = number(generator, 3, 7)
    return [normal(generator, 3 * width, width)], {}


def prepare(
    picture: Tensor, mean: Tensor, std: Tensor, most: float = 255, flip=False, first=True
) -> Tensor:
    """(picture / most - mean) / std, channel by channel, channels first."""
    value = picture.permute(2, 0, 1).float() / most
    value = (value - mean[:, None, None]) / std[:, None, None]
    value = value.flip(0) if flip else value
    return value if first else value.permute(1, 2, 0)


def picture_inputs(generator: torch.Generator) -> tuple[list, dict]:
    height, width = number(generator, 4, 5), number(generator, 6, 7)
    picture = torch.randint(256, (height, width, 3), generator=generator, dtype=torch.uint8)
    return [picture, torch.tensor([0.48, 0.46, 0.41]), torch.tensor([0.27, 0.26, 0.28])], {}


EXERCISES = {
    "renamed": Exercise(
        "Every name has its place: strict loading would tell of each one that has not.",
        (
            rule(
                "my_renamed",
                name_inputs,
                lambda names: {name: our_name(name) for name in names},
                driver=driver_source(run_names),
                explain=explain_names,
                rounds=1,
            ),
        ),
    ),
    "split": Exercise(
        "The first third is the query, the rest key and value. In which order a fused matrix holds them is a convention that "
        "one must know.",
        (
            rule(
                "my_parted",
                qkv_inputs,
                split,
                {
                    "that is the transposed matrix: nn.Linear's weight is (out, in) on both sides.": lambda m: [
                        part.T for part in split(m)
                    ],
                    "the query is the last third: BLIP's order is query, key, value.": lambda m: (
                        split(m, (2, 0, 1))
                    ),
                    "value and key are exchanged.": lambda m: split(m, (0, 2, 1)),
                    "the rows are taken in turns (0, 3, 6, ...); they stand in three blocks, one after the other.": in_turns,
                    "key and value stand beside each other; they must stand below each other: dim=0.": lambda m: [
                        m.chunk(3)[0],
                        torch.cat(m.chunk(3)[1:], dim=1),
                    ],
                    "the query has two thirds, key and value share one.": lambda m: split(
                        m, query=2
                    ),
                    "these are three matrices; key and value stay one, below each other.": lambda m: (
                        list(m.chunk(3))
                    ),
                    "these are key and value; wanted are the query, and key and value as one.": lambda m: (
                        list(m.chunk(3)[1:])
                    ),
                    "key and value are missing: these are query and key.": lambda m: list(
                        m.chunk(3)[:2]
                    ),
                    "the rows are split at a fixed number: the query has a third of them, whatever the width.": tuple(
                        lambda m, n=n: [m[:n], m[n:]] for n in (3, 4, 8)
                    ),
                },
                rounds=5,
            ),
        ),
    ),
    "prepared": Exercise(
        "The checkpoint's own mean and deviation, channel by channel.",
        (
            rule(
                "my_prepared",
                picture_inputs,
                prepare,
                {
                    "channels come first: (3, H, W).": lambda *args: prepare(*args, first=False),
                    "the pixels are still 0 to 255 when the mean is subtracted: divide by 255 first.": lambda *args: (
                        prepare(*args, most=1)
                    ),
                    "that is the course's way, -1 to 1; this checkpoint was trained with another mean and deviation.": lambda p, m, s: (
                        prepare(p, m * 0 + 0.5, s * 0 + 0.5)
                    ),
                    "the mean is subtracted, but nothing is divided by the deviation.": lambda p, m, s: (
                        prepare(p, m, s * 0 + 1)
                    ),
                    "divided by the deviation without subtracting the mean.": lambda p, m, s: (
                        prepare(p, m * 0, s)
                    ),
                    "multiplied by the deviation; divide by it.": lambda p, m, s: prepare(
                        p, m, 1 / s
                    ),
                    "red and blue are exchanged: this picture is RGB, as PIL gives it.": lambda *args: (
                        prepare(*args, flip=True)
                    ),
                    "the channels have each other's mean: is the first axis the channel?": lambda p, m, s: (
                        prepare(p, m.flip(0), s.flip(0))
                    ),
                    "the picture is scrambled: reshape does not move axes; permute(2, 0, 1) does.": lambda p, m, s: (
                        prepare(p.reshape(3, *p.shape[:2]).permute(1, 2, 0), m, s)
                    ),
                    "the pixels are divided by 256; white, 255, should become 1.": lambda *args: (
                        prepare(*args, most=256)
                    ),
                },
            ),
        ),
    ),
}
