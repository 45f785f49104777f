"""Lesson 03: formulas, inputs and common mistakes of the exercises on probes, shots and compute."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from teaching.exercises import normal, number


def standardise(
    train: Tensor, test: Tensor, shift=lambda train, test: train, dim=0, scale=True, constant=1.0
) -> list[Tensor]:
    """[train, test] by the mean and standard deviation of each feature in shift(train, test)."""
    found = shift(train, test)
    mean, std = found.mean(dim, keepdim=True), found.std(dim, correction=0, keepdim=True)
    std = torch.where(std > 0, std, constant) if scale else torch.ones_like(std)
    return [(part - mean) / std for part in (train, test)]


def standardise_inputs(generator: torch.Generator) -> tuple[list, dict]:
    width = number(generator, 3, 6)
    train = normal(generator, number(generator, 6, 9), width) * (torch.arange(width) + 0.2) + 2
    test = 3 * normal(generator, number(generator, 4, 6), width) - 1
    train[:, number(generator, 1, width - 1)] = 5.0  # a constant feature
    return [train, test], {}


def each_alone(train: Tensor, test: Tensor) -> list[Tensor]:
    return [standardise(part, part)[0] for part in (train, test)]


def constant_to_zero(train: Tensor, test: Tensor) -> list[Tensor]:
    """The mistake: 0 wherever 0 would divide."""
    mean, std = train.mean(0), train.std(0, correction=0)
    parts = [(part - mean) / std for part in (train, test)]
    return [part.nan_to_num(0.0, posinf=0.0, neginf=0.0) for part in parts]


def probe_loss(
    weight: Tensor,
    bias: Tensor,
    features: Tensor,
    labels: Tensor,
    l2: float,
    penalty=lambda weight, bias: 0.5 * (weight**2).sum(),
    reduction: str = "mean",
    logits_of=lambda logits: logits,
    shift: float = 1.0,
) -> Tensor:
    """Multinomial logistic regression with an L2 penalty: weight (C, D), bias (C,), features (N, D), labels (N,)."""
    logits = logits_of(features @ weight.T + shift * bias)
    return cross_entropy(logits, labels, reduction=reduction) + l2 * penalty(weight, bias)


def as_float(**changes):
    return lambda *args: probe_loss(*args, **changes).item()


def probe_inputs(generator: torch.Generator) -> tuple[list, dict]:
    classes, rows = number(generator, 3, 6), number(generator, 7, 10)
    width = classes + number(generator, 1, 3)
    weight, bias = normal(generator, classes, width), normal(generator, classes)
    labels = torch.randint(classes, (rows,), generator=generator)
    l2 = 0.1 + torch.rand((), generator=generator).item()
    return [weight, bias, normal(generator, rows, width), labels, l2], {}


def draw_shots(labels: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Rows of k different examples of each class: (N,) -> (C * k,)."""
    rows = []
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        rows.append(members[torch.randperm(len(members), generator=generator)[:k]])
    return torch.cat(rows)


def run_draws(target, labels, k, seed):
    """Driver: what draws with two seeds have in common, and the first one twice; numbers within classes instead of rows?"""
    import torch

    def draw(seed):
        found = target(labels, k, torch.Generator().manual_seed(seed))
        if isinstance(found, (list, tuple)) and any(torch.is_tensor(one) for one in found):
            raise TypeError("this is a list of tensors: join the rows of all classes, torch.cat.")
        rows = torch.as_tensor(found)
        if rows.dtype == torch.bool:
            raise TypeError("these are booleans: return the numbers of the rows, integers.")
        return rows.flatten()

    sizes, raw = torch.bincount(labels), draw(seed)
    within = len(raw) == k * len(sizes) and all(
        len(part.unique()) == k and 0 <= part.min() and part.max() < size
        for part, size in zip(raw.reshape(-1, k), sizes)
    )
    first, again, other = (rows.sort().values for rows in (raw, draw(seed), draw(seed + 1)))
    valid = len(first) > 0 and bool((first >= 0).all() and (first < len(labels)).all())
    counts = torch.bincount(labels[first], minlength=len(sizes)) if valid else 0 * sizes
    return [
        counts,
        len(first.unique()) == len(first),
        torch.equal(first, again),
        not torch.equal(first, other),
        within and not (bool((counts == k).all()) and len(first.unique()) == len(first)),
    ]


