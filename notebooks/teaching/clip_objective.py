"""Lesson 02: formulas of the exercises on loss, training and retrieval, and what each likely mistake would give."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from teaching.exercises import normal, number

unit, unit_over_batch = partial(normalize, dim=-1), partial(normalize, dim=0)


def unchanged(x: Tensor) -> Tensor:
    return x


# 7. The loss.


def symmetric_loss(
    image: Tensor,
    text: Tensor,
    logit_scale: Tensor,
    rows: float = 0.5,
    columns: float = 0.5,
    scale: Callable = torch.exp,
    units: tuple[Callable, Callable] = (unit, unit),
    logits_of: tuple[Callable, Callable] = (unchanged, unchanged),
) -> Tensor:
    """CLIP's loss of image (B, E) and text (B, E) vectors of any length, and the logit scale (scalar) -> scalar."""
    logits = scale(logit_scale) * units[0](image) @ units[1](text).T
    by_image = -logits_of[0](logits).log_softmax(1).diagonal().mean()
    by_text = -logits_of[1](logits).log_softmax(0).diagonal().mean()
    return rows * by_image + columns * by_text


def loss_inputs(generator: torch.Generator, size: int = 0) -> tuple[list, dict]:
    size, width = size or number(generator, 4, 8), number(generator, 5, 9)
    image, text = (normal(generator, size, width, scale=3) for _ in range(2))
    return [image, text, 1 + torch.rand((), generator=generator)], {}


def as_float(**changes) -> Callable:
    return lambda *args: symmetric_loss(*args, **changes).item()


def logits_of(image: Tensor, text: Tensor, logit_scale: Tensor) -> Tensor:
    return logit_scale.exp() * unit(image) @ unit(text).T


def pair_by_pair(*args: Tensor) -> float:
    """A binary cross-entropy for each pair of an image and a text."""
    table = logits_of(*args)
    return binary_cross_entropy_with_logits(table, torch.eye(len(table))).item()


softmax_rows, softmax_columns = partial(torch.softmax, dim=1), partial(torch.softmax, dim=0)
LOSS = {
    "that is only image to text: add the loss of the columns (the transpose) and halve.": as_float(
        rows=1, columns=0
    ),
    "that is only text to image: add the loss of the rows and halve.": as_float(rows=0, columns=1),
    "that is the same direction twice: one of the two needs the transpose of the table.": (
        as_float(rows=2, columns=0),
        as_float(rows=0, columns=2),
    ),
    "that is the sum of both directions: the paper takes their mean.": as_float(rows=1, columns=1),
    "the logit scale is used as it is: multiply by its exponential.": as_float(scale=unchanged),
    "the cosines are divided by the scale: it multiplies.": as_float(scale=lambda s: 1 / s.exp()),
    "there is no temperature: multiply the cosines by exp(logit_scale).": as_float(
        scale=torch.ones_like
    ),
    "the vectors are not normalised: these are dot products, not cosines.": as_float(
        units=(unchanged, unchanged)
    ),
    "only the images are normalised: the length of a text must not count either.": as_float(
        units=(unit, unchanged)
    ),
    "only the texts are normalised: the length of an image vector must not count either.": as_float(
        units=(unchanged, unit)
    ),
    "normalised over the batch (dim 0): each *vector* gets length 1, so dim=-1.": as_float(
        units=(unit_over_batch, unit_over_batch)
    ),
    "cross_entropy was given probabilities: it takes logits, and does the softmax itself.": (
        as_float(logits_of=(softmax_rows, softmax_columns)),
        as_float(logits_of=(softmax_rows, softmax_rows)),
    ),
    "the rows are summed: cross-entropy takes the mean over the batch.": lambda *args: (
        len(args[0]) * symmetric_loss(*args).item()
    ),
    "the softmax runs over the whole table: each row, and each column, is a classification of its own.": (
        lambda *args: (
            -logits_of(*args)
            .flatten()
            .log_softmax(0)
            .view(len(args[0]), -1)
            .diagonal()
            .mean()
            .item()
        )
    ),
    "that judges each pair alone by a sigmoid, as SigLIP does; in CLIP the texts of a row compete: softmax.": pair_by_pair,
    "the lengths are taken over the whole batch: each vector has a length of its own, norm(dim=-1, keepdim=True).": (
        as_float(units=(lambda x: x / x.norm(), lambda x: x / x.norm()))
    ),
    "the target is 0 in every row; the right text of image i is number i.": lambda *args: (
        -(logits_of(*args).log_softmax(1)[:, 0] + logits_of(*args).log_softmax(0)[0]).mean().item()
        / 2
    ),
    "the sign is wrong: a loss is minus the log-probability.": lambda *args: (
        -symmetric_loss(*args).item()
    ),
}


