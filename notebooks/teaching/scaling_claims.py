"""Lesson 06, its first half: what the curves say in words, and the papers' claims beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from teaching.scaling import power_law
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


EDGE = 0.01  # an exponent that lies so near to an end of the range is at its edge


def position(exponent: float, low: float, high: float) -> str:
    """Where an exponent lies with respect to a range: 'outside of', 'at the edge of' or 'inside'."""
    if min(abs(exponent - low), abs(exponent - high)) <= EDGE:
        return "at the edge of"
    return "inside" if low < exponent < high else "outside of"


def slopes_to_see(low: float, high: float) -> str:
    """What the caption on the law points out: where the other two slopes lie."""
    kaplan = published("chinchilla-exponents").value("Kaplan", "a")
    return (
        f"equal growth (dashed) runs {position(0.5, low, high)} the shaded part, "
        f"Kaplan's law (dotted) {position(kaplan, low, high)} it."
    )


def about_exponent(exponent: float, low: float, high: float) -> str:
    """In words: the exponent, how far it moves with the data, and what that says about Kaplan's law and equal growth."""
    kaplan = published("chinchilla-exponents").value("Kaplan", "a")
    return (
        f"exponent {exponent:.3f}; without the largest or the smallest size of each curve, or by one seed: "
        f"{low:.3f} to {high:.3f}.\n"
        f"Kaplan's {kaplan} lies {position(kaplan, low, high)} this range, "
        f"equal growth (0.500) {position(0.5, low, high)} it."
    )


def plain(value: evaluation.Spread) -> str:
    """Mean and standard deviation, if it isn't zero; thousands as '6.7k'."""
    mean, std = short(value.mean), short(value.std)
    if value.mean < 1000:
        mean, std = f"{value.mean:.3g}", f"{value.std:.2g}"
    return f"{mean} ± {std}" if value.std else mean


def comparison(claims: Sequence[tuple]) -> str:
    """A Markdown table of claims, with verdicts by the course's rule.

    claims  (claim, paper, (name, Spread), (name, Spread), reason if it is within noise, note that always stands there)
    """
    lines = [
        "| claim | paper | ours: first; second | seeds | verdict | reason or note |",
        "|---|---|---|---|---|---|",
    ]
    for claim, paper, (first, higher), (second, lower), reason, note in claims:
        verdict = evaluation.verdict(higher.values, lower.values)
        numbers = f"{first} {plain(higher)}; {second} {plain(lower)}"
        if len(higher.values) < 2:
            reason = "A single seed tells no spread."
        words = f"{reason if verdict == 'within noise' else ''} {note}".strip()
        lines.append(
            f"| {claim} | {paper} | {numbers} | {len(higher.values)} | {verdict} | {words} |"
        )
    return "\n".join(lines)


def best_by_others(losses: Sequence[Sequence[float]]) -> list[float]:
    """Loss of each seed at the size that is best on the mean of the other seeds (its own best, if there are none).

    losses  of each seed, a number for each size. The least of a seed's own losses would be below each of them by construction.
    """
    chosen = [
        np.argmin(np.mean([one for j, one in enumerate(losses) if j != i] or [own], axis=0))
        for i, own in enumerate(losses)
    ]
    return [own[size] for own, size in zip(losses, chosen)]


def claims(rows: Rows, valley: Valley) -> list[tuple]:
    """The paper's claims that the isoFLOP curves can repeat, for `comparison`."""
    runs, best, spread = budgets(rows), best_sizes(rows, valley), evaluation.spread
    low, middle = sorted(runs)[:2]
    most = max(runs, key=lambda flops: (len(runs[flops]), flops))  # where most seeds were run
    losses = [[row["loss"] for row in run] for run in runs[most]]
    lowest = spread(best_by_others(losses))
    both = min(len(best[low]), len(best[middle]))
    lines: dict[float, list[tuple[float, float]]] = {}
    for flops, found in runs.items():
        for run, (size, _) in zip(found, best[flops]):
            lines.setdefault(run[0]["seed"], []).append((flops, size))
    slopes = [power_law(*zip(*line))[0] for line in lines.values() if len(line) > 1]
    kaplan = published("chinchilla-exponents").value("Kaplan", "a")
    least, highest = exponent_range(rows, valley, power_law)
    at, there = f"C = {middle:.0e}", f"C = {most:.0e}"
    few = "The gap is below two pooled standard deviations."
    return [
        ("At equal compute the largest model isn't the best (Chinchilla, Fig. 3)", "a minimum at each budget",
         (f"loss at {there}: largest", spread([one[-1] for one in losses])), ("size best for the other seeds", lowest), few, ""),
        ("... nor is the smallest", "a minimum at each budget",
         (f"loss at {there}: smallest", spread([one[0] for one in losses])), ("size best for the other seeds", lowest), few, ""),
        ("The best size grows with the budget (Chinchilla, Fig. 3)", "yes",
         (f"best size at {at}", spread([size for size, _ in best[middle]][:both])),
         (f"at C = {low:.0e}", spread([size for size, _ in best[low]][:both])), few, ""),
        ("The exponent is smaller than Kaplan's (Chinchilla, Table 2)", f"0.46 to 0.50; {kaplan}",
         ("Kaplan's exponent", spread([kaplan] * len(slopes))),
         ("ours, a line through all budgets of each seed", spread(slopes)), few,
         f"The spread over seeds is not the whole doubt: {least:.3f} to {highest:.3f} with sizes or seeds left out, "
         "and the batch grows with C (see Limits)."),
    ]  # fmt: skip
