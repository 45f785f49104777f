"""Lesson 15: the checks of the exercises on fine-tuning: learning rates of layers, mixed weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import real_weights_reference as reference
from teaching.exercises import Exercise, normal, number, rule, rule_on
from vlmgrader.checks import driver_source


def run_groups(target, layers, rate, decay, frozen):
    """Driver: [(learning rate, sizes of the tensors) of each group by the layer's mark, which tensors learn, none twice?]"""
    import torch

    parameters = [[torch.nn.Parameter(value) for value in layer] for layer in layers]
    for layer in (parameters[0], parameters[-1]):
        layer[0].requires_grad_(False)  # as a model is that somebody has frozen before
    found = target(parameters, rate, decay, frozen)
    rates = {}
    for group in found:
        tensors = group["params"]
        tensors = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
        for tensor in tensors:
            name = f"tensor {tensor.flatten()[0].item():.0f}"
            rates[name] = rates.get(name, 0.0) + float(group["lr"])
    learns = [parameter.requires_grad for layer in parameters for parameter in layer]
    return [rates, learns]


def group_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Layers of one to three tensors, each marked by its value; a rate, a decay, and how many layers are frozen."""
    count, layers, mark = number(generator, 4, 6), [], 0
    for _ in range(count):
        layer = []
        for _ in range(number(generator, 1, 3)):
            mark += 1
            layer.append(torch.full((2,), float(mark)))
        layers.append(layer)
    decay = 0.5 + 0.3 * torch.rand((), generator=generator).item()
    rate = 1.0 + torch.rand((), generator=generator).item()  # large, so that differences count
    return [layers, rate, decay, number(generator, 1, count - 2)], {}


def groups(
    layers: list,
    rate: float,
    decay: float,
    frozen: int,
    power: Callable = lambda number, count, frozen: count - 1 - number,
    grouped: Callable = lambda number, frozen: number >= frozen,
    learns: Callable = lambda number, frozen: number >= frozen,
) -> list:
    """What run_groups gives for other choices."""
    rates, trained = {}, []
    for index, layer in enumerate(layers):
        for tensor in layer:
            trained.append(learns(index, frozen))
            if grouped(index, frozen):
                above = power(index, len(layers), frozen)
                rates[f"tensor {tensor[0].item():.0f}"] = rate * decay**above
    return [rates, trained]


def untouched(layers: list, *rest, frozen_at_least: bool) -> list:
    """As the driver's model was: the first tensors of the first and of the last layer don't learn."""
    rates, trained = groups(layers, *rest)
    if not frozen_at_least:
        trained = [index > 0 for index in range(len(trained))]
    trained[-len(layers[-1])] = False
    return [rates, trained]


def group_mistake(**choices) -> tuple[Callable, ...]:
    return (partial(groups, **choices),)


GROUP_MISTAKES = {
    "the first layers learn fastest; the rate falls towards the input.": group_mistake(
        power=lambda number, count, frozen: number
    ),
    "the first layer that learns has the highest rate; the last one should.": group_mistake(
        power=lambda number, count, frozen: number - frozen
    ),
    "the last layer learns at rate * decay; it should learn at `rate`.": group_mistake(
        power=lambda number, count, frozen: count - number
    ),
    "every layer learns at the same rate: use `decay`.": group_mistake(power=lambda *_: 0),
    "all layers below the last one have one rate: each further layer is slower again.": group_mistake(
        power=lambda number, count, frozen: int(number < count - 1)
    ),
    "frozen layers are in the groups; leave them out.": group_mistake(grouped=lambda *_: True),
    "the groups are right, but layers to be frozen still require gradients.": group_mistake(
        learns=lambda *_: True
    ),
    "the groups are right, but no layer requires gradients.": group_mistake(learns=lambda *_: False),
    "a layer that should learn had been frozen before, and it still is: set `requires_grad` to True.": partial(
        untouched, frozen_at_least=True
    ),
    "the groups are right, but `requires_grad` is as it was before: set it for every parameter.": partial(
        untouched, frozen_at_least=False
    ),
    "one layer too many is frozen.": group_mistake(
        grouped=lambda number, frozen: number > frozen,
        learns=lambda number, frozen: number > frozen,
    ),
    "the last layers are frozen; wanted are the first ones.": (
        lambda layers, rate, decay, frozen: groups(
            layers,
            rate,
            decay,
            frozen,
            grouped=lambda number, frozen: number < len(layers) - frozen,
            learns=lambda number, frozen: number < len(layers) - frozen,
        )
    ),
}  # fmt: skip


def run_mix(target, first, second, alpha):
    """Driver: [weights of the mixture, are both models as they were, is it a third model?]"""
    import torch

    def model(weights):
        made = torch.nn.Sequential(
            torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2)
        )
        with torch.no_grad():
            for parameter, value in zip(made.parameters(), weights):
                parameter.copy_(value)
        return made

    one, other = model(first), model(second)
    mixed = target(one, other, alpha)
    values = (
        [p.detach().clone() for p in mixed.parameters()]
        if isinstance(mixed, torch.nn.Module)
        else mixed
    )
    same = all(
        torch.equal(parameter.detach(), value)
        for made, weights in ((one, first), (other, second))
        for parameter, value in zip(made.parameters(), weights)
    )
    shared = {p.data_ptr() for made in (one, other) for p in made.parameters()}
    apart = isinstance(mixed, torch.nn.Module) and not any(
        p.data_ptr() in shared for p in mixed.parameters()
    )
    return [values, same, apart]


MIX_SHAPES = ((4, 3), (4,), (4,), (4,), (2, 4), (2,))


def mix_inputs(generator: torch.Generator, alpha: float | None = None) -> tuple[list, dict]:
    """Weights of two small models, and alpha (default: random)."""
    weights = [[normal(generator, *shape) for shape in MIX_SHAPES] for _ in range(2)]
    drawn = 0.1 + 0.3 * torch.rand((), generator=generator).item()
    return [*weights, drawn if alpha is None else alpha], {}


def mixed(
    first: list, second: list, alpha: float, rule: Callable, same: bool = True, apart: bool = True
) -> list:
    """What run_mix gives for another rule: (first, second, alpha, number of the tensor) -> tensor."""
    return [
        [rule(one, other, alpha, index) for index, (one, other) in enumerate(zip(first, second))],
        same,
        apart,
    ]


def line(one: Tensor, other: Tensor, alpha: float, _: int = 0) -> Tensor:
    return (1 - alpha) * one + alpha * other


MIX_MISTAKES = {
    "alpha 0 must give the first model, alpha 1 the second; here it is the other way round.": partial(
        mixed, rule=lambda one, other, alpha, _: line(other, one, alpha)
    ),
    "that is the mean of both models, whatever alpha.": partial(
        mixed, rule=lambda one, other, *_: (one + other) / 2
    ),
    "the weights are added; the shares must sum to 1.": partial(
        mixed, rule=lambda one, other, alpha, _: one + alpha * other
    ),
    "that is the first model.": partial(mixed, rule=lambda one, *_: one),
    "that is the second model.": partial(mixed, rule=lambda _, other, *__: other),
    "only matrices are mixed; biases and norms belong to the weights, too.": partial(
        mixed,
        rule=lambda one, other, alpha, _: line(one, other, alpha) if one.dim() == 2 else one,
    ),
    "only the last layer is mixed.": partial(
        mixed,
        rule=lambda one, other, alpha, number: line(one, other, alpha) if number > 3 else one,
    ),
    "the weights are right, but one of the two models was changed: work on a copy.": (
        partial(mixed, rule=line, same=False),
        partial(mixed, rule=line, same=False, apart=False),
    ),
    "the weights are right, but the result shares tensors with a model: copy it.": partial(
        mixed, rule=line, apart=False
    ),
}  # fmt: skip


def explain_mix(got: object, wanted: list, *_) -> str | None:
    if isinstance(got, list) and len(got) == 3 and isinstance(got[0], dict):
        return "found a dict of weights; wanted is a model that has them."
    return None


EXERCISES = {
    "parameter_groups": Exercise(
        "The layers near the output learn most, those near the input little or nothing.",
        (
            rule(
                "parameter_groups",
                group_inputs,
                groups,
                GROUP_MISTAKES,
                driver=driver_source(run_groups),
            ),
        ),
        reference=reference.parameter_groups,
    ),
    "mix_models": Exercise(
        "A point on the line between two models.",
        (
            rule(
                "mix_models",
                mix_inputs,
                partial(mixed, rule=line),
                MIX_MISTAKES,
                driver=driver_source(run_mix),
                explain=explain_mix,
            ),
            *(
                rule_on(
                    "mix_models",
                    partial(mix_inputs, alpha=alpha),
                    partial(mixed, rule=line),
                    {
                        f"at alpha {alpha:.0f} one of the two models itself is returned; wanted is a new one.": (
                            partial(mixed, rule=line, apart=False)
                        )
                    },
                    driver=driver_source(run_mix),
                    rounds=1,
                )
                for alpha in (0.0, 1.0)
            ),
        ),
        reference=reference.mix_models,
    ),
}  # fmt: skip