# 8. A training step.


def train_step(
    model,
    batch: dict,
    optimiser,
    order: tuple[str, ...] = ("zero", "backward", "step", "clamp"),
    low: float = 0.0,
    high: float = math.log(100),
) -> float:
    """One step on model.losses(batch)["clip"]; then the logit scale is clamped, in place, to [0, ln 100]."""
    loss = model.losses(batch)["clip"]

    def clamp() -> None:
        with torch.no_grad():
            model.logit_scale.clamp_(low, high)

    actions = {"zero": optimiser.zero_grad, "backward": loss.backward}
    actions |= {"step": optimiser.step, "clamp": clamp}
    for action in order:
        actions[action]()
    return loss.item()


def run_train_steps(target, weight, start, slopes, inputs):
    """Driver: what target(model, batch, optimiser) returns and its type, the logit scale and the weight, after each of some steps."""
    import torch

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(weight.clone())
            self.logit_scale = torch.nn.Parameter(start.clone())

        def losses(self, batch):
            return {"clip": batch["slope"] * self.logit_scale + (batch["x"] @ self.weight).mean()}

    model, returned, scales, weights = Model(), [], [], []
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    for slope, x in zip(slopes, inputs):
        returned.append(target(model, {"slope": slope, "x": x}, optimiser))
        scales.append(model.logit_scale.detach().clone())
        weights.append(model.weight.detach().clone())
    kinds = ["tensor" if isinstance(value, torch.Tensor) else "number" for value in returned]
    return [torch.stack(scales), torch.stack(weights), returned, kinds]


def step_inputs(generator: torch.Generator) -> tuple[list, dict]:
    slopes = torch.tensor([-0.7, -1.5, 0.6, 2.5, 5.0, -1.0, -150.0])
    slopes = slopes + 0.1 * torch.rand(7, generator=generator)
    start = 4 + 0.1 * torch.rand((), generator=generator)
    return [normal(generator, 3), start, slopes, normal(generator, 7, 4, 3)], {}


def steps_by(step: Callable = train_step, **changes) -> Callable:
    return partial(run_train_steps, partial(step, **changes))


def step_on_a_copy(model, batch, optimiser) -> float:
    value = train_step(model, batch, optimiser)
    model.logit_scale = torch.nn.Parameter(model.logit_scale.detach().clone())
    return value


def step_that_returns_a_tensor(model, batch, optimiser) -> Tensor:
    return torch.tensor(train_step(model, batch, optimiser))


def step_then_loss(model, batch, optimiser) -> float:
    train_step(model, batch, optimiser)
    return model.losses(batch)["clip"].item()


