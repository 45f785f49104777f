"""Lesson 12: the checks of the exercises on films: which frames, and which time embeddings."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from teaching import few_shot_reference as reference
from teaching.exercises import Exercise, gradient_rule, normal, number, rule


def middles(total: int, count: int) -> list[int]:
    """The middle frames, in whole numbers."""
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def uneven(total: int, count: int) -> bool:
    """Is no middle at a frame's edge, where rounding would decide?"""
    return all((2 * i + 1) * total % (2 * count) for i in range(count))


def frames_inputs(generator: torch.Generator) -> tuple[list, dict]:
    while True:
        total, count = number(generator, 25, 90), number(generator, 4, 8)
        if uneven(total, count):
            return [total, count], {}


def short_film(generator: torch.Generator) -> tuple[list, dict]:
    while True:
        total, count = number(generator, 3, 6), number(generator, 7, 11)
        if uneven(total, count):
            return [total, count], {}


def spaced(total: int, count: int) -> list[int]:
    return [round(i * (total - 1) / (count - 1)) for i in range(count)]


FRAME_MISTAKES: dict = {
    "the first frame of each part is taken; its middle is wanted.": lambda t, c: [
        i * t // c for i in range(c)
    ],
    "the last frame of each part is taken; its middle is wanted.": lambda t, c: [
        (i + 1) * t // c - 1 for i in range(c)
    ],
    "the first and the last frame are taken, and others between: take the middles of equal parts.": (
        spaced,
        lambda t, c: [int(i * (t - 1) / (c - 1)) for i in range(c)],
    ),
    "these are the first frames of the film, not frames of all its parts.": lambda t, c: list(
        range(c)
    ),
    "these are frames from the middle of the film alone.": lambda t, c: [
        t // 2 - c // 2 + i for i in range(c)
    ],
    "the step was rounded down before multiplying, so the film's end is left out.": (
        lambda t, c: [t // c * i + t // c // 2 for i in range(c)],
        lambda t, c: [int((i + 0.5) * (t // c)) for i in range(c)],
    ),
    "the parts end one frame early: the film has `total` frames, not total - 1.": lambda t, c: [
        int((i + 0.5) * (t - 1) / c) for i in range(c)
    ],
    "these are the edges of count + 1 parts; the middles of `count` parts are wanted.": (
        lambda t, c: [int((i + 1) * t / (c + 1)) for i in range(c)]
    ),
    "the first part is missing: i begins at 0.": lambda t, c: [
        int((i + 1.5) * t / c) for i in range(c)
    ],
    "these are rounded up: a frame's number is the whole part.": lambda t, c: [
        m + 1 for m in middles(t, c)
    ],
    "this is one frame too many.": lambda t, c: [*middles(t, c), t - 1],
    "the order is reversed: time runs forwards.": lambda t, c: middles(t, c)[::-1],
    "a frame's number is a whole number; these are fractions.": lambda t, c: [
        (i + 0.5) * t / c for i in range(c)
    ],
}


def rounded(got: object, wanted: list, total: int, count: int) -> str | None:
    if isinstance(got, Tensor):
        return "return a list of whole numbers; .tolist() makes one of a tensor."
    if got == [round((i + 0.5) * total / count) for i in range(count)]:
        return "frame numbers are the whole part; yours are rounded to the nearest, also up."
    return None


def more_frames(generator: torch.Generator) -> tuple[list, dict]:
    rows = number(generator, 4, 6)
    return [normal(generator, rows, 3), number(generator, rows + 2, 3 * rows)], {}


def as_many(generator: torch.Generator) -> tuple[list, dict]:
    rows = number(generator, 5, 8)
    return [normal(generator, rows, 3), rows], {}


def fewer_frames(generator: torch.Generator) -> tuple[list, dict]:
    rows = number(generator, 5, 8)
    return [normal(generator, rows, 3), number(generator, 2, rows - 2)], {}


def interpolated(table: Tensor, count: int, **options) -> Tensor:
    return interpolate(table.T[None], count, **options)[0].T


def places(table: Tensor, count: int, place: Tensor) -> Tensor:
    before = place.long().clamp(max=len(table) - 2)
    share = (place - before)[:, None]
    return (1 - share) * table[before] + share * table[before + 1]


def ends(step: Callable) -> tuple[Callable, ...]:
    """Frame i at place i * step(rows, count): what follows the last row is extrapolated, or the last row."""

    def answer(clamped: bool) -> Callable:
        def rows_at(table, count):
            place = torch.arange(count) * step(len(table), count)
            return places(table, count, place.clamp(max=len(table) - 1) if clamped else place)

        return rows_at

    return answer(False), answer(True)


TIME_MISTAKES: dict = {
    "rows are repeated; between two rows of the table the embedding is a mixture of both.": (
        lambda t, c: interpolated(t, c, mode="nearest"),
        lambda t, c: t[torch.linspace(0, len(t) - 1, c).round().long()],
        lambda t, c: t[torch.linspace(0, len(t) - 1, c).long()],
    ),
    "the first frame must get the first row and the last frame the last one (align_corners=True).": (
        lambda t, c: interpolated(t, c, mode="linear", align_corners=False)
    ),
    "the table begins again after its end; a later frame would look early.": lambda t, c: t[
        torch.arange(c) % len(t)
    ],
    "all frames behind the table get its last row.": lambda t, c: t[
        torch.arange(c).clamp(max=len(t) - 1)
    ],
    "frames behind the table get zeros.": lambda t, c: torch.cat([t, t.new_zeros(c - len(t), 3)]),
    "the place is scaled by rows and frames; there is one step fewer than rows, and than frames.": (
        ends(lambda rows, c: rows / c)
    ),
    "the rows were spread over count frames; there is one step fewer than frames.": (
        ends(lambda rows, c: (rows - 1) / c)
    ),
    "a step is as if the table had one row more; there is one step fewer than rows.": (
        ends(lambda rows, c: rows / (c - 1))
    ),
    "both rows count half; the nearer one counts more.": lambda t, c: halves(t, c),
    "the shares of both rows are exchanged.": lambda t, c: swapped_shares(t, c),
    "the table isn't longer than before.": lambda t, c: t,
}


def halves(table: Tensor, count: int) -> Tensor:
    before = (torch.arange(count) * (len(table) - 1) / (count - 1)).long().clamp(max=len(table) - 2)
    return (table[before] + table[before + 1]) / 2


def swapped_shares(table: Tensor, count: int) -> Tensor:
    place = torch.arange(count) * (len(table) - 1) / (count - 1)
    before = place.long().clamp(max=len(table) - 2)
    share = (place - before)[:, None]
    return share * table[before] + (1 - share) * table[before + 1]


EXERCISES = {
    "uniform_frames": Exercise(
        "One frame of each part, whatever the film's length.",
        (
            rule(
                "uniform_frames",
                frames_inputs,
                reference.uniform_frames,
                FRAME_MISTAKES,
                explain=rounded,
            ),
            rule(
                "uniform_frames",
                short_film,
                reference.uniform_frames,
                {
                    "a short film shows frames several times; it still gives `count` of them.": (
                        lambda t, c: list(range(t))
                    )
                },
                explain=rounded,
                rounds=2,
            ),
        ),
        reference.uniform_frames,
    ),
    "time_embeddings": Exercise(
        "The order of frames stays, at any length.",
        (
            rule("time_embeddings", more_frames, reference.time_embeddings, TIME_MISTAKES),
            rule(
                "time_embeddings",
                fewer_frames,
                reference.time_embeddings,
                {
                    "up to the table's length its first rows are used as they are; yours are squeezed.": (
                        lambda t, c: interpolated(t, c, mode="linear", align_corners=True)
                    ),
                    "a shorter film gets the table's first rows; yours gets the last.": (
                        lambda t, c: t[-c:]
                    ),
                    "for fewer frames than rows, only the first rows are wanted.": lambda t, c: t,
                },
                rounds=2,
            ),
            rule("time_embeddings", as_many, reference.time_embeddings, rounds=1),
            gradient_rule(
                "time_embeddings",
                more_frames,
                reference.time_embeddings,
                1,
                "the values are right, but the table gets no gradient: it is trained.",
            ),
        ),
        reference.time_embeddings,
    ),
}
