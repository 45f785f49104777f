"""Lesson 01's check of a measured dependency: inputs, and the mistakes that have a name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from teaching import attention_answers as answers
from teaching.exercises import Exercise, number, rule


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


def perturbed(function: Callable, x: Tensor, change: Callable, restore: bool = True) -> Tensor:
    """`dependency` with another change of the input; restore: each change starts from x."""
    columns, before, changed = [], function(x), x.clone()
    for k in range(x.shape[1]):
        changed = x.clone() if restore else changed
        changed[:, k] = change(x, k)
        columns.append((function(changed) - before).abs().amax(dim=(0, 2)) > 1e-6)
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


def _size_alone(got: object, wanted: Tensor, *_) -> str | None:
    """What to say to a table of sizes instead of booleans."""
    if isinstance(got, Tensor) and got.is_floating_point() and got.shape == wanted.shape:
        return "return booleans: does the output change at all?"
    return None


DEPENDENCY = Exercise(
    "Your function measures who attends to whom without reading any mask.",
    (
        rule(
            "dependency",
            dependency_inputs,
            answers.dependency,
            DEPENDENCY_MISTAKES,
            explain=_size_alone,
        ),
    ),
    reference=answers.dependency,
)