STEP = {
    "the loss is returned as a tensor: .item() makes a number of it.": steps_by(
        step_that_returns_a_tensor
    ),
    "that is the loss after the step: return the one that backward() used.": steps_by(
        step_then_loss
    ),
    "old gradients are added to the new ones: set them to zero in each step.": steps_by(
        order=("backward", "step", "clamp")
    ),
    "nothing is learned: the optimiser's step() needs the gradients that backward() has just made.": (
        steps_by(order=("clamp",)),
        steps_by(order=("backward", "zero", "step", "clamp")),
    ),
    "the optimiser steps before backward(): it uses the gradients of the step before.": steps_by(
        order=("step", "zero", "backward", "clamp")
    ),
    "the logit scale is not kept in its bounds.": steps_by(order=("zero", "backward", "step")),
    "the logit scale is clamped before the optimiser's step: afterwards it can be out of bounds.": (
        steps_by(order=("clamp", "zero", "backward", "step")),
        steps_by(order=("zero", "backward", "clamp", "step")),
    ),
    "the bound is 100, but the parameter is a logarithm.": steps_by(high=100.0),
    "the logarithm must be the natural one, the inverse of exp.": steps_by(high=2.0),
    "there is no lower bound: the scale is at least 1.": steps_by(low=-math.inf),
    "there is no upper bound: the scale is at most 100.": steps_by(high=math.inf),
    "the lower bound is 1, but the parameter is a logarithm.": steps_by(low=1.0),
    "the bounds are 1 and 100, but the parameter is a logarithm.": steps_by(low=1.0, high=100.0),
    "the parameter was replaced by another, which the optimiser does not know: change it in place.": (
        steps_by(step_on_a_copy)
    ),
}


# 9. Retrieval.


def recall_at_k(
    similarity: Tensor,
    k: int,
    ahead: Callable = torch.ge,
    axis: int = 1,
) -> float:
    """Share of images whose own text is among the k most similar; ties count against it. (N, N) -> 0 to 1."""
    table = similarity if axis == 1 else similarity.T
    better = ahead(table, table.diagonal()[:, None])
    better.fill_diagonal_(False)
    return (better.sum(1) < k).float().mean().item()


def recall_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Similarities with many ties, and k."""
    N, k = number(generator, 60, 80), number(generator, 4, 8)
    table = torch.randint(0, 60, (N, N), generator=generator).float()
    table.fill_diagonal_(0)
    return [table + torch.diag(torch.randint(50, 60, (N,), generator=generator).float()), k], {}


def recall_by_topk(table: Tensor, k: int) -> float:
    """With ties as they happen to be sorted."""
    own = torch.arange(len(table))[:, None]
    return (table.topk(k).indices == own).any(1).float().mean().item()


def constant_inputs(generator: torch.Generator) -> tuple[list, dict]:
    return [torch.full((number(generator, 5, 9),) * 2, 0.5), number(generator, 1, 3)], {}


RECALL = {
    "ties count for the model: texts that are as similar as the right one stand before it.": (
        partial(recall_at_k, ahead=torch.gt)
    ),
    "that is text to image: `similarity` has images in its rows.": (
        partial(recall_at_k, axis=0),
        partial(recall_at_k, axis=0, ahead=torch.gt),
    ),
    "k is one too large: rank k is still among the first k, rank k + 1 is not.": lambda s, k: (
        recall_at_k(s, k + 1)
    ),
    "k is one too small: rank k is among the first k. Does the right text count as its own rival?": (
        lambda s, k: recall_at_k(s, k - 1)
    ),
    "that is recall at 1: use k.": lambda s, k: recall_at_k(s, 1),
    "that is the number of images: their share is wanted.": lambda s, k: len(s) * recall_at_k(s, k),
    "the least similar texts are taken: the most similar come first.": lambda s, k: recall_at_k(
        -s, k
    ),
    "these are percent: the share, from 0 to 1, is wanted.": lambda s, k: 100 * recall_at_k(s, k),
    "divide by the number of images, not by k.": lambda s, k: len(s) * recall_at_k(s, k) / k,
    "the diagonal lies along the columns, so each entry is compared with another image's right text; make it a column.": (
        lambda s, k: ((s >= s.diagonal()).sum(1) <= k).float().mean().item()
    ),
    "that is the share of failures.": lambda s, k: 1 - recall_at_k(s, k),
}


def ties_by_accident(got: object, wanted: float, table: Tensor, k: int) -> str | None:
    """What sorting leaves to chance lies between ties that all count against the model and ties that all count for it."""
    if isinstance(got, (float, Tensor)) and wanted < float(got) < recall_at_k(table, k, torch.gt):
        return (
            "texts as similar as the right one come before or after it as the sorting happens to leave "
            "them: all of them must count as before it."
        )
    return None
