"""Lesson 07: the checks of the exercises on freezing, and on gradients at the prefix."""

from __future__ import annotations

import torch
from torch import Tensor

from teaching import frozen_reference as reference
from teaching.exercises import Exercise, listed, normal, number, rule
from vlmcourse.parts.language import freeze
from vlmgrader.checks import driver_source


def run_freeze(target, *_):
    """Driver: is a module that the student froze frozen, does it pass gradients on, does it stay in evaluation mode?"""
    import torch
    from torch import nn

    torch.manual_seed(0)
    inner = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2))
    lm = nn.Sequential(nn.Linear(4, 4), inner)
    lm.register_parameter("gain", nn.Parameter(torch.ones(4)))  # a parameter of its own
    before = [p.clone() for p in lm.parameters()]
    rate = inner[0].p
    system = nn.ModuleList([lm, nn.Dropout(0.5)])
    target(lm)
    system.train()
    x = torch.randn(3, 4, requires_grad=True)
    y = lm(x)
    if y.requires_grad:
        y.sum().backward()
    return {
        "gradients pass": bool(x.grad is not None and x.grad.abs().sum() > 0),
        "nothing learns": not any(p.requires_grad or p.grad is not None for p in lm.parameters()),
        "same weights": all(torch.equal(p, q) for p, q in zip(before, lm.parameters())),
        "dropout untouched": inner[0].p == rate,
        "itself in evaluation mode": not lm.training,
        "parts in evaluation mode": not any(part.training for part in lm.modules()),
        "others train": system[1].training and system.training,
        "train returns the module": all(part.train() is part for part in lm.modules()),
    }


FREEZING = {
    "same weights": "the weights have changed: freezing leaves them as they are.",
    "gradients pass": "nothing before the language model gets a gradient: it runs without one (no_grad, "
    "inference_mode, detach). Freeze its parameters, not its computation.",
    "nothing learns": "its parameters still collect gradients: requires_grad must be False for each of them.",
    "dropout untouched": "the dropout rate was changed: evaluation mode is what is wanted.",
    "itself in evaluation mode": "after `system.train()` its dropout is on again: eval() alone does not last. What does "
    "a parent's train() call on its children, and how could the child answer?",
    "parts in evaluation mode": "after `system.train()` the module itself stays in evaluation mode, but a part of it "
    "does not, and its dropout is on again.",
    "others train": "the other parts of the system can't train any more: change this module only, not its class.",
    "train returns the module": "`m.train()` must still return m, for each part its own: code such as "
    "`m = m.train()` relies on it. (A lambda in a loop sees the last part, unless it is given its own.)",
}


def run_gradients(target, prefix, weights):
    """Driver: target(loss_of, prefix) for a loss made of `weights`, and whether the prefix is as it was."""
    import torch

    def loss_of(vectors):
        return ((vectors @ weights).tanh() ** 2).sum()

    before = prefix.clone()
    value = target(loss_of, prefix)
    same = torch.equal(before, prefix) and prefix.grad is None and not prefix.requires_grad
    return [value, bool(same)]


def run_on_encoder_output(target, prefix, weights):
    """Driver: the same for a prefix that an encoder has computed, and whether the encoder got a gradient."""
    import torch

    def loss_of(vectors):
        return ((vectors @ weights).tanh() ** 2).sum()

    encoder = torch.ones((), requires_grad=True)
    try:
        value = target(loss_of, encoder * prefix)
    except AttributeError:  # .grad of a tensor that is no leaf is None
        return [torch.zeros(prefix.shape[:-1]), False]
    return [value, encoder.grad is None]


def gradient_inputs(generator: torch.Generator) -> tuple[list, dict]:
    M, n, D = number(generator, 3, 4), 2, number(generator, 5, 7)
    return [normal(generator, M, n, D, scale=0.5), normal(generator, D, 3, scale=0.5)], {}


def gradient_of(prefix: Tensor, weights: Tensor) -> Tensor:
    t = (prefix @ weights).tanh()
    return (2 * t * (1 - t**2)) @ weights.T


def untouched(formula):
    return lambda *args: [formula(gradient_of(*args)), True]


GRADIENT_MISTAKES = {
    "that is the gradient itself: return the norm of each vector's gradient, (M, n).": lambda g: g,
    "that is one norm for all vectors: each has its own, (M, n).": lambda g: g.norm(),
    "that is one norm for each picture: each vector has its own, (M, n).": lambda g: g.flatten(
        1
    ).norm(dim=-1),
    "the norm is over pictures: it is over the last axis, D.": lambda g: g.norm(dim=0),
    "the norm is over the n vectors: it is over the last axis, D.": lambda g: g.norm(dim=1),
    "the square root is missing: the norm is the root of the sum of squares.": lambda g: (
        g.square().sum(-1)
    ),
    "that is the sum of the absolute values; the (Euclidean) norm is the root of the sum of squares.": (
        lambda g: g.abs().sum(-1)
    ),
    "that is the sum of the gradient's entries, in which signs cancel.": lambda g: g.sum(-1),
    "that is the mean, not the norm.": (lambda g: g.abs().mean(-1), lambda g: g.mean(-1)),
    "that is the largest entry; the norm is the root of the sum of all squares.": (
        lambda g: g.abs().amax(-1)
    ),
    "that is the root of the *mean* square; the norm has the sum.": lambda g: (
        g.square().mean(-1).sqrt()
    ),
    "all zero: did you differentiate the loss, with respect to the tensor that loss_of was given?": (
        lambda g: torch.zeros_like(g[..., 0])
    ),
}


def prefix_norms(prefix: Tensor, weights: Tensor) -> Tensor:
    return prefix.norm(dim=-1)


EXERCISES = {
    "freeze": Exercise(
        "Its parameters are fixed, gradients pass, and evaluation mode outlasts the parent's train().",
        (
            rule(
                "freeze",
                lambda generator: ([], {}),
                lambda: dict.fromkeys(FREEZING, True),
                driver=driver_source(run_freeze),
                explain=lambda got, *_: (
                    next((words for name, words in FREEZING.items() if not got[name]), None)
                    if isinstance(got, dict)
                    else None
                ),
                rounds=1,
            ),
        ),
        reference=freeze,
    ),
    "prefix_gradients": Exercise(
        "The norm of the loss's gradient for each vector, and the prefix as it was.",
        (
            rule(
                "prefix_gradients",
                gradient_inputs,
                untouched(lambda g: g.norm(dim=-1)),
                {
                    **{
                        words: tuple(map(untouched, listed(wrong)))
                        for words, wrong in GRADIENT_MISTAKES.items()
                    },
                    "that is the norm of the vectors, not of the gradient.": lambda *args: [
                        prefix_norms(*args),
                        True,
                    ],
                },
                driver=driver_source(run_gradients),
                explain=lambda got, *_: (
                    "the caller's prefix was changed (requires_grad, or .grad): work on prefix.detach()."
                    if isinstance(got, list) and got[-1] is False
                    else None
                ),
            ),
            rule(
                "prefix_gradients",
                gradient_inputs,
                untouched(lambda g: g.norm(dim=-1)),
                driver=driver_source(run_on_encoder_output),
                explain=lambda *_: (
                    "a prefix that an encoder computed: its history is still attached, so the gradient "
                    "goes on into the encoder. Work on prefix.detach()."
                ),
            ),
        ),
        reference=reference.prefix_gradients,
    ),
}
