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
    """Pairs whose gaps are up to four standard deviations, some with one seed of another sign."""
    cases = []
    for place in range(200):
        n, sign = number(generator, 3, 7), 2 * number(generator, 0, 1) - 1
        first, second = normal(generator, n), normal(generator, n)
        if place % 4 == 1:  # then the gaps of the seeds differ most
            second = -0.9 * first
        if place % 4 == 2:  # then they hardly differ
            second = 0.95 * first
        if place % 4 == 3:  # one system's seeds differ much more than the other's
            first, second = (first, 0.1 * second) if place % 8 == 3 else (0.1 * first, second)
        pooled = ((first.var() + second.var()) / 2).sqrt()
        wanted = sign * (0.15 + 3.5 * torch.rand((), generator=generator)) * pooled
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


def by_seed(test: Callable[[list[float], float], str]) -> Callable:
    """test: (gaps, pooled standard deviation) -> verdict, with two seeds or more"""

    def verdict(first, second) -> str:
        if len(first) < 2:
            return OPEN
        pooled = ((sample_sd(first) ** 2 + sample_sd(second) ** 2) / 2) ** 0.5
        return test([a - b for a, b in zip(first, second)], pooled)

    return lambda cases: [verdict(*case) for case in cases]


def over(gaps: list[float]) -> str:
    """The verdict where the mean gap is large enough."""
    return HIGHER if min(gaps) > 0 else LOWER if max(gaps) < 0 else OPEN


def all_pairs(first, second) -> str:
    """Instead of seed with seed, every score with every other one."""
    found = judged(first, second, signs=False)
    apart = min(first) > max(second) or max(first) < min(second)
    return found if apart else OPEN


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
    "every score of one is compared with every one of the other; compare seed with seed.": (
        lambda cases: [all_pairs(*case) for case in cases]
    ),
    "every single gap is compared with two deviations; the rule compares their mean.": by_seed(
        lambda gaps, s: HIGHER if min(gaps) > 2 * s else LOWER if max(gaps) < -2 * s else OPEN
    ),
    "the sum of the gaps is compared with the spread; take their mean.": by_seed(
        lambda gaps, s: over(gaps) if abs(sum(gaps)) > 2 * s else OPEN
    ),
    "the standard deviations are averaged; average their squares, then take the root.": judging(
        pool=lambda a, b: (a + b) / 2
    ),
    "the pooled deviation is divided by the root of the number of seeds; the rule doesn't do so.": (
        by_seed(
            lambda gaps, s: (
                over(gaps) if abs(sum(gaps)) / len(gaps) > 2 * s / len(gaps) ** 0.5 else OPEN
            )
        )
    ),
    "the gap is compared with three pooled standard deviations; two are wanted.": judging(factor=3),
    "'lower' is said where not every seed is lower: the rule is the same in both directions.": (
        by_seed(
            lambda gaps, s: (
                OPEN if abs(sum(gaps)) / len(gaps) <= 2 * s else HIGHER if min(gaps) > 0 else LOWER
            )
        )
    ),
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


NAMES = "linear MLP queries gates patches tower frozen grid pooled copied short deep wide".split()


def leader_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Each mistake takes another system for the best, and then is higher than another number of the low ones."""
    e = torch.rand(5, generator=generator).mul(0.01).tolist()
    scores = [
        [0.62 + e[0], 0.95, 0.93],  # best by its mean
        [0.57 + e[1], 0.999, 0.70],  # has the highest single score
        [0.98, 0.47 + e[2], 0.50],  # best in the first seed
        [0.37 + e[3], 0.42, 0.985],  # best in the last seed
        [0.27 + e[4], 0.965, 0.96],  # has the highest median
        [0.79, 0.80, 0.78],  # has the highest lowest score
        [0.64, 0.66, 0.65],  # below the one before, not below the best
        *([high - 0.05, high, high - 0.1] for high in (0.15, 0.25, 0.35, 0.45, 0.55, 0.605)),
    ]
    order = shuffled(generator, list(range(len(scores))))
    return [{name: scores[which] for name, which in zip(shuffled(generator, NAMES), order)}], {}


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
    "the best is chosen by its last seed; compare means.": lambda s: leading(
        s, best=lambda values: values[-1]
    ),
    "the best is the one with the highest median; compare means.": lambda s: leading(
        s, best=statistics.median
    ),
    "another system than the one with the highest mean is higher than a name that you leave out.": (
        lambda s: [name for name in s if all(apart(s[one], s[name]) != HIGHER for one in s)],
        lambda s: leading(s, best=min),
    ),
    "the best stands before the others; the names keep their order.": lambda s: leading(
        s, order=lambda found, s: sorted(found, key=lambda name: name != top_of(s))
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
