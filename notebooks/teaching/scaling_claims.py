"""Lesson 06, its first half: what the curves say in words, and the papers' claims beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from teaching.scaling_figures import Rows, Valley, best_sizes, budgets, short
from vlmcourse import evaluation
from vlmcourse.evaluation.published import published


def exponent_range(rows: Rows, valley: Valley, power_law: Callable) -> tuple[float, float]:
    """Lowest and highest exponent: of all curves, of curves without their largest or their smallest size, and of single seeds.

    Left out are choices of curves of which one has no minimum inside: it gives a bound and no size.
    """
    runs = budgets(rows)
    whole = set.intersection(*({run[0]["seed"] for run in found} for found in runs.values()))
    exponents = []
    for part in (slice(None), slice(None, -1), slice(1, None)):
        for seeds in ({row["seed"] for row in rows}, *({seed} for seed in whole)):
            curves = [
                run[part] for found in runs.values() for run in found if run[0]["seed"] in seeds
            ]
            found = [
                valley([row["parameters"] for row in one], [row["loss"] for row in one])
                for one in curves
            ]
            if all(inside for _, inside in found):
                flops = [one[0]["flops"] for one in curves]
                exponents.append(power_law(flops, [size for size, _ in found])[0])
    return min(exponents), max(exponents)


def about_exponent(exponent: float, low: float, high: float) -> str:
    """In words: the exponent, how far it moves with the data, and what that says about Kaplan's law and equal growth."""
    kaplan = published("chinchilla-exponents").value("Kaplan", "a")
    against = (
        "below" if high < kaplan else "above" if low > kaplan else "not clearly different from"
    )
    equal = "isn't excluded" if low <= 0.5 <= high else "is outside of this range"
    return (
        f"exponent {exponent:.2f}; without the largest or the smallest size of each curve, or by one seed: "
        f"{low:.2f} to {high:.2f}.\n"
        f"That is {against} Kaplan's {kaplan}; equal growth (0.50) {equal}."
    )


def plain(value: evaluation.Spread) -> str:
    """Mean and standard deviation, if it isn't zero; thousands as '6.7k'."""
    mean, std = short(value.mean), short(value.std)
    if value.mean < 1000:
        mean, std = f"{value.mean:.3g}", f"{value.std:.2g}"
    return f"{mean} ± {std}" if value.std else mean


def comparison(claims: Sequence[tuple]) -> str:
    """(claim, paper, (name, Spread), (name, Spread), reason if it is within noise) -> a Markdown table with verdicts by the course's rule."""
    lines = [
        "| claim | paper | ours: first; second | seeds | verdict | reason |",
        "|---|---|---|---|---|---|",
    ]
    for claim, paper, (first, higher), (second, lower), reason in claims:
        verdict = evaluation.verdict(higher.values, lower.values)
        numbers = f"{first} {plain(higher)}; {second} {plain(lower)}"
        reason = reason if verdict == "within noise" else ""
        reason = (
            reason if len(higher.values) > 1 or not reason else "A single seed tells no spread."
        )
        lines.append(
            f"| {claim} | {paper} | {numbers} | {len(higher.values)} | {verdict} | {reason} |"
        )
    return "\n".join(lines)


def claims(rows: Rows, valley: Valley) -> list[tuple]:
    """The paper's claims that the isoFLOP curves can repeat, for `comparison`."""
    runs, best, spread = budgets(rows), best_sizes(rows, valley), evaluation.spread
    low, middle = sorted(runs)[:2]
    most = max(runs, key=lambda flops: (len(runs[flops]), flops))  # where most seeds were run
    losses = [[row["loss"] for row in run] for run in runs[most]]
    lowest = spread([min(one) for one in losses])
    both = min(len(best[low]), len(best[middle]))
    lines: dict[float, list[tuple[float, float]]] = {}
    for flops, found in runs.items():
        for run, (size, _) in zip(found, best[flops]):
            lines.setdefault(run[0]["seed"], []).append((np.log(flops), np.log(size)))
    slopes = [np.polyfit(*zip(*line), 1)[0] for line in lines.values() if len(line) > 1]
    kaplan = published("chinchilla-exponents").value("Kaplan", "a")
    at, there = f"C = {middle:.0e}", f"C = {most:.0e}"
    few = "The gap is below two pooled standard deviations."
    return [
        ("At equal compute the largest model isn't the best (Chinchilla, Fig. 3)", "a minimum at each budget",
         (f"loss at {there}: largest", spread([one[-1] for one in losses])), ("best", lowest), few),
        ("... nor is the smallest", "a minimum at each budget",
         (f"loss at {there}: smallest", spread([one[0] for one in losses])), ("best", lowest), few),
        ("The best size grows with the budget (Chinchilla, Fig. 3)", "yes",
         (f"best size at {at}", spread([size for size, _ in best[middle]][:both])),
         (f"at C = {low:.0e}", spread([size for size, _ in best[low]][:both])), few),
        ("The exponent is smaller than Kaplan's (Chinchilla, Table 2)", f"0.46 to 0.50; {kaplan}",
         ("Kaplan's exponent", spread([kaplan] * len(slopes))),
         ("ours, a line through all budgets of each seed", spread(slopes)), few),
    ]  # fmt: skip
