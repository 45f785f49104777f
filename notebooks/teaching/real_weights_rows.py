"""Lesson 15: the check of the exercise on rows for new words."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import real_weights_reference as reference
from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import driver_source


def run_grow(target, table, related):
    """Driver: [weights, does it learn, is it a module, is the old table as it was?]"""
    import torch

    old = torch.nn.Embedding.from_pretrained(table.clone(), freeze=False)
    found = target(old, related)
    kept = torch.equal(old.weight.detach(), table)
    if not isinstance(found, torch.nn.Embedding):
        return [found.detach() if isinstance(found, torch.Tensor) else found, False, False, kept]
    return [found.weight.detach(), found.weight.requires_grad, True, kept]


def grow_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """A table, and for each of four new words the rows of related ones, once none."""
    rows, width = number(generator, 6, 9), number(generator, 3, 5)
    chosen = torch.randperm(rows, generator=generator).tolist()
    return [normal(generator, rows, width), [chosen[:2], [], chosen[2:3], chosen[1:4]]], {}


def grown(table: Tensor, related: list, row: Callable, arrange=lambda old, new: [old, new]) -> list:
    """What run_grow gives for another rule for new rows: row(table, ids)."""
    new = torch.stack([row(table, ids) for ids in related])
    return [torch.cat(arrange(table, new)), True, True, True]


def mean_of(table: Tensor, ids: list) -> Tensor:
    return table[ids].mean(0) if ids else table.mean(0)


GROW_MISTAKES = {
    "a word without related ones starts at zero; wanted is the mean of all rows.": partial(
        grown, row=lambda table, ids: table[ids].mean(0) if ids else torch.zeros_like(table[0])
    ),
    "rows of related words are added; take their mean.": partial(
        grown, row=lambda table, ids: table[ids].sum(0) if ids else table.mean(0)
    ),
    "only the first related word counts.": partial(
        grown, row=lambda table, ids: table[ids[0]] if ids else table.mean(0)
    ),
    "every new row is the mean of all rows.": partial(grown, row=lambda table, _: table.mean(0)),
    "the new rows stand before the old ones, so every known word changes its number.": partial(
        grown, row=mean_of, arrange=lambda old, new: [new, old]
    ),
    "the new rows alone are returned; the old ones come first.": partial(
        grown, row=mean_of, arrange=lambda old, new: [new]
    ),
    "new rows are zero: read `related`.": partial(
        grown, row=lambda table, _: torch.zeros_like(table[0])
    ),
    "the values are right, but the new table doesn't learn: it is frozen.": (
        lambda *args: [grown(*args, row=mean_of)[0], False, True, True]
    ),
    "the values are right, but that is a tensor; wanted is an nn.Embedding.": (
        lambda *args: [grown(*args, row=mean_of)[0], False, False, True]
    ),
    "the old table was changed; leave it as it is.": (
        lambda *args: [*grown(*args, row=mean_of)[:3], False]
    ),
}


def explain_grow(got: object, wanted: list, table: Tensor, related: list) -> str | None:
    """Old rows that changed, and random new ones."""
    if not isinstance(got, list) or len(got) != 4 or not isinstance(got[0], Tensor):
        return None
    if got[0].shape != wanted[0].shape:
        return f"found {tuple(got[0].shape)}; expected {tuple(wanted[0].shape)}: one row per entry."
    if not torch.equal(got[0][: len(table)], table):
        return "the rows of known words changed; copy them."
    if got[0].isnan().any():
        return "a new row is NaN: an empty list has no mean; there take the mean of all old rows."
    return (
        "the known words' rows are right, the new ones are not: the mean of the rows in each entry."
    )


EXERCISES = {
    "grow_embedding": Exercise(
        "Known words keep their rows, and new ones begin near words of their kind.",
        (
            rule(
                "grow_embedding",
                grow_inputs,
                partial(grown, row=mean_of),
                GROW_MISTAKES,
                driver=driver_source(run_grow),
                explain=explain_grow,
            ),
        ),
        reference=reference.grow_embedding,
    ),
}
