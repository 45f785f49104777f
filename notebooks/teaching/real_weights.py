"""Instant checks of lesson 10's exercises: names, joined matrices, pixels; and its failure lab."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from teaching.exercises import Mistake, diagnosed

PARTS = {
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "self_attn.q_proj": "attention.query",
    "self_attn.out_proj": "attention.out",
    "mlp.fc1": "feedforward.0",
    "mlp.fc2": "feedforward.2",
}
"""Parts of a block: transformers' names -> ours."""


def ours(name: str) -> str:
    """vision_model.encoder.layers.3.mlp.fc1.weight -> vision.transformer.blocks.3.feedforward.0.weight"""
    tower, _, _, number, rest = name.split(".", 4)
    part, kind = rest.rsplit(".", 1)
    return f"{tower.removesuffix('_model')}.transformer.blocks.{number}.{PARTS[part]}.{kind}"


def renamed(answer: Callable[[str], str]) -> str:
    """Exercise 1: renamed(transformers' name of a parameter in a block) -> our name."""
    names = [
        f"{tower}_model.encoder.layers.{number}.{part}.{kind}"
        for tower in ("vision", "text")
        for number in (0, 1, 10, 11)
        for part in PARTS
        for kind in ("weight", "bias")
    ]
    got = {name: answer(name) for name in names}
    for name, made in got.items():
        if made == ours(name):
            continue
        wanted = ours(name)
        if made is None:
            raise Mistake("renamed() returned None. Did you forget the return?")
        if not isinstance(made, str):
            raise Mistake(f"renamed() returned a {type(made).__name__}; expected the name as text.")
        pieces, right = made.split("."), wanted.split(".")
        reason = (
            "nothing was renamed."
            if made == name
            else "the ending is lost: weight and bias are two tensors."
            if not made.endswith(("weight", "bias"))
            else "the ending changed: weight stays weight, bias stays bias."
            if pieces[-1] != right[-1]
            else "the tower is the wrong one, or still has '_model'."
            if pieces[0] != right[0]
            else "another block's number: replace whole pieces between dots, or 10 and 11 lose a digit."
            if len(pieces) < 4 or pieces[3] != right[3]
            else "the block is right, the part in it is not."
        )
        raise Mistake(f"{name}: {reason} Found {made}, expected {wanted}.")
    return "Every name has its place: strict loading would tell of each one that has not."


def parted(answer: Callable[[Tensor], Sequence[Tensor]]) -> str:
    """Exercise 2: parted(qkv (3 * D, D), BLIP's fused matrix) -> (query (D, D), key_value (2 * D, D))."""
    qkv = torch.randn(12, 4, generator=torch.Generator().manual_seed(torch.seed() % 2**31))
    got = answer(qkv.clone())
    if (
        not isinstance(got, (tuple, list))
        or len(got) != 2
        or not all(isinstance(part, Tensor) for part in got)
    ):
        raise Mistake(
            f"found {len(got) if isinstance(got, (tuple, list)) else type(got).__name__}; expected two tensors: query, "
            "and key and value as one."
        )
    wanted = (qkv[:4], qkv[4:])
    if all(
        mine.shape == right.shape and torch.equal(mine, right) for mine, right in zip(got, wanted)
    ):
        return (
            "The first third asks, the rest is asked. In which order a fused matrix holds them is a convention that one must "
            "know."
        )
    threads = qkv.unflatten(0, (4, 3))
    likely = {
        "that is the transposed matrix: nn.Linear's weight is (out, in) on both sides.": (
            qkv[:4].T,
            qkv[4:].T,
        ),
        "the query is the last third: BLIP's order is query, key, value.": (qkv[8:], qkv[:8]),
        "value and key are exchanged.": (qkv[:4], torch.cat([qkv[8:], qkv[4:8]])),
        "the rows are taken in turns (0, 3, 6, ...); they stand in three blocks, one after the other.": (
            threads[:, 0],
            torch.cat([threads[:, 1], threads[:, 2]]),
        ),
        "key and value stand beside each other; they must stand below each other: dim=0.": (
            qkv[:4],
            torch.cat([qkv[4:8], qkv[8:]], dim=1),
        ),
        "the query has two thirds, key and value share one.": (qkv[:8], qkv[8:]),
    }
    raise Mistake(
        next(
            (
                name
                for name, made in likely.items()
                if all(
                    mine.shape == right.shape and torch.equal(mine, right)
                    for mine, right in zip(got, made)
                )
            ),
            f"shapes {tuple(got[0].shape)} and {tuple(got[1].shape)}; expected {tuple(wanted[0].shape)} and "
            f"{tuple(wanted[1].shape)}, the first third of the rows and the others.",
        )
    )


def prepared(answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> str:
    """Exercise 3: prepared(picture (H, W, 3) uint8, mean (3,), std (3,)) -> (3, H, W) float, as a checkpoint expects it."""
    generator = torch.Generator().manual_seed(torch.seed() % 2**31)
    picture = torch.randint(256, (5, 6, 3), generator=generator, dtype=torch.uint8)
    mean, std = torch.tensor([0.48, 0.46, 0.41]), torch.tensor([0.27, 0.26, 0.28])
    got = answer(picture.clone(), mean.clone(), std.clone())
    if not isinstance(got, Tensor) or not got.is_floating_point():
        raise Mistake(
            f"found {got.dtype if isinstance(got, Tensor) else type(got).__name__}; expected a float tensor."
        )
    share = picture.permute(2, 0, 1).float() / 255
    centre, width = mean[:, None, None], std[:, None, None]
    wanted = (share - centre) / width
    if got.shape != wanted.shape:
        raise Mistake(
            f"found {tuple(got.shape)}; expected {tuple(wanted.shape)}: channels come first."
        )
    if torch.allclose(got, wanted, atol=1e-5):
        return "The checkpoint's own mean and deviation, channel by channel."
    likely = {
        "the pixels are still 0 to 255 when the mean is taken away: divide by 255 first.": (
            share * 255 - centre
        )
        / width,
        "that is the course's way, -1 to 1; this checkpoint was trained with another mean and deviation.": share
        * 2
        - 1,
        "the mean is taken away, but nothing is divided by the deviation.": share - centre,
        "divided by the deviation without taking the mean away.": share / width,
        "multiplied by the deviation; divide by it.": (share - centre) * width,
        "red and blue are exchanged: this picture is RGB, as PIL gives it.": (
            (share - centre) / width
        ).flip(0),
        "the channels have each other's mean: is the first axis the channel?": (
            share - centre.flip(0)
        )
        / width.flip(0),
        "the picture is scrambled: reshape does not move axes; permute(2, 0, 1) does.": (
            picture.reshape(3, 5, 6).float() / 255 - centre
        )
        / width,
    }
    raise Mistake(
        next(
            (name for name, made in likely.items() if torch.allclose(got, made, atol=1e-4)),
            "expected (picture / 255 - mean) / std, channel by channel.",
        )
    )


def diagnosis(answer: dict[str, str]) -> str:
    """Failure lab: {'A': cause, 'B': ..., 'C': ...} for three checkpoints that loaded without an error."""
    truth = {"A": "activation", "B": "end", "C": "pixel_values"}
    hints = {
        "A": "pictures and texts are both a little wrong, every one of them. What do both towers use in every block?",
        "B": "one kind of text is exactly right. Which, and what is different about the others?",
        "C": "the texts are exactly right, so the weights are in their places. What comes in at the other side?",
    }
    return diagnosed(
        answer,
        truth,
        hints,
        "Nothing was raised in any of the three: names and shapes were right. Only numbers "
        "beside numbers show it.",
    )
