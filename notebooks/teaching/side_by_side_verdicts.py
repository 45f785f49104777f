"""Lesson 13: the checks of the exercises on verdicts over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch

from teaching import side_by_side_reference as reference
from teaching.exercises import Exercise, normal, number, rule, rule_on
from teaching.frozen_prompts import shuffled
from teaching.side_by_side_reference import HIGHER, LOWER, OPEN
from vlmgrader.checks import driver_source

# Exercise 4


def run_each(target, cases):
    """Driver: the verdict on each pair."""
    return [target(list(first), list(second)) for first, second in cases]


def pair_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Pairs whose gaps are between one and five standard deviations, some with one seed of another sign."""
    cases = []
    for place in range(60):
        n, sign = number(generator, 3, 5), 2 * number(generator, 0, 1) - 1
        first, second = normal(generator, n), normal(generator, n)
        if place % 2:  # then the gaps of the seeds differ most
            second = -0.9 * first
        pooled = ((first.var() + second.var()) / 2).sqrt()
        wanted = sign * (0.3 + 4 * torch.rand((), generator=generator)) * pooled
        first = first - first.mean() + second.mean() + wanted
        size = (4 if place % 3 == 0 else 0.1) * (0.5 + torch.rand((), generator=generator))
        cases.append([(size * first).tolist(), (size * second).tolist()])
    return [cases], {}


def seeds_inputs(generator: torch.Generator) -> tuple[list, dict]:
    x = number(generator, 1, 9) / 10
    return [[[[x + 0.5], [x]], [[x], [x + 0.5]]]], {}


def sample_sd(values, off: int = 1) -> float:
    mean = sum(values) / len(values)
    return (sum((value - mean) ** 2 for value in values) / (len(values) - off)) ** 0.5


def judged(first, second, *, sd=sample_sd, pool=None, factor=2.0, signs=True, gap=True,
           names=(HIGHER, LOWER, OPEN)) -> str:  # fmt: skip
    if len(first) < 2:
        return names[2]
    pool = pool or (lambda a, b: ((a**2 + b**2) / 2) ** 0.5)
    gaps = [a - b for a, b in zip(first, second)]
    mean = sum(gaps) / len(gaps)
    if gap and abs(mean) <= factor * pool(sd(first), sd(second)):
        return names[2]
    if signs and not (all(g > 0 for g in gaps) or all(g < 0 for g in gaps)):
        return names[2]
    return names[0] if mean > 0 else names[1]


def judging(**options) -> Callable:
    return lambda cases: [judged(*case, **options) for case in cases]


def of_gaps(first, second) -> str:
    """The rule with the standard deviation of the differences."""
    gaps = [a - b for a, b in zip(first, second)]
    spread = sample_sd(gaps)
    return judged(first, second, pool=lambda a, b: spread)


COMPARE_MISTAKES = {
    "'higher' and 'lower' are exchanged: they say how the first is, compared with the second.": (
        judging(names=(LOWER, HIGHER, OPEN))
    ),
    "the signs of the gaps are not looked at: one seed may say the contrary.": judging(signs=False),
    "the size of the gap is not compared with the spread.": (
        judging(gap=False),
        judging(gap=False, signs=False),
    ),
    "the gap is compared with one pooled standard deviation; two are wanted.": judging(factor=1),
    "the spread is a population's (division by n); use the sample's (division by n - 1).": judging(
        sd=lambda values: sample_sd(values, 0)
    ),
    "the standard deviations are added, not pooled: the root of the mean of their squares.": (
        judging(pool=lambda a, b: a + b)
    ),
    "the squares are added, but not halved, before the root is taken.": judging(
        pool=lambda a, b: (a**2 + b**2) ** 0.5
    ),
    "variances are compared, not standard deviations: the root is missing.": judging(
        pool=lambda a, b: (a**2 + b**2) / 2
    ),
    "the spread is that of the first alone.": judging(pool=lambda a, b: a),
    "the spread is that of the second alone.": judging(pool=lambda a, b: b),
    "the spread is that of the differences; the rule pools that of both systems.": lambda cases: [
        of_gaps(*case) for case in cases
    ],
    "'lower' is never said: the rule has two directions.": judging(names=(HIGHER, OPEN, OPEN)),
    "it always says the same.": (
        lambda cases: [OPEN for _ in cases],
        lambda cases: [HIGHER for _ in cases],
    ),
}

