"""Lesson 11: the checks of the exercises on the language model around the blocks: where they stand, new words' embeddings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import flamingo_reference as reference
from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import driver_source

# 8. Where blocks stand.


def layers_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """A depth, an interval that doesn't divide it, y, latents, mask."""
    every = number(generator, 2, 3)
    depth = every * number(generator, 2, 3) + number(generator, 1, every - 1)
    y, latents = (normal(generator, 2, 3, 4, dtype=torch.float64) for _ in range(2))
    return [depth, every, y, latents, torch.rand(2, 3, 3, generator=generator) < 0.5], {}


def run_run_layers(target, depth, every, y, latents, mask):
    """Driver: target on layers and blocks that are simple functions, none of which can change places with another."""

    def layer(number):
        return lambda y: (y * (1.1 + 0.05 * number) + 0.3 * number).sin() + y

    def block(number):
        def read(y, latents, mask):
            return y + (0.7 + 0.1 * number) * (mask.to(y.dtype) @ latents).tanh() + 0.2 * number

        return read

    layers = [layer(number) for number in range(depth)]
    blocks = [block(number) for number in range(-(-depth // every))]
    return target(layers, blocks, every, y, latents, mask)


def changed_layers(layers, blocks, every, y, latents, mask, change: str = "") -> Tensor:
    """run_layers, and what it becomes by one mistake."""
    start = y
    stands = {
        "last of group": lambda n: n % every == every - 1,
        "each": lambda n: True,
        "first": lambda n: n == 0,
        "front": lambda n: n < len(blocks),
        "not first": lambda n: n % every == 0 and n > 0,
        "whole groups": lambda n: n % every == 0 and n // every < len(layers) // every,
        "none": lambda n: False,
    }.get(change, lambda n: n % every == 0)
    number = {
        "same block": lambda n: 0,
        "layer's number": lambda n: n % len(blocks),
        "each": lambda n: n // every,
        "front": lambda n: n,
        "backwards": lambda n: -1 - n // every,
    }.get(change, lambda n: n // every)
    if change == "first all":
        for block in blocks:
            y = block(y, latents, mask)
    for n, layer in enumerate(layers):
        if change == "no last group" and n >= len(layers) // every * every:
            break
        if change == "after":
            y = layer(y)
        if stands(n) and change != "first all":
            given = start if change == "old y" else y
            y = blocks[number(n)](given, latents, mask | (change == "no mask"))
            if change == "instead":
                continue
        if change != "after":
            y = layer(y)
    return y


def ran(change: str = "") -> Callable:
    return partial(run_run_layers, partial(changed_layers, change=change))


LAYER_MISTAKES = {
    "the blocks stand after their layer; they stand before it.": ran("after"),
    "each block stands before the last layer of its group; it stands before the first.": ran(
        "last of group"
    ),
    "a block stands before every layer; it is before the first of each `every` layers.": ran(
        "each"
    ),
    "only the first block is used.": ran("first"),
    "the blocks stand before the first layers, one each; they stand `every` layers apart.": ran(
        "front"
    ),
    "all blocks stand before the first layer; they stand `every` layers apart.": ran("first all"),
    "the first layer has no block before it; the first block stands there.": ran("not first"),
    "the last layers are not run: a smaller group at the end counts, too.": ran("no last group"),
    "the last group, which may be smaller, has no block before it.": ran("whole groups"),
    "the blocks are not used.": ran("none"),
    "the same block is used each time; go on to the next one.": ran("same block"),
    "the blocks are taken by the layer's number; block k belongs to layer k * every.": ran(
        "layer's number"
    ),
    "the blocks are taken in reverse order.": ran("backwards"),
    "each block reads the y that came first; it reads what the layer before it gave.": ran("old y"),
    "a block stands in place of a layer; the layer follows it.": ran("instead"),
    "the mask is not given to the blocks.": ran("no mask"),
}


# 11. New words.


def embed_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """A table of twelve words, rows of two new ones, their ids in no order, texts in which both occur."""
    weight, rows = normal(generator, 12, 4), normal(generator, 2, 4)
    new = torch.randperm(12, generator=generator)[:2]
    ids = torch.randint(0, 12, (2, 6), generator=generator)
    ids[0, 1], ids[1, 2], ids[1, 4] = new[0], new[1], new[0]
    return [weight, rows, new, ids], {}


def run_embed(target, weight, rows, new, ids):
    """Driver: [value, gradient by the rows, is the table as it was, did it get a gradient]"""
    import torch

    table = torch.nn.Embedding.from_pretrained(weight.clone(), freeze=True)
    rows = rows.clone().requires_grad_()
    value = target(table, rows, new, ids)
    if not isinstance(value, torch.Tensor):
        return value
    gradient = torch.zeros_like(rows)
    if value.requires_grad:
        found = torch.autograd.grad((value**2).sum(), rows, allow_unused=True)[0]
        gradient = gradient if found is None else found
    return [value.detach(), gradient, bool(torch.equal(table.weight, weight))]


def changed_embed(table, rows, new, ids, change: str = "") -> Tensor:
    """embed_tokens, and what it becomes by one mistake."""
    y = table(ids)
    if change == "in the table":
        with torch.no_grad():
            table.weight[new] = rows
        return table(ids)
    rows = (
        rows.flip(0) if change == "exchanged" else rows.detach() if change == "detached" else rows
    )
    chosen = {"none": 0, "first new": 1}.get(change, len(new))
    for token, row in list(zip(new, rows))[:chosen]:
        here = (ids == token)[..., None]
        if change == "others":
            here = ~here
        y = torch.where(here, y + row if change == "sum" else row, y)
    if change == "all":
        y = rows[0].expand_as(y)
    return y


def embedded(change: str = "") -> Callable:
    return partial(run_embed, partial(changed_embed, change=change))


EMBED_MISTAKES = {
    "the frozen table was written into: its weights must stay as they are.": embedded(
        "in the table"
    ),
    "the new words still have the table's rows.": embedded("none"),
    "only the first new word has its row; each of them has one.": embedded("first new"),
    "the rows of the new words are exchanged: rows[k] belongs to new_ids[k].": embedded(
        "exchanged"
    ),
    "the values are right, but no gradient arrives at the rows: they could not learn.": embedded(
        "detached"
    ),
    "all words but the new ones have the new rows: it is the other way round.": embedded("others"),
    "the new row is added to the table's; it stands in its place.": embedded("sum"),
    "every token has a new row; all words but the new ones keep the table's.": embedded("all"),
}


def explain_embed(got: object, *_) -> str | None:
    if isinstance(got, list) and got[2] is False:
        return "the frozen table was changed: its weights must stay as they are."
    return None


EXERCISES = {
    "run_layers": Exercise(
        "New blocks between old layers, and no old layer has changed.",
        (
            rule(
                "run_layers",
                layers_inputs,
                ran(),
                LAYER_MISTAKES,
                driver=driver_source(run_run_layers),
            ),
        ),
        reference=reference.run_layers,
    ),
    "embed_tokens": Exercise(
        "Two rows learn, and the table of the language model stays as it is.",
        (
            rule(
                "embed_tokens",
                embed_inputs,
                embedded(),
                EMBED_MISTAKES,
                driver=driver_source(run_embed),
                explain=explain_embed,
            ),
        ),
        reference=reference.embed_tokens,
    ),
}
