"""Lesson 05's saved results: training with and without a start that sets heads, and the papers' claims beside ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from teaching.language_model_induction import NamedPairs
from vlmcourse import evaluation, plots
from vlmcourse.evaluation import Spread, spread
from vlmcourse.world import documents

SET, RANDOM, ONE = "two layers, heads set", "two layers, random", "one layer, random"
RANDOM_RECIPE, OUR_RECIPE = "random start, short texts", "heads set, course's recipe"


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


def seed_curves(points: Iterable[Mapping], name: str) -> dict[int, float]:
    """{step: value} of a measurement of one seed, where it was made."""
    return {point["step"]: point[name] for point in points if name in point}


def panel(
    title: str, curves: Mapping[int, Sequence[Mapping]], names: str, guesses: Mapping[str, float]
):
    """Names and facts over the steps of one recipe, one thin line a seed. curves: {seed: its points}."""
    series = {
        f"{what}, seed {seed}": seed_curves(points, measured)
        for what, measured in (("names", names), ("facts", "facts"))
        for seed, points in sorted(curves.items())
    }
    series = {name: curve for name, curve in series.items() if curve}
    lines = {f"{what}, a guess: {guess:.2f}": guess for what, guess in guesses.items()}
    drawn = plots.curves(series, "training step", "share right", lines=lines)
    (axes,) = drawn.axes
    for drawn_line, name in zip(axes.lines, series):
        colour = plots.COLOURS[0 if name.startswith("names") else 3]
        seed = int(name.rsplit(" ", 1)[1])
        style = {"linestyle": ("-", "--", ":")[seed], "marker": "os^"[seed], "markersize": 3.5}
        drawn_line.set(color=colour, linewidth=1.2, markevery=(seed, 3), **style)
    for drawn_line in axes.lines[len(series) :]:  # guesses
        drawn_line.set(color="0.35", linewidth=1.2)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    axes.set_title(title, loc="left")
    axes.set(xlim=(-50, 3050), ylim=(-0.03, 1.05))  # both panels alike
    return drawn


def training_curves(language: Mapping):
    """Both recipes over their steps, a panel each. language: the row of results/replicate_language.json."""
    random = {
        seed: [point for point in language["phase"] if point["seed"] == seed]
        for seed in seeds_of(language["phase"])
    }
    heads_set = {row["seed"]: row["curve"] for row in language.get("learning", [])}
    facts = documents.known_facts()
    guesses = {"names": 1 / 2, "facts": sum(1 / len(choices) for *_, choices in facts) / len(facts)}
    return plots.stack_figures(
        panel(RANDOM_RECIPE, random, "binding", guesses),
        panel(OUR_RECIPE, heads_set, NAMES, {"names": 1 / 4, "facts": 0}),
    )


def accuracies(induction: Mapping, row: str) -> Spread:
    """Accuracy of a row of results/replicate_induction.json after training, over seeds."""
    return spread([one["curve"][-1]["accuracy"] for one in induction["rows"] if one["row"] == row])


def without_best_head(induction: Mapping, row: str) -> Spread:
    """Accuracy of a row without the head that has the most weight on the right name."""
    rows = [one["heads"] for one in induction["rows"] if one["row"] == row]
    best = [max(heads, key=lambda head: head["own"]) for heads in rows]
    return spread([head["accuracy without"] for head in best])


def short(value: Spread) -> str:
    return f"{value.mean:.2f} ± {value.std:.2f}"


def line(claim: str, paper: str, higher: tuple[str, Spread], lower: tuple[str, Spread]) -> str:
    """One row of a table: the claim, what the paper reports, ours on both sides, and the verdict."""
    found = evaluation.verdict(higher[1].values, lower[1].values)
    if max(higher[1].mean, lower[1].mean) < NamedPairs().guessing() + 0.1:
        found = "not tested: neither model has learned yet"
    ours = " | ".join(f"{name}: {short(value)}" for name, value in (higher, lower))
    return f"| {claim} | {paper} | {ours} | **{found}** |"


def comparison(induction: Mapping) -> str:
    """A Markdown table: claims of Olsson et al. beside results/replicate_induction.json."""
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
                "Without its induction head a small model names less well",
                "Argument 3: it loses in-context learning, in attention-only models",
                accuracy[SET],
                ("without its best head", without_best_head(induction, SET)),
            ),
            "| What makes induction heads easier to form makes in-context learning come earlier | "
            "Argument 2: yes, with another architecture | not measured | not measured | none |",
            "",
            measured_how(induction),
        ]
    )


def measured_how(induction: Mapping) -> str:
    """A sentence below a table: what the numbers are."""
    seeds = len({row["seed"] for row in induction["rows"]})
    return (
        f"Ours: share of right names after {induction['steps']} training steps, mean ± standard "
        f"deviation, {seeds} seeds. A guess among the names shown so far: "
        f"{NamedPairs().guessing():.2f}."
    )


def start_table(induction: Mapping) -> str:
    """A Markdown table of our own: models whose start sets the heads beside models with random weights."""
    lines = ["| ours | expected higher | expected lower | verdict |", "|---|---|---|---|"]
    higher = accuracies(induction, SET)
    for row in (RANDOM, ONE):
        lower = accuracies(induction, row)
        found = evaluation.verdict(higher.values, lower.values)
        lines.append(
            f"| with heads set more names are right | {SET}: {short(higher)} | "
            f"{row}: {short(lower)} | **{found}** |"
        )
    return "\n".join([*lines, "", measured_how(induction)])


def steps_to(points: Sequence[Mapping], name: str, level: float = 0.9) -> str:
    """The first step at which a measurement of one seed reached this level, in words."""
    measured = [point for point in points if name in point]
    reached = [point["step"] for point in measured if point[name] >= level]
    return f"{min(reached):,}" if reached else "never" if measured else "not measured"


def controls(language: Mapping) -> str:
    """A Markdown table of our own: both recipes, seed by seed. language: the row of results/replicate_language.json."""
    rows: list[tuple[str, int, str, float, float]] = []  # recipe, seed, step, names, facts
    guesses = {RANDOM_RECIPE: "0.50, of two names", OUR_RECIPE: "0.25, of four names"}
    for seed in seeds_of(language["phase"]):
        points = [point for point in language["phase"] if point["seed"] == seed]
        last = max(points, key=lambda point: point["step"])
        found = steps_to(points, "binding")
        rows.append((RANDOM_RECIPE, seed, found, last["binding"], last["facts"]))
    for run in sorted(language.get("learning", []), key=lambda run: run["seed"]):
        found, words = steps_to(run["curve"], NAMES), run["words"]
        rows.append((OUR_RECIPE, run["seed"], found, words[NAMES], words["facts"]))
    lines = [
        "| recipe | seed | names reach 0.9 at step | names at the end | a guess | facts at the end |",
        "|---|---|---|---|---|---|",
        *(
            f"| {a} | {b} | {c} | {names:.2f} | {guesses[a]} | {facts:.2f} |"
            for a, b, c, names, facts in rows
        ),
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
