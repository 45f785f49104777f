"""Lesson 04: the check of the exercise on the answer head: its outputs, computed with weights that the check chose."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

from teaching import vilbert_reference as reference
from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import driver_source


def run_head(target, image, text, weights):
    """Driver: [number of weights, how many of the three layers there are, result with these weights] of an answer head;
    the text "dropout" if it has one."""
    import torch

    answers, width = len(weights[-1]), image.shape[-1]
    head = target(width, answers).eval()
    shapes = {(2 * width, width): 0, (2 * width,): 2, (answers, 2 * width): 4}
    found = set()
    with torch.no_grad():
        for layer in head.modules():
            if (
                isinstance(layer, (torch.nn.Linear, torch.nn.LayerNorm))
                and layer.weight is not None
            ):
                first = shapes.get(tuple(layer.weight.shape))
                if first is not None and layer.bias is not None:
                    layer.weight.copy_(weights[first])
                    layer.bias.copy_(weights[first + 1])
                    found.add(first)
    result = head(image, text)
    if any(isinstance(layer, torch.nn.Dropout) and layer.p > 0 for layer in head.modules()):
        return "dropout"
    return [sum(p.numel() for p in head.parameters()), len(found), result]


def head_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Pooled states of image and text, and weights of both linear layers and of the norm between them."""
    width, answers = number(generator, 4, 7), 2 * number(generator, 4, 6) + 1  # never 2 * width
    shapes = (2 * width, width), (2 * width,), (2 * width,), (2 * width,), (answers, 2 * width)
    weights = [normal(generator, *shape) for shape in (*shapes, (answers,))]
    return [normal(generator, 5, width), normal(generator, 5, width), weights], {}


def logits(
    image: Tensor,
    text: Tensor,
    weights: list[Tensor],
    join: Callable = torch.mul,
    between: str = "activation, norm",
    activation: Callable = gelu,
    last: Callable = lambda x: x,
) -> Tensor:
    """An answer head with other choices. between: what stands between the two linear layers, in its order."""
    w1, b1, gain, bias, w2, b2 = weights
    x = linear(join(image, text), w1, b1)
    steps = {"activation": activation, "norm": lambda x: layer_norm(x, x.shape[-1:], gain, bias)}
    for name in filter(None, between.split(", ")):
        x = steps[name](x)
    return last(linear(x, w2, b2))


def count(weights: list[Tensor]) -> int:
    return sum(one.numel() for one in weights)


def wrong(**how) -> Callable:
    """What `run_head` gives for a head with these choices; without the norm it has fewer weights."""
    norm = "norm" in how.get("between", "norm")

    def facts(image: Tensor, text: Tensor, weights: list[Tensor]) -> list:
        fewer = 0 if norm else 2 * len(weights[2])
        return [count(weights) - fewer, 2 + norm, logits(image, text, weights, **how)]

    return facts


relu = torch.relu
MISTAKES = {
    "there is no GELU: two linear layers with only a norm between them.": wrong(between="norm"),
    "the GELU stands after the LayerNorm; it stands before.": wrong(between="norm, activation"),
    "that is a ReLU; our head has a GELU.": (
        wrong(activation=relu),
        wrong(activation=relu, between="norm, activation"),
        wrong(activation=relu, between="activation"),
    ),
    "that is a tanh; our head has a GELU.": (
        wrong(activation=torch.tanh),
        wrong(activation=torch.tanh, between="norm, activation"),
    ),
    "the LayerNorm between the two layers is missing.": wrong(between="activation"),
    "between the two layers stand neither a GELU nor a LayerNorm: two linear layers in a row are one.": wrong(
        between=""
    ),
    "there is a second GELU at the end: logits may be negative.": wrong(last=gelu),
    "there is a ReLU at the end: logits may be negative.": wrong(last=relu),
    "the two states are added: multiply them, number by number.": wrong(join=torch.add),
    "the two states are subtracted: multiply them, number by number.": wrong(join=torch.sub),
    "only the image's state is used: multiply it by the text's.": wrong(join=lambda i, t: i),
    "only the text's state is used: multiply it by the image's.": wrong(join=lambda i, t: t),
    "the outputs sum to 1: return logits, without a softmax.": wrong(
        last=partial(torch.softmax, dim=-1)
    ),
    "the outputs are logarithms of a softmax's: return logits.": wrong(
        last=partial(torch.log_softmax, dim=-1)
    ),
    "the outputs lie between 0 and 1: return logits, without a sigmoid.": wrong(last=torch.sigmoid),
}


def explain_head(
    got: object, wanted: list, image: Tensor, text: Tensor, weights: list[Tensor]
) -> str | None:
    """What shapes and numbers of weights say about the code."""
    if got == "dropout":
        return "there is a dropout, which the description doesn't have: the outputs change from call to call in training."
    if not isinstance(got, list) or not isinstance(got[2], Tensor):
        return None
    width, answers = image.shape[-1], len(weights[-1])
    extra = got[0] - count(weights)
    if got[2].shape != wanted[2].shape:
        return f"the logits have shape {tuple(got[2].shape)}; expected (B, A), {(len(image), answers)}."
    rules = (
        (extra == 2 * width * width, "the two states are concatenated: multiply them, number by number."),
        (got[0] == width * answers + answers, "that is a single layer; wanted are two, with a GELU and a LayerNorm between them."),
        (extra == -4 * width, "the LayerNorm between the two layers is missing, or has no weights."),
        (extra, f"your head has {got[0]} numbers to train; wanted are {got[0] - extra}: is the hidden layer of 2 * width, and is every bias there?"),
        (got[1] < 3, "use torch.nn.Linear twice and torch.nn.LayerNorm once, made in __init__."),
    )  # fmt: skip
    return next((words for found, words in rules if found), None)


EXERCISES = {
    "AnswerHead": Exercise(
        "Two layers on the product of image and text, with a GELU and a LayerNorm between them.",
        (
            rule(
                "AnswerHead",
                head_inputs,
                wrong(),
                MISTAKES,
                driver=driver_source(run_head),
                explain=explain_head,
                tolerance=1e-3,
            ),
        ),
        reference=reference.AnswerHead,
    ),
}
