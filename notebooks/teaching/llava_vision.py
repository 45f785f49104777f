"""Lesson 14: the checks of the exercises on the features of patches and on the projector."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import gelu, relu, silu

from teaching import llava_reference as reference
from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import driver_source

# Exercise 1

OPTIONS = ((1, False), (2, False), (0, True), (1, True))
"""Numbers of blocks left out, and whether the class token is wanted."""


def run_select(target, states):
    """Driver: the features with several options."""
    return [target(states, skip, keep) for skip, keep in ((1, False), (2, False), (0, True), (1, True))]  # fmt: skip


def selected(layer: Callable, cut: Callable) -> Callable:
    """layer: (states, skip) -> features; cut: (features, class_token) -> features."""
    return lambda states: [cut(layer(states, skip), keep) for skip, keep in OPTIONS]


def behind(states, skip):
    return states[len(states) - 1 - skip]


def drop_class(features, keep):
    return features if keep else features[:, 1:]


SELECT_MISTAKES = {
    "one block too few is left out: `states[-1]` is the output of the last block, so skip_blocks = 0 means -1.": (
        selected(lambda s, n: s[-n] if n else s[-1], drop_class),
        selected(lambda s, n: s[-n], drop_class),
    ),
    "one block too many is left out: skip_blocks = 0 means the output of the last block.": selected(
        lambda s, n: s[-n - 2], drop_class
    ),
    "the blocks are counted from the front; skip_blocks counts from the end.": (
        selected(lambda s, n: s[n], drop_class),
        selected(lambda s, n: s[n + 1], drop_class),
    ),
    "always the last block's output: skip_blocks is not used.": selected(
        lambda s, n: s[-1], drop_class
    ),
    "always the second last block's output: skip_blocks may be another number.": selected(
        lambda s, n: s[-2], drop_class
    ),
    "class_token is not used: the class token is always dropped.": selected(
        behind, lambda x, keep: x[:, 1:]
    ),
    "the class token is still there: with class_token=False its row goes.": selected(
        behind, lambda x, keep: x
    ),
    "class_token is understood the other way round: True keeps it.": selected(
        behind, lambda x, keep: x[:, 1:] if keep else x
    ),
    "the last patch is dropped, and the class token stays: it is the first row.": selected(
        behind, lambda x, keep: x if keep else x[:, :-1]
    ),
    "the first picture of the batch is dropped: rows of a picture are axis 1.": selected(
        behind, lambda x, keep: x if keep else x[1:]
    ),
    "the first number of each vector is dropped: rows of a picture are axis 1.": selected(
        behind, lambda x, keep: x if keep else x[..., 1:]
    ),
    "only the class token is returned: it is the patches that are wanted.": selected(
        behind, lambda x, keep: x if keep else x[:, :1]
    ),
    "the rows are averaged: each patch keeps its own vector.": selected(
        behind, lambda x, keep: x if keep else x[:, 1:].mean(1)
    ),
}


def select_inputs(generator: torch.Generator) -> tuple[list, dict]:
    B, P, C = number(generator, 2, 3), number(generator, 4, 6), number(generator, 3, 5)
    return [[normal(generator, B, 1 + P, C) for _ in range(number(generator, 5, 7))]], {}


# Exercise 2


def run_projector(target, features, width, *weights):
    """Driver: the output with these weights, or what is wrong with the layers, in a word."""
    import torch
    from torch import nn

    model = target(features.shape[-1], width)
    if not isinstance(model, nn.Module):
        return "no module"
    linear = [part for part in model.modules() if isinstance(part, nn.Linear)]
    own = sum(p.numel() for part in linear for p in part.parameters())
    if not linear:
        return "no layers"
    if any(part.bias is None for part in linear):
        return "no bias"
    if len(linear) != 2 or own != sum(p.numel() for p in model.parameters()):
        return f"{len(linear)} layers"
    if [tuple(part.weight.shape) for part in linear] != [
        (width, features.shape[-1]),
        (width, width),
    ]:
        return "shapes"
    with torch.no_grad():
        for parameter, value in zip((p for part in linear for p in part.parameters()), weights):
            parameter.copy_(value)
    value = model(features)
    return value if value.requires_grad else "no gradient"


def projector_inputs(generator: torch.Generator) -> tuple[list, dict]:
    B, P, C, D = 2, number(generator, 3, 5), number(generator, 3, 4), number(generator, 5, 7)
    shapes = ((D, C), (D,), (D, D), (D,))
    return [
        normal(generator, B, P, C, scale=2),
        D,
        *(normal(generator, *shape) for shape in shapes),
    ], {}


def projected(x, width, a, p, b, q, between=gelu, end=lambda x: x, first=lambda x: x) -> Tensor:
    return end(between(first(x) @ a.T + p) @ b.T + q)


def projecting(**options) -> Callable:
    return lambda *args: projected(*args, **options)


PROJECTOR_WORDS = {
    "no module": "expected a torch.nn.Module: the class gets torch.nn.Module in brackets.",
    "no layers": "no torch.nn.Linear was found: create both layers in __init__ and keep them in `self`.",
    "no bias": "a bias is missing: both layers have one (see the formula).",
    "shapes": "the layers have other sizes: the first goes from C to D, the second from D to D.",
    "no gradient": "the values are right, but the layers get no gradient: no detach, no no_grad.",
    "1 layers": "that is one linear layer, LLaVA's first version; wanted are two, with a GELU between.",
}


def explain_projector(got: object, *_: object) -> str | None:
    if isinstance(got, str):
        many = "the module has other learnt parts than two linear layers with biases."
        return PROJECTOR_WORDS.get(got, many)
    return None


PROJECTOR_MISTAKES = {
    "there is no activation between the layers: then two linear layers are one.": projecting(
        between=lambda x: x
    ),
    "the activation is a ReLU; the formula has a GELU.": projecting(between=relu),
    "the activation is a SiLU; the formula has a GELU.": projecting(between=silu),
    "the activation is GELU's approximation by tanh; the formula has GELU itself.": projecting(
        between=partial(gelu, approximate="tanh")
    ),
    "the activation is tanh; the formula has a GELU.": projecting(between=torch.tanh),
    "there is a GELU after the second layer, too: word embeddings may be negative.": projecting(
        end=gelu
    ),
    "the GELU comes after the second layer; it stands between the layers.": projecting(
        between=lambda x: x, end=gelu
    ),
    "the GELU comes before the first layer; it stands between the layers.": projecting(
        between=lambda x: x, first=gelu
    ),
    "the output is normalised: the formula has no norm.": (
        projecting(end=lambda x: x / x.norm(dim=-1, keepdim=True)),
        projecting(end=lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:])),
    ),
    "the patches are averaged: each patch becomes a vector of its own.": projecting(
        first=lambda x: x.mean(1)
    ),
}

EXERCISES = {
    "select_features": Exercise(
        "Patches of the block that you chose, with or without the class token.",
        (
            rule(
                "select_features",
                select_inputs,
                selected(behind, drop_class),
                SELECT_MISTAKES,
                driver=driver_source(run_select),
            ),
        ),
        reference=reference.select_features,
    ),
    "Projector": Exercise(
        "Two layers with a GELU between them, the same for every patch.",
        (
            rule(
                "Projector",
                projector_inputs,
                projected,
                PROJECTOR_MISTAKES,
                driver=driver_source(run_projector),
                explain=explain_projector,
            ),
        ),
        reference=reference.Projector,
    ),
}
