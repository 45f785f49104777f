"""Lesson 12: the check of the exercise on several orders of the examples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from teaching import few_shot_reference as reference
from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import driver_source


def ensemble_inputs(generator: torch.Generator) -> tuple[list, dict]:
    count, options = 4, number(generator, 3, 5)
    orders = [torch.randperm(count, generator=generator).tolist() for _ in range(6)]
    return [normal(generator, count, options), orders], {}


def in_order(table: Tensor, order) -> Tensor:
    """Log-probabilities of options when the examples stand in this order: later ones weigh more."""
    weights = torch.arange(1.0, len(order) + 1).square()
    return (weights[:, None] * table[list(order)]).sum(0).log_softmax(0)


def run_ensemble(target, table, orders):
    """Driver: examples are ('picture', number); score asks the table."""
    import torch

    def score(examples):
        rows = [number for _, number in examples]
        weights = torch.arange(1.0, len(rows) + 1).square()
        return (weights[:, None] * table[rows]).sum(0).log_softmax(0)

    return target(score, [("picture", i) for i in range(len(table))], orders)


def combined(combine: Callable, orders: Callable = list) -> Callable:
    return lambda table, given: combine(
        torch.stack([in_order(table, one) for one in orders(given)])
    )


def inverse(orders) -> list:
    return [torch.tensor(order).argsort().tolist() for order in orders]


ENSEMBLE_MISTAKES: dict[str, Callable] = {
    "probabilities were averaged; the paper averages log-probabilities.": (
        combined(lambda x: x.exp().mean(0).log()),
        combined(lambda x: x.exp().mean(0)),
    ),
    "the sum is returned; a mean is wanted.": combined(lambda x: x.sum(0)),
    "the sum was divided by the number of examples; divide by the number of orders.": combined(
        lambda x: x.sum(0) / 4
    ),
    "the mean was normalised once more; it is returned as it is.": (
        combined(lambda x: x.mean(0).softmax(0)),
        combined(lambda x: x.mean(0).log_softmax(0)),
    ),
    "the median is returned; a mean is wanted.": combined(lambda x: x.median(0).values),
    "each order was read from its end.": combined(
        lambda x: x.mean(0), lambda orders: [order[::-1] for order in orders]
    ),
    "the scores of the most certain order are returned; a mean is wanted.": combined(
        lambda x: x[x.amax(1).argmax()]
    ),
    "only the first order was scored.": combined(lambda x: x[0]),
    "only the last order was scored.": combined(lambda x: x[-1]),
    "the orders weren't used: each time the examples stood as they came.": combined(
        lambda x: x.mean(0), lambda orders: [range(len(orders[0]))] * len(orders)
    ),
    "the largest or smallest log-probability of each option is returned; a mean is wanted.": (
        combined(lambda x: x.amax(0)),
        combined(lambda x: x.amin(0)),
    ),
    "these are probabilities; log-probabilities are wanted.": combined(lambda x: x.mean(0).exp()),
    "order[i] says which example stands at place i; yours puts example i at place order[i].": (
        combined(lambda x: x.mean(0), inverse)
    ),
    "each order votes for its best option; the mean of log-probabilities is wanted.": combined(
        lambda x: torch.nn.functional.one_hot(x.argmax(1), x.shape[1]).float().mean(0)
    ),
    "the mean runs over the options; it runs over the orders.": combined(lambda x: x.mean(1)),
    "the scores of all orders are returned; average them.": combined(lambda x: x),
}

EXERCISES = {
    "ensemble": Exercise(
        "Each order has its say, in log-probabilities.",
        (
            rule(
                "ensemble",
                ensemble_inputs,
                combined(lambda x: x.mean(0)),
                ENSEMBLE_MISTAKES,
                driver=driver_source(run_ensemble),
            ),
        ),
        reference.ensemble,
    ),
}
