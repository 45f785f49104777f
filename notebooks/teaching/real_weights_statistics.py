"""Lesson 15: the checks of the exercises on small samples: an interval that respects groups, an exact test of pairs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import real_weights_reference as reference
from teaching.exercises import Exercise, number, number_rule, rule, rule_on


def answers_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Right or wrong of items in groups of unequal size, and which groups each of many samples holds."""
    count = number(generator, 6, 8)
    sizes = [number(generator, 2, 14) for _ in range(count)]
    groups = torch.tensor([group for group, size in enumerate(sizes) for _ in range(size)])
    groups = groups[torch.randperm(len(groups), generator=generator)]
    ease = torch.rand(count, generator=generator)
    right = torch.rand(len(groups), generator=generator) < ease[groups]
    return [right, groups, torch.randint(count, (400, count), generator=generator)], {}


def interval(
    right: Tensor,
    groups: Tensor,
    draws: Tensor,
    limits: tuple[float, float] = (0.025, 0.975),
    scores: Callable | None = None,
) -> list[float]:
    """bootstrap_interval with other choices."""
    right = right.float()
    means = torch.stack([right[groups == group].mean() for group in range(draws.shape[1])])
    values = scores(right, groups, draws, means) if scores else means[draws].mean(1)
    return [torch.quantile(values, limit).item() for limit in limits]


def pooled(right: Tensor, groups: Tensor, draws: Tensor, _: Tensor) -> Tensor:
    """The share of right items among all items of the drawn groups."""
    G = draws.shape[1]
    sums = torch.stack([right[groups == group].sum() for group in range(G)])
    sizes = torch.stack([(groups == group).sum() for group in range(G)])
    return sums[draws].sum(1) / sizes[draws].sum(1)


def once_each(_: Tensor, __: Tensor, draws: Tensor, means: Tensor) -> Tensor:
    """The mean over the different groups of each sample."""
    return torch.stack([means[drawn.unique()].mean() for drawn in draws])


def spread_around(right, groups, draws) -> list[float]:
    """Mean plus and minus 1.96 standard deviations of the samples."""
    means = torch.stack([right.float()[groups == group].mean() for group in groups.unique()])
    values = means[draws].mean(1)
    middle, deviation = values.mean().item(), values.std().item()
    return [middle - 1.96 * deviation, middle + 1.96 * deviation]


def binomial(right: Tensor, *_) -> list[float]:
    """The usual interval for independent items."""
    share = right.float().mean().item()
    half = 1.96 * (share * (1 - share) / len(right)) ** 0.5
    return [share - half, share + half]


INTERVAL_MISTAKES = {
    "that pools all items of the drawn groups, so large groups count more: average each group first.": partial(
        interval, scores=pooled
    ),
    "that is the 90 % interval; 95 % leaves 2.5 % on either side.": partial(
        interval, limits=(0.05, 0.95)
    ),
    "that is the 99 % interval; 95 % leaves 2.5 % on either side.": partial(
        interval, limits=(0.005, 0.995)
    ),
    "that is the 68 % interval; 95 % leaves 2.5 % on either side.": partial(
        interval, limits=(0.16, 0.84)
    ),
    "right items are counted; wanted is each group's share of right items.": partial(
        interval,
        scores=lambda right, groups, draws, _: torch.stack(
            [right[groups == group].sum() for group in range(draws.shape[1])]
        )[draws].mean(1),
    ),
    "wrong items are counted; `right` is True for the right ones.": (
        lambda right, groups, draws: interval(~right.bool(), groups, draws)
    ),
    "the lower limit is right, the upper one is the 95 % quantile; wanted is 97.5 %.": partial(
        interval, limits=(0.025, 0.95)
    ),
    "these are the smallest and the largest sample.": partial(interval, limits=(0.0, 1.0)),
    "upper and lower limit are exchanged.": partial(interval, limits=(0.975, 0.025)),
    "these are quantiles of the groups' accuracies: average over the groups of each sample first.": partial(
        interval, scores=lambda right, groups, draws, means: means
    ),
    "the mean runs over samples instead of over the groups of each sample.": partial(
        interval, scores=lambda right, groups, draws, means: means[draws].mean(0)
    ),
    "`draws` holds numbers of groups, not of items.": partial(
        interval, scores=lambda right, groups, draws, means: right[draws].mean(1)
    ),
    "that is mean ± 1.96 standard deviations; wanted are quantiles of the samples.": spread_around,
    "that treats items as independent; items of one group are alike.": binomial,
    "a group that was drawn twice counts once in its sample; it counts twice.": (
        lambda right, groups, draws: interval(right, groups, draws, scores=once_each)
    ),
    "every sample has each group once: use `draws`.": lambda right, groups, draws: interval(
        right, groups, torch.arange(draws.shape[1]).expand_as(draws)
    ),
}


def difference_inputs(generator: torch.Generator, sign: int = 1) -> tuple[list, dict]:
    """Differences of eight to ten pairs, of which most have this sign, as their mean has."""
    values = 0.5 + 0.8 * torch.randn(number(generator, 8, 10), generator=generator)
    return [sign * values * values.mean().sign()], {}


