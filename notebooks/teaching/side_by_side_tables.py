"""Lesson 13: its tables, and how the systems of its comparisons were trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from teaching.connectors import LINEAR_OPTIMISATION, MLP_OPTIMISATION
from teaching.frozen_tables import markdown, plain
from vlmcourse import evaluation, recipes
from vlmcourse.evaluation.directions import directions
from vlmcourse.evaluation.interface import PromptedModel
from vlmcourse.evaluation.results import measurement
from vlmcourse.recipes.blip import BLIP_OPTIMISATION
from vlmcourse.recipes.blip2 import STAGE2_OPTIMISATION
from vlmcourse.recipes.flamingo import FLAMINGO_OPTIMISATION
from vlmcourse.recipes.frozen import FROZEN_OPTIMISATION
from vlmcourse.training.scale import Scale


def shipped_settings(systems: Mapping[str, PromptedModel], scale: Scale) -> dict[str, dict]:
    """How the shipped systems were trained."""
    texts = {
        "BLIP": ("trained", "none: its own decoder", "captions"),
        "Frozen": ("its own, from scratch", "frozen", "captions of one thing"),
        "BLIP-2": ("frozen", "frozen", "captions of one thing"),
        "Flamingo": ("frozen", "frozen", "captions, films and pages of questions and names"),
    }
    steps = {
        name: recipes.get(stage).train_or_load(scale).history[-1].steps
        for name, stage in (
            ("BLIP", "blip"),
            ("Frozen", "frozen"),
            ("BLIP-2", "blip2"),
            ("Flamingo", "flamingo"),
        )
    }
    return {
        name: {
            "image encoder": texts[name][0],
            "language model": texts[name][1],
            "training texts": texts[name][2],
            "steps": steps[name],
            "pixels of a side": system.size,
        }
        for name, system in systems.items()
    }


RATES = {
    "CLIP + linear map": LINEAR_OPTIMISATION.learning_rate,
    "CLIP + MLP": MLP_OPTIMISATION.learning_rate,
    "Frozen": FROZEN_OPTIMISATION.learning_rate,
    "BLIP": BLIP_OPTIMISATION.learning_rate,
    "BLIP-2": STAGE2_OPTIMISATION.learning_rate,
    "Flamingo": FLAMINGO_OPTIMISATION.learning_rate,
}
"""Of the comparison's systems."""


def results() -> dict:
    """benchmarks/results/replicate_bridges.json."""
    return evaluation.load_results("replicate_bridges")


NAMES = ("CLIP + linear map", "CLIP + MLP", "Frozen", "BLIP", "BLIP-2", "Flamingo")
TO_LANGUAGE = tuple(name for name in NAMES if name != "BLIP")
"""Those with a language model behind the bridge."""
MEASURES = {
    "noun": ("captions", "one thing", "noun"),
    "noun, grey picture": ("captions", "one thing", "noun, blind"),
    "two things, F1": ("captions", "two things", "F1"),
    "kind of thing": ("questions", "category", "model"),
    "names, 8 examples": ("shots", "a new name", "8"),
}


def compared_systems() -> list[str]:
    """Those of NAMES that were measured."""
    measured = {row["row"] for row in results()["rows"]}
    return [name for name in NAMES if name in measured]


def comparison_settings() -> dict[str, dict]:
    """How the systems of the comparison were trained."""
    budget = results()["budget"]
    own = {
        "CLIP + linear map": ("CLIP, frozen", "frozen", 2),
        "CLIP + MLP": ("CLIP, frozen", "frozen", 2),
        "Frozen": ("its own, from scratch", "frozen", 2),
        "BLIP": ("CLIP, trained on", "none: its own decoder", None),
        "BLIP-2": ("CLIP, frozen", "frozen", 8),
        "Flamingo": ("CLIP, frozen", "frozen", 1),
    }
    return {
        name: {
            **budget,
            "seeds": len(seeds(name, "noun")),
            "image encoder": own[name][0],
            "language model": own[name][1],
            "placeholders of a picture": own[name][2],
            "learning rate": RATES[name],
            "trained numbers": round(evaluation.spread_over_seeds(results()["rows"], name, "learnt").mean),
        }
        for name in compared_systems()
    }  # fmt: skip


def seeds(name: str, measure: str) -> list[float]:
    """A measurement of one system, one value for each seed."""
    found = evaluation.spread_over_seeds(results()["rows"], name, *MEASURES[measure])
    return list(found.values)