def draw_inputs(generator: torch.Generator) -> tuple[list, dict]:
    classes, k = number(generator, 3, 5), number(generator, 3, 5)
    counts = [number(generator, 9, 14) for _ in range(classes)]
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    return [labels[torch.randperm(len(labels), generator=generator)], k, 7], {}


def per_class(labels: Tensor, k: int) -> Tensor:
    return torch.full((int(labels.max()) + 1,), k)


def explain_draws(got, wanted, labels: Tensor, k: int, seed: int) -> str | None:
    """What is wrong with [counts of each class, all different?, repeatable?, random?, numbers within classes?]."""
    if not isinstance(got, list) or len(got) != 5 or not isinstance(got[0], Tensor):
        return None
    counts, different, repeatable, random, within = got
    if counts.sum() == k:
        return "that is k rows in all: k rows of *each class* are wanted."
    if counts.sum() == 0:
        return "these are not numbers of rows: return positions in `labels`, each from 0 to N - 1."
    if within:
        return "these number the members within each class: translate them to rows of `labels`, from 0 to N - 1."
    if len(missing := (counts == 0).nonzero()):
        return f"class {missing[0].item()} has no rows; each must have {k}."
    if not torch.equal(counts, wanted[0]):
        return f"the classes have {counts.tolist()} rows; each must have {k}."
    if not different:
        return "a row is drawn twice: draw without replacement."
    if not repeatable:
        return "the same generator state gives other rows: give `generator` to each random call."
    if not random:
        return "another generator gives the same rows: draw them at random, not the first ones."
    return None


def shots_worth(
    shots: list[int], accuracy: list[float], zero_shot: float, axis=math.log2, back=lambda x: 2.0**x
) -> float:
    """Labelled examples a class at which the few-shot curve reaches zero_shot: linear in log2(shots) between points."""
    if zero_shot <= accuracy[0]:
        return float(shots[0])
    for number_of_shots, more, low, high in zip(shots, shots[1:], accuracy, accuracy[1:]):
        if low < zero_shot <= high:
            share = (zero_shot - low) / (high - low)
            return float(back(axis(number_of_shots) + share * (axis(more) - axis(number_of_shots))))
    return math.inf


def worth_between(shots, accuracy, zero_shot, between) -> float:
    """As shots_worth, but between(fewer, more, low, high, zero_shot) gives the answer inside the measured range."""
    if zero_shot <= accuracy[0]:
        return float(shots[0])
    for fewer, more, low, high in zip(shots, shots[1:], accuracy, accuracy[1:]):
        if low < zero_shot <= high:
            return float(between(fewer, more, low, high, zero_shot))
    return math.inf


def along(axis, back=lambda x: 2.0**x, level=lambda x: x, turned=False):
    """between: interpolates axis(shots) over level(accuracy), back() undoes axis; turned: the neighbours exchanged."""

    def between(fewer, more, low, high, zero_shot):
        share = (level(zero_shot) - level(low)) / (level(high) - level(low))
        share = 1 - share if turned else share
        return back(axis(fewer) + share * (axis(more) - axis(fewer)))

    return between


def ends_alone(shots, accuracy, zero_shot) -> float:
    """The mistake: one straight line from the first to the last point."""
    return worth_between(
        [shots[0], shots[-1]], [accuracy[0], accuracy[-1]], zero_shot, along(math.log2)
    )


