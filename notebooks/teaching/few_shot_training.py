"""Lesson 12: the check of the exercise on a step with several data sets."""

from __future__ import annotations

import torch
from torch import Tensor

from teaching import few_shot_reference as reference
from teaching.exercises import Exercise, normal, number, rule, rule_on
from vlmgrader.checks import differs, driver_source

RATE = 0.1


def inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Start, batches of two updates, weights."""
    width, names = 4, ["pages", "pairs", "videos"][: number(generator, 2, 3)]
    updates = [
        {name: normal(generator, number(generator, 3, 5), width) for name in names}
        for _ in range(2)
    ]
    weights = {  # in another order than the batches
        name: 0.2 + 0.7 * torch.rand((), generator=generator).item() for name in reversed(names)
    }
    return [normal(generator, width), updates, weights], {}


def run_updates(target, start, updates, weights):
    """Driver: two updates of a vector, with an old gradient before the first: [the vector, what target returned, its types]."""
    import torch

    w = torch.nn.Parameter(start.clone())
    optimiser = torch.optim.SGD([w], lr=0.1)
    w.grad = torch.ones_like(w)
    returned = []
    for batches in updates:
        found = target(lambda batch: (batch @ w).square().mean(), batches, weights, optimiser)
        if not isinstance(found, dict):
            return [w.detach().clone(), found]
        returned.append({str(k): float(v) for k, v in found.items()})
    numbers = all(type(v) in (int, float) for v in found.values())
    return [w.detach().clone(), returned, numbers]


def slope(w: Tensor, batch: Tensor) -> Tensor:
    """Gradient of the mean of (batch @ w) ** 2."""
    return 2 * (batch * (batch @ w)[:, None]).mean(0)


def simulated(
    start,
    updates,
    weights,
    *,
    factor=lambda weights, name: weights[name],
    keep_old=False,
    clear_late=False,
    only=None,
    each=False,
    steps=True,
    values=lambda weights, name, loss: loss,
    pick=None,
    step_keeps=False,
    late=False,
    times=1,
):
    """The updates by formula, with a mistake. each: a step after each data set; only: which data set counts; times: steps.

    clear_late: gradients are cleared after the step, so the old one is in the first update.
    """
    w, grad, returned = start.clone(), torch.ones_like(start), []
    for update, batches in enumerate(updates):
        if not keep_old and not (clear_late and update == 0):
            grad = torch.zeros_like(w)
        losses = {}
        names = list(batches) if pick is None else [list(batches)[pick]]
        for name in batches:
            losses[name] = values(weights, name, (batches[name] @ w).square().mean().item())
            if name not in names:
                continue
            change = factor(weights, name) * slope(w, batches[name])
            grad = change if only else grad + change
            if each and steps:
                w = w - RATE * grad
                grad = grad if step_keeps else torch.zeros_like(w)
        if steps and not each:
            w = w - times * RATE * grad
        if late:
            losses = {name: (batch @ w).square().mean().item() for name, batch in batches.items()}
        returned.append(losses)
    return [w, returned, True]


def mistake(**options):
    return lambda *args: simulated(*args, **options)


MISTAKES = {
    "an old gradient was still there: clear the gradients before the first loss.": (
        mistake(keep_old=True)
    ),
    "an old gradient was there at the first call: clear before the losses, not after the step.": (
        mistake(clear_late=True)
    ),
    "the gradients are cleared before each data set, so only the last one counts: clear once.": (
        mistake(only=True)
    ),
    "there is a step after each data set; accumulate all gradients, then take one step.": (
        mistake(each=True),
        mistake(each=True, step_keeps=True),
        mistake(each=True, step_keeps=True, keep_old=True),
        mistake(each=True, clear_late=True),
    ),
    "the weights are missing.": mistake(factor=lambda weights, name: 1.0),
    "the weights are in the losses returned, and not in the update: it is the other way round.": (
        mistake(
            factor=lambda weights, name: 1.0,
            values=lambda weights, name, loss: weights[name] * loss,
        )
    ),
    "the weights were divided by their sum; the paper's are used as they are.": mistake(
        factor=lambda weights, name: weights[name] / sum(weights.values())
    ),
    "the losses were averaged over the data sets; the formula has a sum.": (
        mistake(factor=lambda weights, name: weights[name] / len(weights))
    ),
    "each loss was divided by its weight; multiply.": (
        mistake(factor=lambda weights, name: 1 / weights[name])
    ),
    "weights were taken in the order of the dicts; look each up by its data set's name.": (
        mistake(factor=lambda weights, name: list(weights.values())[::-1][[*weights].index(name)])
    ),
    "optimiser.step() was called twice; there is one update.": mistake(times=2),
    "the weights multiply twice.": mistake(factor=lambda weights, name: weights[name] ** 2),
    "only the first data set counts.": mistake(pick=0),
    "the parameters didn't change: backward() and then optimiser.step() are needed.": (
        mistake(steps=False)
    ),
    "the update is right, but the losses are those after it; return what they were before.": (
        mistake(late=True)
    ),
    "the update is right, but the losses returned are weighted; return them as they are.": (
        mistake(values=lambda weights, name, loss: weights[name] * loss)
    ),
}


def run_and_watch_graphs(target, start, updates, weights):
    """Driver: is the gradient of each loss there before the next loss is asked for?"""
    import torch

    w, calls = torch.nn.Parameter(start.clone()), []

    def loss(batch):
        calls.append(w.grad is not None and bool(w.grad.any()))
        return (batch @ w).square().mean()

    target(loss, updates[0], weights, torch.optim.SGD([w], lr=0.1))
    several = len(calls) == len(updates[0]) and not all(calls[1:])  # more calls: some have no graph
    return "all graphs at once" if several else "one graph at a time"


def explain(got: object, wanted: list, *_) -> str | None:
    if not isinstance(got, list) or len(got) != 3:
        return "return a dict: the name of each data set with its loss."
    if got[2] is False:
        return "the losses are tensors: .item() makes numbers of them, and lets the graphs go."
    if differs(got[0], wanted[0], 1e-4):
        return "after two updates the parameters aren't what they should be."
    return "the parameters are right, but not the losses that were returned."


EXERCISES = {
    "accumulate": Exercise(
        "One step, from the gradients of all data sets, each with its weight.",
        (
            rule(
                "accumulate",
                inputs,
                simulated,
                MISTAKES,
                driver=driver_source(run_updates),
                explain=explain,
            ),
            rule_on(
                "accumulate",
                inputs,
                lambda *_: "one graph at a time",
                {
                    "the update is right, but all graphs are in memory at once: call backward() after each loss.": (
                        lambda *_: "all graphs at once"
                    )
                },
                driver=driver_source(run_and_watch_graphs),
                rounds=1,
            ),
        ),
        reference.accumulate,
    ),
}
