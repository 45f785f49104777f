"""Lesson 09: the check of the exercise on VisDial's ranking metrics."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import capfilt_reference as reference
from teaching.exercises import Exercise, normal, number, rule, rule_on
from vlmgrader.checks import differs


def score_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Scores of twenty candidates; right ones in first places, and far behind."""
    N, C = number(generator, 10, 14), 20
    scores = normal(generator, N, C)
    right = torch.randint(0, C, (N,), generator=generator)
    scores[torch.arange(N), right] += torch.linspace(0, 3, N)
    return [scores, right], {}


def tied_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Scores that are whole numbers, many of them equal."""
    scores = torch.randint(0, 4, (8, 12), generator=generator).float()
    return [scores, torch.randint(0, 12, (8,), generator=generator)], {}


def place_in_order(scores: Tensor, right: Tensor) -> Tensor:
    """What argsort has at the right candidate: not its rank."""
    order = scores.argsort(1, descending=True)
    return order.gather(1, right[:, None])[:, 0] + 1


def ranked(
    scores: Tensor,
    right: Tensor,
    better: Callable = lambda scores, own: scores >= own,
    shift: int = 0,
    ranks: Callable | None = None,
    reciprocal: Callable = lambda r: (1 / r).mean(),
    within: Callable = lambda r, k: r <= k,
    mean: Callable = lambda r: r.mean(),
    factor: float = 1.0,
) -> dict[str, float]:
    """ranking_metrics with other choices."""
    own = scores.gather(1, right[:, None])
    r = ranks(scores, right) if ranks else better(scores, own).sum(1) + shift
    r = r.double()
    recall = {f"R@{k}": factor * within(r, k).double().mean().item() for k in (1, 5, 10)}
    return {"MRR": factor * reciprocal(r).item(), **recall, "MR": mean(r).item()}


KEYS = {
    "MRR": "the mean of 1 / rank",
    "MR": "the mean of the ranks",
    **{
        f"R@{k}": f"the share of rounds whose rank is at most {k}, {k} included" for k in (1, 5, 10)
    },
}


def wrong_keys(got: object, wanted: dict[str, float]) -> list[str]:
    """The names of the numbers that are wrong, where all are there."""
    if not isinstance(got, dict) or set(got) != set(wanted):
        return []
    return [name for name in KEYS if differs(got[name], wanted[name], 1e-4)]


def explain_ranks(got: object, wanted: dict[str, float], *_) -> str | None:
    """Which of the numbers are wrong."""
    wrong = wrong_keys(got, wanted)
    if not wrong:
        return None
    if wrong[:2] == ["MRR", "MR"]:
        return "MRR and MR are both wrong, so the ranks are."
    return f"{', '.join(wrong)}: wrong, the others are right. {wrong[0]} is {KEYS[wrong[0]]}."


def explain_ties(got: object, wanted: dict[str, float], *_) -> str | None:
    """Where all scores differ the answer was right, so it is the equal ones."""
    if not wrong_keys(got, wanted):
        return None
    return (
        "right where all scores differ, but not where some are equal: those with the right one's "
        "score rank before it. A sorted order can't know that; count scores."
    )


RANK_MISTAKES = {
    "the lowest score is ranked first.": partial(ranked, better=lambda s, own: s <= own),
    "ranks begin at 0 here; the best rank is 1.": (
        partial(ranked, better=lambda s, own: s > own, reciprocal=lambda r: (1 / (r + 1)).mean()),
        partial(ranked, better=lambda s, own: s > own),
        partial(
            ranked,
            better=lambda s, own: s > own,
            reciprocal=lambda r: (1 / (r + 1)).mean(),
            mean=lambda r: r.mean() + 1,
        ),
    ),
    "argsort gives the candidates in their order; wanted is the place of the right candidate in it.": (
        partial(ranked, ranks=place_in_order)
    ),
    "MRR is the mean of the reciprocals, not the reciprocal of the mean.": partial(
        ranked, reciprocal=lambda r: 1 / r.mean()
    ),
    "R@k counts ranks up to k, k included.": partial(ranked, within=lambda r, k: r < k),
    "R@k counts ranks beyond k.": partial(ranked, within=lambda r, k: r > k),
    "MR is the mean of the ranks, not their median.": partial(ranked, mean=lambda r: r.median()),
    "shares and reciprocals lie between 0 and 1: don't multiply by 100.": partial(
        ranked, factor=100.0
    ),
    "the number of the right candidate is not its rank.": partial(
        ranked, ranks=lambda s, right: right + 1
    ),
    "the ranks are too large by 1: the right candidate counts once.": partial(ranked, shift=1),
}

EXERCISES = {
    "ranking_metrics": Exercise(
        "Constant scores never look like knowledge.",
        (
            rule(
                "ranking_metrics",
                score_inputs,
                reference.ranking_metrics,
                RANK_MISTAKES,
                explain=explain_ranks,
            ),
            rule_on(
                "ranking_metrics",
                tied_inputs,
                reference.ranking_metrics,
                {
                    "candidates with an equal score count against the model: they rank before the right one.": (
                        partial(ranked, better=lambda s, own: s > own, shift=1)
                    )
                },
                explain=explain_ties,
            ),
        ),
        reference=reference.ranking_metrics,
    ),
}
