"""Lesson 02: formulas of the exercises on loss and training, and what each likely mistake would give."""

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


def loss_inputs(generator: torch.Generator, size: int = 0, lowest: float = 1) -> tuple[list, dict]:
    """Image and text vectors of any length, and a logit scale between `lowest` and lowest + 1."""
    size, width = size or number(generator, 4, 8), number(generator, 5, 9)
    image, text = (normal(generator, size, width, scale=3) for _ in range(2))
    return [image, text, lowest + torch.rand((), generator=generator)], {}


def as_float(**changes) -> Callable:
    return lambda *args: symmetric_loss(*args, **changes).item()


def logits_of(image: Tensor, text: Tensor, logit_scale: Tensor) -> Tensor:
    return logit_scale.exp() * unit(image) @ unit(text).T


def pair_by_pair(*args: Tensor) -> float:
    """A binary cross-entropy for each pair of an image and a text."""
    table = logits_of(*args)
    return binary_cross_entropy_with_logits(table, torch.eye(len(table))).item()


def without_the_right_one(*args: Tensor) -> float:
    """The denominators hold the negatives alone."""
    table = logits_of(*args)
    negatives = table.masked_fill(torch.eye(len(table)).bool(), -math.inf)
    sums = (negatives.logsumexp(1) + negatives.logsumexp(0)) / 2
    return (sums - table.diagonal()).mean().item()


softmax_rows, softmax_columns = partial(torch.softmax, dim=1), partial(torch.softmax, dim=0)
LOSS = {
    "that is only image to text: add the loss of the columns (the transpose) and halve.": (
        as_float(rows=1, columns=0),
        as_float(rows=0.5, columns=0),
    ),
    "that is only text to image: add the loss of the rows and halve.": (
        as_float(rows=0, columns=1),
        as_float(rows=0, columns=0.5),
    ),
    "that is the same direction twice: one of the two needs the transpose of the table.": (
        as_float(rows=2, columns=0),
        as_float(rows=0, columns=2),
    ),
    "that is the sum of both directions: the paper takes their mean.": as_float(rows=1, columns=1),
    "the logit scale is used as it is: multiply by its exponential.": as_float(scale=unchanged),
    "the cosines are divided by the scale: it multiplies.": as_float(scale=lambda s: 1 / s.exp()),
    "the scale is multiplied twice: once is enough, not once for images and once for texts.": (
        as_float(scale=lambda s: (2 * s).exp())
    ),
    "there is no temperature: multiply the cosines by exp(logit_scale).": as_float(
        scale=torch.ones_like
    ),
    "the temperature is fixed: the scale is learned, exp(logit_scale).": (
        as_float(scale=lambda s: 1 / 0.07),
        as_float(scale=lambda s: 100.0),
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
    "the right text is missing in the denominator: the softmax runs over all texts of a row.": (
        without_the_right_one
    ),
    "that rewards the right pairs alone: the other texts of a row, its negatives, belong in the loss.": (
        lambda *args: -logits_of(*args).diagonal().mean().item(),
        lambda *args: 1 - logits_of(*args).diagonal().mean().item(),
        lambda *args: 1 - logits_of(*args).diagonal().mean().item() / args[-1].exp().item(),
    ),
    "the sign is wrong: a loss is minus the log-probability.": lambda *args: (
        -symmetric_loss(*args).item()
    ),
}
LARGE_SCALE = {
    "the scale is cut off at 100 inside the loss: beyond it s gets no gradient. The training step keeps the bound.": (
        as_float(scale=lambda s: s.exp().clamp(max=100))
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
    """Driver: what target(model, batch, optimiser) returns and its type, the logit scale and the weight, after each of some steps.

    Before the first step the parameters have gradients that were left by somebody else.
    """
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
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.3)
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


def clamp_then_step(model, batch, optimiser) -> float:
    """Clamped before even the loss is computed, and not after the step."""
    with torch.no_grad():
        model.logit_scale.clamp_(0, math.log(100))
    return train_step(model, batch, optimiser, order=("zero", "backward", "step"))


def step_that_stores_the_scale(model, batch, optimiser) -> float:
    value = train_step(model, batch, optimiser, order=("zero", "backward", "step"))
    with torch.no_grad():
        model.logit_scale.exp_().clamp_(1, 100)
    return value


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
    "gradients that were left from before your first call are used: clear them before backward(), not at the end.": (
        steps_by(order=("backward", "step", "zero", "clamp"))
    ),
    "the parameters did not change: is step() called, and after backward(), with its gradients?": (
        steps_by(order=("clamp",)),
        steps_by(order=("zero", "backward", "clamp")),
        steps_by(order=("backward", "zero", "step", "clamp")),
    ),
    "the optimiser steps before backward(): it uses the gradients of the step before.": steps_by(
        order=("step", "zero", "backward", "clamp")
    ),
    "the optimiser steps twice: one step on a batch.": steps_by(
        order=("zero", "backward", "step", "step", "clamp")
    ),
    "the bounds are those of the temperature: s is the logarithm of the scale, from 0 to ln 100.": (
        steps_by(low=-math.log(100), high=0.0)
    ),
    "the logit scale is not kept in its bounds.": steps_by(order=("zero", "backward", "step")),
    "the logit scale is clamped before the optimiser's step: afterwards it can be out of bounds.": (
        steps_by(order=("clamp", "zero", "backward", "step")),
        steps_by(order=("zero", "backward", "clamp", "step")),
        steps_by(clamp_then_step),
    ),
    "the bound is 100, but the parameter is a logarithm.": steps_by(high=100.0),
    "the parameter holds the scale now: it must stay its logarithm.": steps_by(
        step_that_stores_the_scale
    ),
    "the logarithm must be the natural one, the inverse of exp.": steps_by(high=2.0),
    "there is no lower bound: the scale is at least 1.": steps_by(low=-math.inf),
    "there is no upper bound: the scale is at most 100.": steps_by(high=math.inf),
    "the lower bound is 1, but the parameter is a logarithm.": steps_by(low=1.0),
    "the bounds are 1 and 100, but the parameter is a logarithm.": steps_by(low=1.0, high=100.0),
    "the parameter was replaced by another, which the optimiser does not know: change it in place.": (
        steps_by(step_on_a_copy)
    ),
}