# Exercise 5


def run_leaders(target, scores):
    """Driver: leaders with a rule of its own: higher where every score of the first is above every one of the second."""

    def apart(first, second):
        if min(first) > max(second):
            return "higher"
        return "lower" if max(first) < min(second) else "no difference shown"

    return list(target({name: list(values) for name, values in scores.items()}, apart))


def leader_inputs(generator: torch.Generator) -> tuple[list, dict]:
    names = shuffled(generator, ("linear", "MLP", "queries", "gates", "patches", "tower"))
    e = torch.rand(6, generator=generator).mul(0.01).tolist()
    scores = [
        [0.80 + e[0], 0.82, 0.84],  # best by its mean
        [0.70 + e[1], 0.76, 0.91],  # has the highest single score
        [0.72 + e[2], 0.60, 0.65],
        [0.50 + e[3], 0.55, 0.60],
        [0.30 + e[4], 0.35, 0.40],
        [0.86, 0.45 + e[5], 0.50],  # best in the first seed
    ]
    order = shuffled(generator, list(range(6)))
    return [{names[place]: scores[which] for place, which in enumerate(order)}], {}


def apart(first, second) -> str:
    if min(first) > max(second):
        return HIGHER
    return LOWER if max(first) < min(second) else OPEN


def leading(scores, *, best=statistics.fmean, keep=None, order=None) -> list[str]:
    top = max(scores, key=lambda name: best(scores[name]))
    keep = keep or (lambda name: apart(scores[top], scores[name]) != HIGHER)
    found = [name for name in scores if keep(name)]
    return order(found, scores) if order else found


def top_of(scores) -> str:
    return max(scores, key=lambda name: statistics.fmean(scores[name]))


LEADER_MISTAKES = {
    "only the system with the highest mean is named; add those that it isn't higher than.": (
        lambda s: [top_of(s)]
    ),
    "the system with the highest mean itself is missing.": lambda s: [
        name for name in leading(s) if name != top_of(s)
    ],
    "all systems are named.": lambda s: list(s),
    "these are the systems that are lower.": lambda s: [
        name for name in s if name not in leading(s)
    ],
    "the best is the one with the highest single score; compare means.": lambda s: leading(
        s, best=max
    ),
    "the best is chosen by its first seed; compare means.": lambda s: leading(
        s, best=lambda values: values[0]
    ),
    "means are compared, and `compare` isn't used.": lambda s: [
        name for name in s if statistics.fmean(s[name]) > statistics.fmean(s[top_of(s)]) - 0.1
    ],
    "the names are sorted by score; they keep their order.": lambda s: leading(
        s, order=lambda found, s: sorted(found, key=lambda name: -statistics.fmean(s[name]))
    ),
}

EXERCISES = {
    "compare": Exercise(
        "The same rule judges all tables of this course.",
        (
            rule(
                "compare",
                pair_inputs,
                judging(),
                COMPARE_MISTAKES,
                driver=driver_source(run_each),
            ),
            rule_on(
                "compare",
                seeds_inputs,
                judging(),
                {
                    "with one seed there is no spread, so no difference is shown.": (
                        lambda cases: [HIGHER, LOWER]
                    )
                },
                driver=driver_source(run_each),
                rounds=1,
            ),
        ),
        reference=reference.compare,
    ),
    "leaders": Exercise(
        "A first place may be shared.",
        (
            rule(
                "leaders",
                leader_inputs,
                leading,
                LEADER_MISTAKES,
                driver=driver_source(run_leaders),
            ),
        ),
        reference=reference.leaders,
    ),
}