def patterns(differences: Tensor) -> Tensor:
    """Means of the differences under all patterns of signs."""
    signs = torch.tensor(list(itertools.product([1.0, -1.0], repeat=len(differences))))
    return (signs * differences).mean(1)


def flipped(differences: Tensor, far: Callable) -> float:
    """The share of patterns for which far(their means, the mean) holds."""
    return far(patterns(differences), differences.mean()).float().mean().item()


def two_sided(means: Tensor, mean: Tensor) -> Tensor:
    return means.abs() >= mean.abs() - 1e-6


def same_signs(differences: Tensor) -> float:
    """The sign test: only the signs count."""
    return flipped(differences.sign(), two_sided)


def normal_test(differences: Tensor) -> float:
    """Two-sided, by a normal distribution."""
    z = differences.mean() / (differences.std() / len(differences) ** 0.5)
    return torch.erfc(z.abs() / 2**0.5).item()


TEST_MISTAKES = {
    "that is one-sided: a mean as far below zero counts, too. Signs are 1 and -1, not 1 and 0.": partial(
        flipped, far=lambda means, mean: means * mean.sign() >= mean.abs() - 1e-6
    ),
    "the pattern of the data itself is missing: at least as far, so `>=`.": partial(
        flipped, far=lambda means, mean: means.abs() > mean.abs() + 1e-6
    ),
    "the threshold is the mean of absolute differences; wanted is the absolute value of their mean.": (
        lambda differences: (
            (patterns(differences).abs() >= differences.abs().mean() - 1e-6).float().mean().item()
        )
    ),
    "every pattern counts: take absolute values after the mean, not before.": lambda _: 1.0,
    "that is 1 - p: count the patterns that are as far or farther, not the nearer ones.": (
        partial(flipped, far=lambda means, mean: means.abs() < mean.abs() - 1e-6)
    ),
    "only the signs of the differences are used, not their sizes.": same_signs,
    "that is a test by a normal distribution; count sign patterns.": normal_test,
    "that counts patterns, it doesn't give their share.": lambda differences: (
        two_sided(patterns(differences), differences.mean()).sum().item() * 1.0
    ),
    "that is the share of differences with the mean's sign.": lambda differences: (
        (differences.sign() == differences.mean().sign()).float().mean().item()
    ),
    "that is the mean difference, not a probability.": lambda differences: (
        differences.mean().item()
    ),
}


def doubled(differences: Tensor, highest: float) -> float:
    """Twice the share of means at least as high as the one found."""
    return min(highest, 2 * flipped(differences, lambda means, mean: means >= mean - 1e-6))


NEGATIVE_MISTAKES = {
    message: mistake for message, mistake in TEST_MISTAKES.items() if "every pattern" not in message
} | {
    "the mean is below zero, and you count means above it: take absolute values.": (
        partial(doubled, highest=1.0),
        partial(doubled, highest=2.0),
        partial(flipped, far=lambda means, mean: means >= mean - 1e-6),
    ),
}
"""Those of a negative mean: of a positive one, the doubled share above is right."""


def tenths_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Differences that are tenths, of which some means are equal but for rounding, whichever way they are summed."""
    while True:
        values = torch.randint(-9, 10, (8,), generator=generator) / 10
        signs = torch.tensor(list(itertools.product([1.0, -1.0], repeat=len(values))))
        double = values.double()
        plain = (
            (patterns(values).abs() >= values.mean().abs()),
            ((signs @ values / len(values)).abs() >= values.mean().abs()),
            ((signs @ values).abs() >= values.sum().abs()),
            ((signs.double() * double).mean(1).abs() >= double.mean().abs()),
        )
        right = flipped(values, two_sided)
        if all(abs(far.float().mean().item() - right) > 1e-3 for far in plain):
            return [values], {}


def whole_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Differences that are multiples of a quarter, so that means tie; and sometimes all of one sign."""
    values = torch.randint(1, 4, (6,), generator=generator) / 4
    return [values * (2 * number(generator, 0, 1) - 1)], {}


EXERCISES = {
    "bootstrap_interval": Exercise(
        "Groups are drawn, not items: so the interval says how much another set of regions could change.",
        (
            rule("bootstrap_interval", answers_inputs, interval, INTERVAL_MISTAKES, tolerance=1e-3),
        ),
        reference=reference.bootstrap_interval,
    ),
    "sign_flip_test": Exercise(
        "Exact, for any distribution: no normal curve is assumed.",
        (
            rule("sign_flip_test", difference_inputs, partial(flipped, far=two_sided),
                 TEST_MISTAKES),
            rule("sign_flip_test", partial(difference_inputs, sign=-1),
                 partial(flipped, far=two_sided), NEGATIVE_MISTAKES),
            rule_on("sign_flip_test", whole_inputs, partial(flipped, far=two_sided), TEST_MISTAKES,
                    rounds=6),
            rule_on("sign_flip_test", tenths_inputs, partial(flipped, far=two_sided), rounds=2,
                    explain=lambda *_: "means that are equal up to rounding are left out: allow 0.000001."),
            number_rule("sign_flip_test", difference_inputs),
        ),
        reference=reference.sign_flip_test,
    ),
}  # fmt: skip
