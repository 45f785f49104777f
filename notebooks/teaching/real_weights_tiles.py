"""Lesson 15: the check of the exercise on training and test squares that share no pixel."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import real_weights_reference as reference
from teaching.exercises import Exercise, number, rule, rule_on
from vlmgrader.checks import driver_source


def tile_inputs(generator: torch.Generator, shape: str) -> tuple[list, dict]:
    """A wide, tall or square box away from the origin, the side of a square, and a step that doesn't divide the box."""
    side, step = number(generator, 5, 7), number(generator, 3, 4)
    long = 2 * (side + number(generator, 5, 12)) + number(generator, 0, 1)
    short = side + number(generator, 4, 9)
    left, top = number(generator, 3, 9), number(generator, 11, 19)
    width, height = {"wide": (long, short), "tall": (short, long), "square": (long, long)}[shape]
    return [[left, top, left + width, top + height], side, step], {}


def narrow_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """A box whose halves are narrower than a square."""
    side = number(generator, 6, 9)
    return [[5, 7, 5 + 2 * side - 2, 7 + side], side, 2], {}


def exact_inputs(generator: torch.Generator) -> tuple[list, dict]:
    side = number(generator, 6, 9)
    return [[5, 7, 5 + 2 * side, 7 + side], side, 2], {}


def run_tiles(target, box, side, step):
    """Driver: both lists of corners, sorted, as (n, 2); the word "floats" in place of corners that are no integers."""
    import torch

    def ordered(corners):
        if not isinstance(corners, torch.Tensor) or corners.dim() != 2 or corners.shape[1] != 2:
            return corners
        if len(corners) and corners.is_floating_point():
            return "floats"
        return torch.tensor(sorted(corners.long().tolist())).reshape(-1, 2)

    found = target(tuple(box), side, step)
    return [ordered(part) for part in found] if isinstance(found, (list, tuple)) else found


def tiles(
    box: list,
    side: int,
    step: int,
    halves: Callable | None = None,
    room: int = 1,
    origin: bool = False,
    order: Callable = lambda parts: parts,
    half: Callable = lambda start, end: (start + end) // 2,
) -> list[Tensor]:
    """split_tiles with other choices. room: how far beyond the last corner that fits; origin: corners within the box."""
    left, top, right, bottom = box
    wide = right - left >= bottom - top
    x, y = half(left, right), half(top, bottom)
    across = ([left, top, x, bottom], [x, top, right, bottom])
    down = ([left, top, right, y], [left, y, right, bottom])
    parts = halves(wide, across, down) if halves else across if wide else down
    found = []
    for x1, y1, x2, y2 in parts:
        xs = range(x1, x2 - side + room, step)
        ys = range(y1, y2 - side + room, step)
        corners = [(x - left * origin, y - top * origin) for x in xs for y in ys]
        found.append(torch.tensor(sorted(corners)).reshape(-1, 2))
    return order(found)