def scores(measure: str) -> dict[str, list[float]]:
    """{system: values by seed} of all systems that can be asked, on the seeds that all of them have."""
    names = compared_systems()
    if measure in ("kind of thing", "names, 8 examples"):
        names = [name for name in names if name in TO_LANGUAGE]
    by_seed = {
        name: {
            row["seed"]: measurement(row, MEASURES[measure])
            for row in results()["rows"]
            if row["row"] == name
        }
        for name in names
    }
    common = sorted(set.intersection(*map(set, by_seed.values())))
    return {name: [values[seed] for seed in common] for name, values in by_seed.items()}


def settings_table(settings: Mapping[str, Mapping]) -> str:
    """Systems in rows, settings in columns."""
    names = list(dict.fromkeys(name for system in settings.values() for name in system))
    rows = [
        [name, *("–" if system.get(key) is None else f"{system[key]:,}" if isinstance(system[key], int) else str(system[key]) for key in names)]
        for name, system in settings.items()
    ]  # fmt: skip
    return markdown(["system", *names], rows)


def leaders_table(leaders: Callable, compare: Callable) -> str:
    """Who shares the first place in each measurement."""
    rows = []
    for measure in MEASURES:
        if measure == "noun, grey picture":
            continue
        found = scores(measure)
        first = leaders(found, compare)
        count = min(map(len, found.values()))
        best = max(found, key=lambda name: sum(found[name]) / len(found[name]))
        rows.append([measure, plain(evaluation.spread(found[best])), ", ".join(first), str(count)])
    return markdown(("measurement", "highest mean ± sd", "first place", "seeds"), rows)


def model_sentence() -> str:
    """Which language model the comparison was measured with."""
    if "language model" in results():
        return "They were measured with the language model that ships."
    return "They were measured with an earlier language model than the one that ships, so compare them with each other only."


def pope_table(found: Mapping[str, Mapping[str, Mapping[str, float]]], questions: int) -> str:
    """All five scores. questions: of each row"""
    columns = ("accuracy", "precision", "recall", "f1", "yes")
    rows = [
        [name, sampler, *(f"{scores[column]:.2f}" for column in columns)]
        for name, by in found.items()
        for sampler, scores in by.items()
    ]
    rows.append(["always yes", "any", "0.50", "0.50", "1.00", "0.67", "1.00"])
    table = markdown(("system", "absent nouns", *columns), rows)
    return f"{table}\n\nEach row: {questions} questions, half with the answer yes."


def kept_table(
    found: Mapping[str, Mapping[str, float]], kept_share: Callable, margin: float
) -> str:
    """The share of the examples' gain that each way of spoiling keeps."""
    rows, names = [], None
    for task, by in found.items():
        shares = kept_share(by, "as they are", "no examples", margin)
        gain = by["as they are"] - by["no examples"]
        names = [way for way in by if way not in ("as they are", "no examples")]
        cells = ["–"] * len(names) if shares is None else [f"{shares[way]:.2f}" for way in names]
        rows.append([task, f"{gain:+.2f}", *cells])
    return markdown(("task", "gain by examples", *(names or ())), rows)


def companions_sentence() -> str:
    """POPE of lesson 13's bridge, trained on pictures with companions and without, several seeds."""
    facts = evaluation.load_results("replicate_limits")

    def accuracy(row: str, nouns: str) -> evaluation.Spread:
        return evaluation.spread_over_seeds(facts["rows"], row, "pope", nouns, "accuracy")

    said = []
    for row, how in (("companions", "with"), ("no companions", "without")):
        random, adversarial = (accuracy(row, nouns) for nouns in ("random", "adversarial"))
        falls = evaluation.spread([a - b for a, b in zip(random.values, adversarial.values)])
        said.append(
            f"Trained **{how}** companions, its accuracy is {plain(random)} with random nouns and {plain(adversarial)} with "
            f"adversarial ones; it falls by {plain(falls)}."
        )
    return (
        f"Measured with {len(random.values)} seeds and {facts['count']} pictures: {' '.join(said)}"
    )


def limits_table() -> str:
    """The lecture's limits of Flamingo, with our measurements and verdicts."""
    rows = [
        [one.claim.removeprefix("limits: "), one.published, one.ours() or "–", f"**{one.verdict}**", one.note if one.verdict == "agrees" else one.reason]
        for one in directions()
        if one.claim.startswith("limits: ")
    ]  # fmt: skip
    return markdown(("claim", "paper", "ours: mean ± sd", "verdict", "remark"), rows)
