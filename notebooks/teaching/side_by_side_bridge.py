"""Lesson 13: the checks of the exercises on equal terms and on two bridges."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from teaching import side_by_side_reference as reference
from teaching.exercises import Exercise, normal, number, rule
from teaching.frozen_prompts import shuffled
from vlmgrader.checks import driver_source

# Exercise 1

SETTINGS = (
    "steps",
    "batch",
    "pictures",
    "seeds",
    "width",
    "layers",
    "images",
    "words",
    "rate",
    "epochs",
)


def settings_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Three systems; each kind of setting differs in another of them, or is lacking."""
    names = shuffled(generator, SETTINGS)
    u, v, w = 10 * number(generator, 1, 4), 5 + 10 * number(generator, 5, 8), 7
    by_kind = {
        "equal": (u, u, u),
        "equal, too": ("a", "a", "a"),
        "first": (v, u, u),
        "middle": (u, v, u),
        "last": (u, u, v),
        "all": (u, v, w),
        "lacks in the first": (None, u, u),
        "lacks in the last": (u, u, None),
        "lacks in the middle": (v, None, v),
        "lacks and differs": (u, None, w),
    }
    systems: dict[str, dict] = {"A": {}, "B": {}, "C": {}}
    for name, values in zip(names, shuffled(generator, list(by_kind.values()))):
        for system, value in zip(systems.values(), values):
            if value is not None:
                system[name] = value
    return [systems], {}


def chosen(systems: dict, differ: Callable[[list], bool], names=None) -> list[str]:
    """Names of settings whose values, None where lacking, `differ`. names: systems -> the names that are looked at"""
    every = [name for system in systems.values() for name in system]
    names = dict.fromkeys(every if names is None else names(systems))
    return [n for n in names if differ([system.get(n) for system in systems.values()])]


def differ(values: list) -> bool:
    return any(value != values[0] for value in values)


def there(values: list) -> list:
    return [value for value in values if value is not None]


def explain_names(got: object, wanted: list, *_: object) -> str | None:
    """The right names in any other order, or in a set."""
    if isinstance(got, (set, frozenset)):
        return "a set has no order: return a list, in the order in which names first occur."
    if isinstance(got, list) and len(got) == len(wanted) and set(got) == set(wanted):
        return "the names are right, but not in the order in which they first occur."
    return None


DIFFERING_MISTAKES = {
    "these are the settings that are equal.": lambda s: chosen(s, lambda v: not differ(v)),
    "a setting that a system lacks counts as different.": lambda s: chosen(
        s, lambda v: differ(there(v))
    ),
    "a setting that the first system lacks is not looked at.": lambda s: chosen(
        s, differ, lambda s: next(iter(s.values()))
    ),
    "a setting of which only a middle system differs is missing: compare all systems.": (
        lambda s: chosen(s, lambda v: v[0] != v[-1]),
        lambda s: chosen(s, lambda v: v[0] != v[-1], lambda s: next(iter(s.values()))),
    ),
    "a setting of which only the last system differs is missing: compare all systems.": (
        lambda s: chosen(s, lambda v: v[0] != v[1]),
        lambda s: chosen(s, lambda v: v[0] != v[1], lambda s: next(iter(s.values()))),
    ),
    "only settings in which all systems differ from each other are listed; one that differs is enough.": (
        lambda s: chosen(s, lambda v: len(set(v)) == len(v)),
        lambda s: chosen(s, lambda v: len(set(there(v))) == len(v)),
    ),
    "only settings that all systems have are looked at.": lambda s: chosen(
        s, lambda v: None not in v and differ(v)
    ),
    "the names are sorted; they keep the order in which they first occur.": lambda s: sorted(
        chosen(s, differ)
    ),
    "a name is listed once for each system that has it; list each once.": lambda s: [
        name for system in s.values() for name in system if name in chosen(s, differ)
    ],
    "only settings that some system lacks are listed; other values count, too.": lambda s: chosen(
        s, lambda v: None in v
    ),
    "only the names of the last system are looked at.": lambda s: chosen(
        s, differ, lambda s: list(s.values())[-1]
    ),
    "all settings are listed.": lambda s: chosen(s, lambda v: True),
}

# Exercise 2


def ridge_inputs(generator: torch.Generator) -> tuple[list, dict]:
    N, C, D = number(generator, 11, 14), number(generator, 4, 5), number(generator, 2, 3)
    features = normal(generator, N, C) + 2 * normal(generator, C)
    return [features, 3 + normal(generator, N, D), 0.5 + number(generator, 1, 3)], {}


