"""Lesson 10: the checks of the exercise on all layers of the Q-Former."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from teaching import blip2_reference as reference
from teaching.blip2_layers import config_of, randomise
from teaching.exercises import Exercise, normal, number, rule, rule_on
from vlmcourse.papers.qformer import QFormerLayer
from vlmgrader.checks import driver_source


class Small(nn.Module):
    """A Q-Former of three layers as the exercise's `model`: its weights depend on the seed alone."""

    def __init__(self, seed: int, R: int, width: int):
        super().__init__()
        c = config_of(width)
        self.queries = reference.LearnedQueries(R, width)
        self.embed = nn.Embedding(12, width)
        self.norm, self.norm_image = nn.LayerNorm(width), nn.LayerNorm(width)
        self.layers = nn.ModuleList(QFormerLayer(c, number % 2 == 0) for number in range(3))
        randomise(self, seed)


def run_inputs(generator: torch.Generator, text: bool = True) -> tuple[list, dict]:
    """A seed, a number of queries, features, ids, ITG's mask. text: or none, T = 0"""
    R, T = number(generator, 2, 3), text * number(generator, 5, 6)
    B, width = R + 1, 2 * number(generator, 3, 4)
    ids = torch.randint(0, 12, (B, T), generator=generator)
    mask = reference.qformer_mask("itg", R, torch.ones(B, T, dtype=torch.bool))
    return [
        number(generator, 0, 10_000),
        R,
        normal(generator, B, 4, width, scale=3) + 1,
        ids,
        mask,
    ], {}


def run_model(target, seed, R, features, ids, mask):
    """Driver: [queries, text, do the features get a gradient]"""
    import torch

    from teaching.blip2_run import Small

    features = features.clone().requires_grad_()
    found = target(Small(seed, R, features.shape[-1]), features, ids, mask)
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        return found
    total = sum((part**2).sum() for part in found if isinstance(part, torch.Tensor))
    if not isinstance(total, torch.Tensor) or not total.requires_grad:
        return [*found, False]
    (grad,) = torch.autograd.grad(total, features, allow_unused=True)
    return [*found, grad is not None and bool(grad.any())]


def changed_run(model, features, ids, mask, change: str = ""):
    """run_qformer, and what it becomes by one mistake."""
    queries, text = model.queries(len(ids)), model.embed(ids)
    R, T = queries.shape[1], ids.shape[1]
    image = {"no norm_image": features, "norm of image": model.norm(features)}.get(
        change, model.norm_image(features)
    )
    x = torch.cat([text, queries] if change == "text first" else [queries, text], dim=1)
    if change == "norm of text":
        x = torch.cat([queries, model.norm(text)], dim=1)
    elif change == "norm of queries":
        x = torch.cat([model.norm(queries), text], dim=1)
    elif change not in ("no norm", "norm last"):
        x = model.norm(x)
    layers = list(model.layers)
    layers = {"reversed": layers[::-1], "first": layers[:1], "last": layers[-1:]}.get(
        change, layers
    )
    for layer in layers:
        before, count = x, {"T": T, "B": len(ids)}.get(change, R)
        x = layer(x, count, image, None if change == "no mask" else mask)
        x = before + x if change == "residual" else x
        image = model.norm_image(image) if change == "norm_image again" else image
        x = model.norm(x) if change == "norm again" else x
    x = model.norm(x) if change == "norm last" else x
    parts = x[:, :R], x[:, R:]
    return parts[::-1] if change == "exchanged" else parts


def run_mistake(change: str = "") -> Callable:
    """What `run_model` gives for it."""
    return partial(run_model, partial(changed_run, change=change))


RUN_MISTAKES = {
    "the LayerNorm `norm` is missing.": run_mistake("no norm"),
    "`norm` is for queries and text; yours leaves out the queries.": run_mistake("norm of text"),
    "`norm` is for queries and text; yours leaves out the text.": run_mistake("norm of queries"),
    "`norm` stands behind the layers; it stands before the first.": run_mistake("norm last"),
    "`norm` is applied after each layer; it stands before the first, once.": run_mistake(
        "norm again"
    ),
    "the features don't go through `norm_image`.": run_mistake("no norm_image"),
    "the features go through `norm_image` again in each layer; once is enough.": run_mistake(
        "norm_image again"
    ),
    "the text stands before the queries; the mask expects queries first.": run_mistake(
        "text first"
    ),
    "only the first layer is used.": run_mistake("first"),
    "only the last layer counts: each layer must read what the layer before it gave.": run_mistake(
        "last"
    ),
    "the layers are used in reverse order.": run_mistake("reversed"),
    "the mask is not given to the layers.": run_mistake("no mask"),
    "the layers were given the length of the text as number of queries.": run_mistake("T"),
    "the layers were given the size of the batch as number of queries.": run_mistake("B"),
    "the features go through `norm`; their LayerNorm is `norm_image`.": run_mistake(
        "norm of image"
    ),
    "a layer's input is added to its output: each layer has its residuals inside.": run_mistake(
        "residual"
    ),
    "queries and text are exchanged in your result.": run_mistake("exchanged"),
    "the values are right, but no gradient arrives at the features.": lambda *args: [
        *run_mistake()(*args)[:2],
        False,
    ],
}


def explain_run(got: object, *_) -> str | None:
    if isinstance(got, Tensor):
        return "that is one tensor; wanted are two: the queries' states, and the text's."
    return None


def explain_without_text(got: object, *_) -> str | None:
    if isinstance(got, list) and isinstance(got[0], Tensor) and not got[0].shape[1]:
        return (
            "without a text (T = 0, as in stage 2) your result has no queries: cut at R, not at -T."
        )
    return None


EXERCISES = {
    "run_qformer": Exercise(
        "Queries and text in one pass, and the mask decides what they know of each other.",
        (
            rule(
                "run_qformer",
                run_inputs,
                run_mistake(),
                RUN_MISTAKES,
                driver=driver_source(run_model),
                explain=explain_run,
                tolerance=1e-3,
                rounds=2,
            ),
            rule_on(
                "run_qformer",
                partial(run_inputs, text=False),
                run_mistake(),
                driver=driver_source(run_model),
                explain=explain_without_text,
                tolerance=1e-3,
                rounds=1,
            ),
        ),
        reference=reference.run_qformer,
    ),
}