def worth_inputs(generator: torch.Generator, level=lambda a, share: a[1] + share * (a[3] - a[1])):
    accuracy = (0.2 + torch.rand(5, generator=generator).cumsum(0) / 7).tolist()
    share = torch.rand((), generator=generator).item()
    fewest = number(generator, 5, 9)
    shots = [fewest]
    while len(shots) < len(accuracy):  # steps of unequal width on the logarithmic axis
        shots.append(shots[-1] * number(generator, 2, 4) + number(generator, 0, 3))
    return [shots, accuracy, level(accuracy, 0.1 + 0.8 * share)], {}


def next_point(shots, accuracy, zero_shot) -> float:
    reached = (float(k) for k, value in zip(shots, accuracy) if value >= zero_shot)
    return next(reached, math.inf)


def last_point(shots, accuracy, zero_shot) -> float:
    below = [float(k) for k, value in zip(shots, accuracy) if value <= zero_shot]
    return below[-1] if below else float(shots[0])


def clamped(shots, accuracy, zero_shot) -> float:
    return min(shots_worth(shots, accuracy, zero_shot), float(shots[-1]))


def vit_flops(
    width: int,
    depth: int,
    patches: int,
    patch: int,
    mac: int = 2,
    token: int = 1,
    attention: int = 2,
    projections: int = 4,
    mlp: int = 8,
    channels: int = 3,
    projected: int = 0,
) -> int:
    """Matrix products of a ViT's forward pass, one image; projected: so many tokens more than patches."""
    tokens = patches + token
    embed = (patches + projected) * channels * patch**2 * width
    block = tokens * (projections + mlp) * width**2 + attention * tokens**2 * width
    return mac * (embed + depth * block)


def flops_inputs(generator: torch.Generator) -> tuple[list, dict]:
    width, side = 8 * number(generator, 2, 20), number(generator, 3, 9)
    return [width, number(generator, 2, 12), side**2, 4 * number(generator, 2, 7)], {}


def same(value: float) -> float:
    return value


def compute_factor(
    compute: list[float],
    error: list[float],
    target: float,
    axis=math.log,
    back=math.exp,
    error_axis=None,
    inverse: bool = False,
) -> float:
    """How many times the largest compute the line through (log compute, log error) needs for the target error.

    inverse: the mistake of a line that predicts compute from error
    """
    error_axis = error_axis or axis
    x = torch.tensor([axis(value) for value in compute], dtype=torch.float64)
    y = torch.tensor([error_axis(value) for value in error], dtype=torch.float64)
    dx, dy = x - x.mean(), y - y.mean()
    squares = (dx * dy).sum() / (dy**2).sum() if inverse else (dx**2).sum() / (dx * dy).sum()
    return back((x.mean() + (error_axis(target) - y.mean()) * squares).item()) / max(compute)


def factor_inputs(generator: torch.Generator) -> tuple[list, dict]:
    compute = [10.0 ** (power + 0.3 * torch.rand((), generator=generator).item())
               for power in (0, 0.6, 1.2, 1.8)]  # fmt: skip
    slope = 0.2 + 0.2 * torch.rand((), generator=generator).item()
    noise = normal(generator, 4, scale=0.05).exp().tolist()
    error = [0.6 * value**-slope * factor for value, factor in zip(compute, noise)]
    order = [(0, 3, 2, 1), (3, 0, 1, 2), (2, 0, 3, 1), (1, 3, 0, 2)][number(generator, 0, 3)]
    return [[compute[i] for i in order], [error[i] for i in order], 0.5 * min(error)], {}


def from_the_best(compute, error, target) -> float:
    """The mistake: the fitted slope, from the smallest measured error on, as if the line passed through that point."""
    x, y = (torch.tensor(values, dtype=torch.float64).log() for values in (compute, error))
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    return ((math.log(target) - y.min()) / slope).exp().item()


def two_points(compute, error, target, order=sorted) -> float:
    """The line through the smallest and the largest model; order=list: through the first and the last one of the list."""
    pairs = order(zip(compute, error))
    line = compute_factor(*map(list, zip(pairs[0], pairs[-1])), target)
    return line * max(pairs[0][0], pairs[-1][0]) / max(compute)