def solved(features, targets, penalty, *, bias_free=True, column="last", ridge=None) -> Tensor:
    ones = torch.ones(len(features), 1)
    columns = {"last": [features, ones], "first": [ones, features], "none": [features]}[column]
    X = torch.cat(columns, 1)
    matrix = penalty * torch.eye(X.shape[1]) if ridge is None else ridge(X, penalty)
    if bias_free and column != "none":
        place = -1 if column == "last" else 0
        matrix[place, place] = 0
    return torch.linalg.solve(X.T @ X + matrix, X.T @ targets)


def all_but_the_first(X: Tensor, penalty: float) -> Tensor:
    matrix = penalty * torch.eye(X.shape[1])
    matrix[0, 0] = 0
    return matrix


def solving(**options) -> Callable:
    return lambda *args: solved(*args, **options)


RIDGE_MISTAKES = {
    "the bias is penalised, too: its entry of the penalty's matrix is 0.": solving(bias_free=False),
    "the penalty is missing.": (
        solving(ridge=lambda X, p: torch.zeros(X.shape[1], X.shape[1])),
        lambda f, t, p: torch.linalg.lstsq(torch.cat([f, torch.ones(len(f), 1)], 1), t).solution,
    ),
    "the column of ones is missing: without it there is no bias.": solving(column="none"),
    "the bias is the first row; it is the last.": (
        solving(column="first"),
        solving(column="first", bias_free=False),
    ),
    "the penalty is multiplied by the number of pictures.": solving(
        ridge=lambda X, p: len(X) * p * torch.eye(X.shape[1])
    ),
    "the penalty is squared.": solving(ridge=lambda X, p: p**2 * torch.eye(X.shape[1])),
    "the penalty is divided by the number of pictures.": solving(
        ridge=lambda X, p: p / len(X) * torch.eye(X.shape[1])
    ),
    "the penalty is doubled.": solving(ridge=lambda X, p: 2 * p * torch.eye(X.shape[1])),
    "the penalty's first entry is 0; the bias is the last column, so its last one is.": (
        lambda f, t, p: solved(f, t, p, bias_free=False, ridge=all_but_the_first)
    ),
    "the penalty is subtracted.": solving(ridge=lambda X, p: -p * torch.eye(X.shape[1])),
    "the bias is the mean target; it must also take away what the features' mean gives.": (
        lambda f, t, p: torch.cat([solved(f - f.mean(0), t, p)[:-1], t.mean(0, keepdim=True)])
    ),
    "the penalty is added to all entries of X.T @ X; it belongs on the diagonal.": solving(
        ridge=lambda X, p: p * torch.ones(X.shape[1], X.shape[1]), bias_free=False
    ),
    "the result is transposed: rows belong to features, columns to targets.": lambda *args: (
        solved(*args).T
    ),
    "these are the targets that the map predicts; the map itself is wanted.": lambda f, t, p: (
        torch.cat([f, torch.ones(len(f), 1)], 1) @ solved(f, t, p)
    ),
    "X.T @ Y was not multiplied by the inverse.": lambda f, t, p: (
        torch.cat([f, torch.ones(len(f), 1)], 1).T @ t
    ),
}

# Exercise 3


def run_prefix(target, width, start, size, features, seed):
    """Driver: sizes of the linear layers, what else learns, and the vectors with weights drawn from `seed`."""
    import torch
    from torch import nn

    model = target(width, start, size)
    layers = [part for part in model.modules() if isinstance(part, nn.Linear)]
    of_layers = {id(p) for layer in layers for p in layer.parameters()}
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in layers:
            for p in layer.parameters():
                p.copy_(torch.randn(p.shape, generator=generator) / p.shape[-1] ** 0.5)
    value = model(features)
    learns = torch.is_tensor(value) and value.requires_grad
    try:  # a single picture
        one = model(features[:1])
        alone = one.shape == value[:1].shape and torch.allclose(one, value[:1], atol=1e-5)
    except Exception:
        alone = False
    kept = [*model.buffers(), *model.parameters()]
    return {
        "layers": [[layer.in_features, layer.out_features, layer.bias is not None] for layer in layers],
        "others": sum(id(p) not in of_layers for p in model.parameters()),
        "value": value.detach() if torch.is_tensor(value) else value,
        "gradient": bool(learns),
        "moves": any(torch.equal(part.flatten(), start.flatten()) for part in kept),
        "alone": alone or not torch.is_tensor(value),
    }  # fmt: skip


def prefix_inputs(generator: torch.Generator) -> tuple[list, dict]:
    n, D, width = number(generator, 2, 3), 2 * number(generator, 2, 3), number(generator, 5, 7)
    start = normal(generator, n, D)
    size, M = 0.2 + 0.1 * number(generator, 1, 4), number(generator, 4, 5)
    return [width, start, size, normal(generator, M, 1, width), number(generator, 0, 999)], {}


