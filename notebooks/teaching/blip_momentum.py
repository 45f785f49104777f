"""Lesson 08: the checks of the exercises on momentum encoders and their queue."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import blip_reference as reference
from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import driver_source


def run_update(target, copies, weights, momentum):
    """Driver: [copies, weights] after target(copies, weights, momentum), of which weights need gradients.

    target gets lists of its own: a new tensor in its list is no change of the caller's.
    """
    import torch

    copies = [copy.clone() for copy in copies]
    weights = [torch.nn.Parameter(weight.clone()) for weight in weights]
    target(list(copies), list(weights), momentum)
    return [[one.detach() for one in copies], [one.detach() for one in weights]]


def update_inputs(generator: torch.Generator) -> tuple[list, dict]:
    shapes = [(number(generator, 2, 4), 3), (number(generator, 3, 5),)]
    copies, weights = ([normal(generator, *s) for s in shapes] for _ in range(2))
    return [copies, weights, (0.7, 0.8, 0.9, 0.95)[number(generator, 0, 3)]], {}


def update(copies: list, weights: list, momentum: float, change: str = "") -> list:
    """What `run_update` gives, with one mistake."""
    mixed = [momentum * c + (1 - momentum) * w for c, w in zip(copies, weights)]
    if change == "upside down":
        mixed = [(1 - momentum) * c + momentum * w for c, w in zip(copies, weights)]
    if change == "sum":
        mixed = [c + (1 - momentum) * w for c, w in zip(copies, weights)]
    if change == "sum with momentum":
        mixed = [c * momentum + w for c, w in zip(copies, weights)]
    if change == "copied":
        mixed = weights
    if change == "first":
        mixed = [mixed[0], *copies[1:]]
    if change == "not in place":
        mixed = copies
    return [copies, mixed] if change == "wrong one" else [mixed, weights]


UPDATE_MISTAKES = {
    "the copies are as they were: a new tensor, in the list or in a local name, isn't the model's. Change their values in place.": partial(
        update, change="not in place"
    ),
    "momentum is the copy's share; yours gives it to the new weights.": partial(
        update, change="upside down"
    ),
    "the copy keeps all of its value: it should keep the share momentum.": partial(
        update, change="sum"
    ),
    "the new weights enter whole: their share is 1 - momentum.": partial(
        update, change="sum with momentum"
    ),
    "the copies equal the weights now: that is momentum 0.": partial(update, change="copied"),
    "only the first tensor was updated: go through all of them.": partial(update, change="first"),
    "the weights were changed and the copies not: it is the other way round.": partial(
        update, change="wrong one"
    ),
}


def run_enqueue(target, queue, start, new):
    """Driver: [queue after target, what it returned, do the queue's rows need a gradient?]."""
    import torch

    queue = queue.clone()
    found = target(queue, start, torch.nn.Parameter(new.clone()))
    found = int(found) if isinstance(found, torch.Tensor) and found.numel() == 1 else found
    return [queue.detach(), found, queue.requires_grad]


def queue_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """A queue whose end the new rows run over."""
    Q, B, E = number(generator, 7, 9), number(generator, 3, 4), number(generator, 2, 3)
    start = Q - number(generator, 1, B - 1)
    return [normal(generator, Q, E), start, normal(generator, B, E)], {}


def fitting_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """New rows that end with the queue's last one; in half of the draws they are all of the queue."""
    Q, E = number(generator, 5, 7), number(generator, 2, 3)
    B = Q if number(generator, 0, 1) else number(generator, 2, 4)
    return [normal(generator, Q, E), Q - B, normal(generator, B, E)], {}


def inside_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """New rows for which there is room behind start, and more."""
    Q, B, E = number(generator, 8, 9), number(generator, 3, 4), number(generator, 2, 3)
    return [normal(generator, Q, E), number(generator, 1, Q - B - 1), normal(generator, B, E)], {}


def shifted(
    queue: Tensor, start: int, new: Tensor, front: bool = False, after: Callable | None = None
) -> list:
    """What `run_enqueue` gives if all rows move, to make room at the end or at the front."""
    B, Q = len(new), len(queue)
    rows = torch.cat([new, queue[:-B]] if front else [queue[B:], new])
    return [rows, (start + B) % Q if after is None else after(start, B, Q), False]


def rest_first(queue: Tensor, start: int, new: Tensor) -> list:
    """What `run_enqueue` gives if the front gets the first of the new rows, and the end the last ones."""
    over = start + len(new) - len(queue)
    return filled(queue, start, torch.cat([new[over:], new[:over]]))


def filled(
    queue: Tensor,
    start: int,
    new: Tensor,
    rows: Callable = lambda start, B, Q: (start + torch.arange(B)) % Q,
    after: Callable = lambda start, B, Q: (start + B) % Q,
    new_rows: Callable = lambda new: new,
    gradient: bool = False,
) -> list:
    """What `run_enqueue` gives, with other choices."""
    B, Q, queue = len(new), len(queue), queue.clone()
    chosen = rows(start, B, Q)
    queue[chosen] = new_rows(new)[: len(chosen)]
    return [queue, after(start, B, Q), gradient]


QUEUE_MISTAKES = {
    "the rows that run over the end are lost: they go to the front of the queue.": (
        partial(filled, rows=lambda start, B, Q: torch.arange(start, min(start + B, Q))),
    ),
    "the new rows that run over the end stand in the queue, but the next start lies beyond it.": (
        partial(filled, after=lambda start, B, Q: start + B)
    ),
    "the next start is the old one: it moves on by the number of new rows.": partial(
        filled, after=lambda start, B, Q: start
    ),
    "the next start moves on by one; it moves on by the number of new rows.": partial(
        filled, after=lambda start, B, Q: (start + 1) % Q
    ),
    "the new rows stand at the front of the queue, whatever start is.": partial(
        filled, rows=lambda start, B, Q: torch.arange(B)
    ),
    "the new rows stand in reverse order.": partial(filled, new_rows=lambda new: new.flip(0)),
    "the next start is 0 whenever the end is reached: rows at the front are new by then.": partial(
        filled, after=lambda start, B, Q: 0
    ),
    "the rows are one too far: the first new row belongs at start.": partial(
        filled, rows=lambda start, B, Q: (start + 1 + torch.arange(B)) % Q
    ),
    "the rows are one too early: the first new row belongs at start.": partial(
        filled, rows=lambda start, B, Q: (start - 1 + torch.arange(B)) % Q
    ),
    "all rows of the queue are moved: the others stay where they are, only the oldest are overwritten.": (
        shifted,
        partial(shifted, front=True),
        partial(shifted, after=lambda start, B, Q: start),
        partial(shifted, after=lambda start, B, Q: 0),
        partial(shifted, front=True, after=lambda start, B, Q: 0),
    ),
    "the new rows don't fit, so yours begin at row 0: fill the end of the queue first.": (
        partial(filled, rows=lambda start, B, Q: torch.arange(B), after=lambda start, B, Q: B)
    ),
    "the new rows are pushed back until they fit: begin at start, and go on at row 0.": (
        partial(
            filled,
            rows=lambda start, B, Q: torch.arange(Q - B, Q),
            after=lambda start, B, Q: 0,
        ),
        partial(filled, rows=lambda start, B, Q: torch.arange(Q - B, Q)),
    ),
    "the first new rows stand at the front of the queue, the last ones at its end: it is the other way round.": (
        rest_first
    ),
    "the next start is one too far: behind the last row comes row 0.": partial(
        filled, after=lambda start, B, Q: (start + B + 1) % Q
    ),
    "the queue is as it was: change its rows in place.": partial(
        filled, rows=lambda start, B, Q: torch.arange(0)
    ),
    "gradients would flow into the queue: detach the new rows, or work in no_grad.": partial(
        filled, gradient=True
    ),
}


INSIDE_MISTAKES = {
    "there is room behind start, and rows at the front are overwritten.": partial(
        filled, rows=lambda start, B, Q: torch.arange(B)
    ),
    "there is room behind start, so the next start is start plus the number of new rows.": (
        partial(filled, after=lambda start, B, Q: start + B - Q),
        partial(filled, after=lambda start, B, Q: 0),
    ),
}
FITTING_MISTAKES = {
    "the new rows end with the queue's last one: the next start is 0, no row beyond the end.": partial(
        filled, after=lambda start, B, Q: start + B
    ),
    "the new rows fit exactly, and the last one is lost.": partial(
        filled, rows=lambda start, B, Q: torch.arange(start, start + B - 1)
    ),
    "the new rows fit exactly, and the queue is as it was.": partial(
        filled, rows=lambda start, B, Q: torch.arange(0)
    ),
}


def explain_queue(got: object, *_) -> str | None:
    """The queue is returned in place of the next start."""
    if isinstance(got, list) and len(got) == 3 and isinstance(got[1], Tensor):
        return "return the next start, a number; the queue is changed in place."
    return None


EXERCISES = {
    "update_momentum": Exercise(
        "The copies follow slowly, in place.",
        (
            rule(
                "update_momentum",
                update_inputs,
                update,
                UPDATE_MISTAKES,
                driver=driver_source(run_update),
            ),
        ),
        reference=reference.update_momentum,
    ),
    "enqueue": Exercise(
        "The oldest rows go first, round the end.",
        (
            rule(
                "enqueue",
                queue_inputs,
                filled,
                QUEUE_MISTAKES,
                driver=driver_source(run_enqueue),
                explain=explain_queue,
            ),
            rule(
                "enqueue", inside_inputs, filled, INSIDE_MISTAKES, driver=driver_source(run_enqueue)
            ),
            rule(
                "enqueue",
                fitting_inputs,
                filled,
                FITTING_MISTAKES,
                driver=driver_source(run_enqueue),
            ),
        ),
        reference=reference.enqueue,
    ),
}