def overlapping(box: list, side: int, step: int) -> list[Tensor]:
    """All tiles of the box, by whether their corner lies in the first half."""
    left, top, right, bottom = box
    corners, _ = tiles(box, side, step, lambda *_: ([*box], [*box]))
    axis = 0 if right - left >= bottom - top else 1
    first = corners[:, axis] < ((left + right) // 2, (top + bottom) // 2)[axis]
    return [corners[first], corners[~first]]


def alternating(box: list, side: int, step: int) -> list[Tensor]:
    """Every second tile of the whole box."""
    corners, _ = tiles(box, side, step, lambda *_: ([*box], [*box]))
    return [corners[::2], corners[1::2]]


def one_grid(box: list, side: int, step: int) -> list[Tensor]:
    """The grid starts at the box's corner alone, and goes on in the second half."""
    left, top, right, bottom = box
    corners, _ = tiles(box, side, step, lambda *_: ([*box], [*box]))
    axis = 0 if right - left >= bottom - top else 1
    middle = ((left + right) // 2, (top + bottom) // 2)[axis]
    return [corners[corners[:, axis] + side <= middle], corners[corners[:, axis] >= middle]]


def turned(box: list, side: int, step: int) -> list[Tensor]:
    """Corners (y, x)."""
    return [
        torch.tensor(sorted(part.flip(1).tolist())).reshape(-1, 2)
        for part in tiles(box, side, step)
    ]


TILE_MISTAKES = {
    "each half has a grid of its own, which starts at the half's corner; here one grid covers the box.": (
        one_grid
    ),
    "x and y are exchanged: a corner is (x, y).": turned,
    "training and test squares overlap: a square belongs to a half only if all of it lies there.": (
        overlapping
    ),
    "every second square is for testing, so it shares pixels with its neighbours.": alternating,
    "the box is cut across its shorter side; cut the longer one.": partial(
        tiles, halves=lambda wide, across, down: down if wide else across
    ),
    "all boxes are cut into left and right; a tall one is cut into upper and lower.": partial(
        tiles, halves=lambda wide, across, down: across
    ),
    "a square box is cut into upper and lower; wanted is left and right.": partial(
        tiles, halves=lambda wide, across, down: down
    ),
    "the halves are exchanged: the first one is for training.": partial(
        tiles, order=lambda parts: parts[::-1]
    ),
    "some squares reach beyond their half: the last corner is end - side.": partial(
        tiles, room=2
    ),
    "some squares reach far beyond their half: leave room for `side`.": (
        lambda box, side, step: tiles(box, side, step, room=side)
    ),
    "a square that just fits at the end is missing: range stops before its end.": partial(
        tiles, room=0
    ),
    "corners are counted from the box; wanted are pixels of the photograph.": partial(
        tiles, origin=True
    ),
    "the middle is rounded up; wanted is (start + end) // 2.": partial(
        tiles, half=lambda start, end: (start + end + 1) // 2
    ),
    "half the side is no place in the photograph: the middle is (start + end) // 2.": partial(
        tiles, half=lambda start, end: (end - start) // 2
    ),
    "these are the squares' centres; wanted are their corners.": lambda box, side, step: [
        part + side // 2 for part in tiles(box, side, step)
    ],
    "the same squares are in both parts.": partial(
        tiles, halves=lambda wide, across, down: (across[0],) * 2 if wide else (down[0],) * 2
    ),
}  # fmt: skip

SHAPES = {
    "wide": ("all boxes are cut", "a square box"),
    "tall": ("shorter side", "a square box"),
    "square": ("all boxes are cut", "shorter side"),
}
"""Shape of a box -> mistakes that can't be seen on it, or have another name there."""


def explain_tiles(got: object, wanted: list, box: list, side: int, step: int) -> str | None:
    """Corners that are no integers, and squares of both parts that share a pixel."""
    if not isinstance(got, list) or len(got) != 2:
        return None
    if "floats" in [part for part in got if isinstance(part, str)]:
        return "corners are numbers of pixels: use tensors of integers, not of floats."
    if any(not isinstance(part, Tensor) or part.shape[1:] != (2,) for part in got):
        return None
    near = (got[0][:, None] - got[1][None]).abs().amax(-1) < side
    if not near.any():
        return None
    first, second = near.nonzero()[0].tolist()
    return (
        f"the training square at {tuple(got[0][first].tolist())} and the test square at "
        f"{tuple(got[1][second].tolist())} share pixels."
    )


EXERCISES = {
    "split_tiles": Exercise(
        "No pixel of a training square is in a test square.",
        (
            *(
                rule(
                    "split_tiles",
                    partial(tile_inputs, shape=shape),
                    tiles,
                    {
                        message: mistake
                        for message, mistake in TILE_MISTAKES.items()
                        if not any(words in message for words in elsewhere)
                    },
                    driver=driver_source(run_tiles),
                    explain=explain_tiles,
                )
                for shape, elsewhere in SHAPES.items()
            ),
            *(
                rule_on(
                    "split_tiles",
                    inputs,
                    tiles,
                    {
                        "where no square fits, an empty (0, 2) tensor is wanted.": lambda *_: [
                            torch.tensor([]),
                            torch.tensor([]),
                        ],
                        "a square that just fits is missing.": partial(tiles, room=0),
                    },
                    driver=driver_source(run_tiles),
                    explain=explain_tiles,
                    rounds=1,
                )
                for inputs in (narrow_inputs, exact_inputs)
            ),
        ),
        reference=reference.split_tiles,
    ),
}  # fmt: skip
