"""Lesson 01's check of a measured dependency: inputs, and the mistakes that have a name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from teaching import attention_answers as answers
from teaching.exercises import Exercise, Mistakes, listed, number, rule
from vlmgrader.checks import Check, differs, driver_source


class MaskedMix:
    """(1, K, D) -> (1, Q, D): each output mixes the normalised inputs that a mask allows, nonlinearly."""

    def __init__(self, allowed: Tensor, weights: Tensor):
        self.allowed, self.weights = allowed, weights * allowed

    def __call__(self, x: Tensor) -> Tensor:
        return torch.tanh(self.weights @ layer_norm(x, x.shape[-1:]))


def dependency_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """A function with a hidden random mask, not square, and an input."""
    Q, K, D = number(generator, 3, 4), number(generator, 5, 6), number(generator, 6, 8)
    allowed = torch.rand(Q, K, generator=generator) < 0.5
    allowed[0, 0], allowed[1, 0], allowed[0, 1], allowed[:, 2] = True, False, False, False
    weights = 0.5 + torch.rand(Q, K, generator=generator)
    return [MaskedMix(allowed, weights), torch.randn(1, K, D, generator=generator)], {}


class OneWay:
    """(1, K, D) -> (1, Q, 3): outputs with even numbers only fall when x changes, the others only rise.

    Output q changes in its number q % 3 alone; its other numbers are always 0.
    """

    def __init__(self, allowed: Tensor, weights: Tensor, x: Tensor):
        self.allowed, self.weights, self.start = allowed, weights * allowed, x.clone()

    def __call__(self, x: Tensor) -> Tensor:
        output = torch.arange(len(self.allowed))
        distance = (x - self.start).abs().mean(-1)  # (1, K)
        result = torch.zeros(1, len(output), 3)
        result[:, output, output % 3] = (2 * (output % 2) - 1) * (distance @ self.weights.T)
        return result


def one_way_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """A function whose outputs fall or rise, and the input where they turn."""
    (mix, x), _ = dependency_inputs(generator)
    mix.allowed[range(len(mix.allowed)), range(len(mix.allowed))] = True  # no empty row
    weights = 0.5 + torch.rand(mix.allowed.shape, generator=generator)
    return [OneWay(mix.allowed, weights, x), x], {}


def run_on_copy(target, function, x):
    """Driver: [target(function, x), is x as it was?]"""
    import torch

    before = x.clone()
    return [target(function, x), torch.equal(x, before)]


def kept(formula: Callable) -> Callable:
    """[formula(function, x), True], as `run_on_copy` gives it."""
    return lambda function, x: [formula(function, x), True]


def perturbed(
    function: Callable,
    x: Tensor,
    change: Callable,
    restore: bool = True,
    size: Callable = lambda difference: difference.abs().amax(-1),
) -> Tensor:
    """`dependency` with another change of the input; restore: each change starts from x; size: of differences (1, Q, D)."""
    columns, before, changed = [], function(x), x.clone()
    for k in range(x.shape[1]):
        changed = x.clone() if restore else changed
        changed[:, k] = change(x, k)
        columns.append(size(function(changed) - before)[0] > 1e-6)
    return torch.stack(columns, dim=1)


def _noise(x: Tensor, k: int) -> Tensor:
    return torch.randn_like(x[:, k])


DEPENDENCY_MISTAKES = {
    "that is the transpose: rows are outputs, columns are inputs.": lambda f, x: (
        answers.dependency(f, x).T
    ),
    "it is upside down: True means that the output changes.": lambda f, x: (
        ~answers.dependency(f, x)
    ),
    "nothing changes: a constant added to all numbers of a token, or a factor, is removed by a LayerNorm. Replace "
    "the token by random numbers.": lambda f, x: torch.zeros_like(answers.dependency(f, x)),
    "earlier inputs stay changed: start from the original x for each key.": lambda f, x: perturbed(
        f, x, _noise, restore=False
    ),
    "every output depends on every input: change one position at a time, and compare one output at a time.": (
        lambda f, x: torch.ones_like(answers.dependency(f, x))
    ),
    "all outputs of a column are equal: compare each output position for itself, not all at once.": (
        lambda f, x: answers.dependency(f, x).any(0, keepdim=True).expand(*f.allowed.shape)
    ),
    "return booleans: does the output change at all?": lambda f, x: answers.dependency(
        f, x
    ).float(),
}


ONE_WAY_MISTAKES = {
    "a decrease is a change, too: take the absolute value of the difference.": (
        lambda f, x: perturbed(f, x, _noise, size=lambda difference: difference.amax(-1)),
        lambda f, x: perturbed(f, x, _noise, size=lambda difference: -difference.amin(-1)),
    ),
    "compare all numbers of an output, not only one of them.": (
        lambda f, x: perturbed(f, x, _noise, size=lambda difference: difference.abs()[..., 0]),
        lambda f, x: perturbed(f, x, _noise, size=lambda difference: difference.abs()[..., -1]),
    ),
}


def _explain(got: list, wanted: list, *_) -> str | None:
    """What to say to a changed x, to a table of sizes instead of booleans, or to another shape."""
    if not got[1]:
        return "your function changes x itself: work on a copy."
    got, wanted = got[0], wanted[0]
    if isinstance(got, Tensor) and got.is_floating_point() and got.shape == wanted.shape:
        return "return booleans: does the output change at all?"
    return differs(got, wanted, 1e-4)


def _rule(inputs: Callable, mistakes: Mistakes) -> Check:
    return rule(
        "dependency",
        inputs,
        kept(answers.dependency),
        {words: tuple(map(kept, listed(formulas))) for words, formulas in mistakes.items()},
        driver=driver_source(run_on_copy),
        explain=_explain,
    )


DEPENDENCY = Exercise(
    "Your function measures who attends to whom without reading any mask.",
    (_rule(dependency_inputs, DEPENDENCY_MISTAKES), _rule(one_way_inputs, ONE_WAY_MISTAKES)),
    reference=answers.dependency,
)
