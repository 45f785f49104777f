"""Lesson 05's saved results: training with and without a start that sets heads, and the papers' claims beside ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vlmcourse import evaluation, plots
from vlmcourse.evaluation import Spread, spread

Curve = dict[float, Spread]
SET, RANDOM, ONE = "two layers, heads set", "two layers, random", "one layer, random"


def over_steps(points: Iterable[Mapping], name: str) -> Curve:
    """{step: spread over seeds} of a measurement, where it was made."""
    found: dict[float, list[float]] = {}
    for point in points:
        if name in point:
            found.setdefault(point["step"], []).append(point[name])
    return {step: spread(values) for step, values in sorted(found.items())}


def step_of_share(points: Sequence[Mapping], name: str, share: float = 0.5) -> int:
    """The first step at which a curve of one seed has made this share of its way from its start to its best value."""
    start = points[0][name]
    best = max((point[name] for point in points), key=lambda value: abs(value - start))
    goal = share * abs(best - start)
    return next(point["step"] for point in points if abs(point[name] - start) >= goal)


def seeds_of(rows: Sequence[Mapping]) -> list[int]:
    """The seeds that were measured."""
    return sorted({row["seed"] for row in rows})


NAMES = "names, 4 shots, tags"


def training_curves(language: Mapping):
    """Curves of both recipes over their steps: names and facts. language: the row of results/replicate_language.json."""
    runs = {row["seed"]: row["curve"] for row in language.get("learning", [])}
    series = {
        "random start: names": over_steps(language["phase"], "binding"),
        "random start: facts": over_steps(language["phase"], "facts"),
        **{
            f"heads set, seed {seed}: names": over_steps(runs[seed], NAMES) for seed in sorted(runs)
        },
        "heads set: facts": over_steps([p for curve in runs.values() for p in curve], "facts"),
    }
    return plots.curves(
        {name: curve for name, curve in series.items() if curve},
        "training step",
        "share right",
        lines={"guess between two names": 0.5},
    )


def accuracies(induction: Mapping, row: str) -> Spread:
    """Accuracy of a row of results/replicate_induction.json after training, over seeds."""
    return spread([one["curve"][-1]["accuracy"] for one in induction["rows"] if one["row"] == row])


def without_best_head(induction: Mapping, row: str) -> Spread:
    """Accuracy of a row without the head that has the most weight on the right name."""
    rows = [one["heads"] for one in induction["rows"] if one["row"] == row]
    best = [max(heads, key=lambda head: head["own"]) for heads in rows]
    return spread([head["accuracy without"] for head in best])


def best_weights(induction: Mapping, row: str) -> Spread:
    """The highest weight of a head on the right name, over seeds."""
    rows = [one["heads"] for one in induction["rows"] if one["row"] == row]
    return spread([max(head["own"] for head in heads) for heads in rows])


def short(value: Spread) -> str:
    return f"{value.mean:.2f} ± {value.std:.2f}"


def line(claim: str, paper: str, higher: tuple[str, Spread], lower: tuple[str, Spread]) -> str:
    """One row of a table: the claim, what the paper reports, ours on both sides, and the verdict."""
    found = evaluation.verdict(higher[1].values, lower[1].values)
    ours = " | ".join(f"{name}: {short(value)}" for name, value in (higher, lower))
    return f"| {claim} | {paper} | {ours} | **{found}** |"


def comparison(induction: Mapping) -> str:
    """A Markdown table: claims of Olsson et al. beside results/replicate_induction.json."""
    seeds = len({row["seed"] for row in induction["rows"]})
    accuracy = {row: (row, accuracies(induction, row)) for row in (SET, RANDOM, ONE)}
    head = ["claim", "the paper", "ours, expected higher", "ours, expected lower", "verdict"]
    return "\n".join(
        [
            f"| {' | '.join(head)} |",
            "|---|---|---|---|---|",
            line(
                "Models of two layers get induction heads, models of one layer don't",
                "Argument 1: yes, from random weights",
                accuracy[RANDOM],
                accuracy[ONE],
            ),
            line(
                "The same, where the start sets the heads",
                "not tried",
                accuracy[SET],
                accuracy[ONE],
            ),
            line(
                "What makes induction heads easier to form makes in-context learning come earlier",
                "Argument 2: yes, with another architecture",
                accuracy[SET],
                accuracy[RANDOM],
            ),
            line(
                "Without its induction head a small model loses in-context learning",
                "Argument 3: yes, in attention-only models",
                accuracy[SET],
                ("without its best head", without_best_head(induction, SET)),
            ),
            "",
            f"Ours: share of right names after training, mean ± standard deviation, {seeds} seeds.",
        ]
    )


def steps_to(points: Sequence[Mapping], name: str, level: float = 0.9) -> str:
    """The first step at which a measurement of one seed reached this level, in words."""
    measured = [point for point in points if name in point]
    reached = [point["step"] for point in measured if point[name] >= level]
    return f"{min(reached):,}" if reached else "never" if measured else "not measured"


def controls(language: Mapping) -> str:
    """A Markdown table of our own: both recipes, seed by seed. language: the row of results/replicate_language.json."""
    rows: list[tuple[str, int, str, float, float]] = []  # recipe, seed, step, names, facts
    for seed in seeds_of(language["phase"]):
        points = [point for point in language["phase"] if point["seed"] == seed]
        last = max(points, key=lambda point: point["step"])
        found = steps_to(points, "binding")
        rows.append(("random start, short texts", seed, found, last["binding"], last["facts"]))
    for run in sorted(language.get("learning", []), key=lambda run: run["seed"]):
        found, words = steps_to(run["curve"], NAMES), run["words"]
        rows.append(
            ("heads set, course's recipe", run["seed"], found, words[NAMES], words["facts"])
        )
    lines = [
        "| recipe | seed | names reach 0.9 at step | names at the end | facts at the end |",
        "|---|---|---|---|---|",
        *(f"| {a} | {b} | {c} | {names:.2f} | {facts:.2f} |" for a, b, c, names, facts in rows),
        "",
    ]
    for recipe in dict.fromkeys(row[0] for row in rows):
        ends = [row[3:] for row in rows if row[0] == recipe]
        learned = [sum(end[what] >= 0.9 for end in ends) for what in (0, 1)]
        of = f"of {len(ends)} seeds"
        lines.append(
            f"*{recipe}*: names reach 0.9 in {learned[0]} {of}, facts in {learned[1]} {of}.\n"
        )
    return "\n".join(lines)