def prefix(width, start, size, features, seed, *, hidden=None, layers=2, act=torch.tanh, end=None,
           bias=True, others=0, gradient=True, moves=True, alone=True, first=None) -> dict:  # fmt: skip
    """What the driver finds. hidden: (n, D) -> width; end: (start, size, moved (M, n * D)) -> vectors"""
    n, D = start.shape
    middle = (hidden or (lambda n, D: n * D // 2))(n, D)
    sizes = [(width, n * D)] if layers == 1 else [(width, middle), (middle, n * D)]
    generator = torch.Generator().manual_seed(seed)
    x = first(features[:, 0]) if first else features[:, 0]
    for place, (inner, outer) in enumerate(sizes):
        W = torch.randn(outer, inner, generator=generator) / inner**0.5
        x = x @ W.T
        if bias:
            x = x + torch.randn(outer, generator=generator) / outer**0.5
        if place < len(sizes) - 1:
            x = act(x)
    end = end or (lambda start, size, x: start + size * x.reshape(len(x), n, D))
    return {
        "layers": [[inner, outer, bias] for inner, outer in sizes],
        "others": others,
        "value": end(start, size, x),
        "gradient": gradient,
        "moves": moves,
        "alone": alone,
    }


def prefixed(**options) -> Callable:
    return lambda *args: prefix(*args, **options)


def shaped(start: Tensor, x: Tensor) -> Tensor:
    return x.reshape(len(x), *start.shape)


PREFIX_MISTAKES = {
    "the activation is missing: two linear layers are one.": prefixed(act=lambda x: x),
    "the activation is a ReLU; ClipCap's is tanh.": prefixed(act=torch.relu),
    "the activation is a GELU; ClipCap's is tanh.": prefixed(act=torch.nn.functional.gelu),
    "there is one linear layer; there are two, with tanh between them.": prefixed(layers=1),
    "the hidden layer is n * D wide; half as many are wanted.": prefixed(hidden=lambda n, D: n * D),
    "the hidden layer is D wide; n * D // 2 are wanted.": prefixed(hidden=lambda n, D: D),
    "the hidden layer is as wide as the features; n * D // 2 are wanted.": lambda w, *args: prefix(
        w, *args, hidden=lambda n, D: w
    ),
    "a linear layer has no bias.": prefixed(bias=False),
    "`start` is not added.": (
        prefixed(end=lambda start, size, x: size * shaped(start, x)),
        prefixed(end=lambda start, size, x: size * shaped(start, x), moves=False),
    ),
    "`start` stays behind when the module moves to a GPU: register it as a buffer.": prefixed(
        moves=False
    ),
    "a batch of one picture doesn't work: `squeeze` without an axis takes that axis away, too.": (
        prefixed(alone=False)
    ),
    "the sign of what is added to `start` is turned round.": prefixed(
        end=lambda start, size, x: start - size * shaped(start, x)
    ),
    "tanh is applied to the features; it stands between the two layers.": prefixed(
        first=torch.tanh, act=lambda x: x
    ),
    "the activation is a sigmoid; ClipCap's is tanh.": prefixed(act=torch.sigmoid),
    "`size` divides what is added; it multiplies.": prefixed(
        end=lambda start, size, x: start + shaped(start, x) / size
    ),
    "`size` is not used: what is added to `start` is too large.": prefixed(
        end=lambda start, size, x: start + shaped(start, x)
    ),
    "`size` multiplies `start`, too.": prefixed(
        end=lambda start, size, x: size * (start + shaped(start, x))
    ),
    "tanh also stands at the end; it stands between the layers.": prefixed(
        end=lambda start, size, x: start + size * shaped(start, x).tanh()
    ),
    "`start` is trained; it must stay as it is.": prefixed(others=1),
    "nothing gets a gradient.": prefixed(gradient=False),
    "the numbers are divided among the vectors in the wrong order: reshape to (M, n, D).": prefixed(
        end=lambda start, size, x: (
            start + size * x.reshape(len(x), start.shape[1], start.shape[0]).transpose(1, 2)
        )
    ),
}

EXERCISES = {
    "differing": Exercise(
        "What is left is equal; only that can be said of a difference.",
        (
            rule(
                "differing",
                settings_inputs,
                lambda s: chosen(s, differ),
                DIFFERING_MISTAKES,
                explain=explain_names,
            ),
        ),
        reference=reference.differing,
    ),
    "ridge_map": Exercise(
        "A bridge without a single training step.",
        (rule("ridge_map", ridge_inputs, solved, RIDGE_MISTAKES, tolerance=1e-3),),
        reference=reference.ridge_map,
    ),
    "MappedPrefix": Exercise(
        "This is all of ClipCap's smaller bridge.",
        (
            rule(
                "MappedPrefix",
                prefix_inputs,
                prefix,
                PREFIX_MISTAKES,
                driver=driver_source(run_prefix),
            ),
        ),
        reference=reference.MappedPrefix,
    ),
}
