"""Lesson 07: what was measured of the systems of the paper's Table 2, in sentences."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from teaching.frozen_comparison import (
    asked_what,
    frozen_results,
    in_words,
    knowledge,
    measured_systems,
)


def provenance() -> str:
    """How the rows were measured."""
    facts, (none, four) = frozen_results(), in_words()
    return (
        "These encoders stand in front of the language model that ships (finetuned: a copy that is trained, too; "
        f"smaller LM: one two thirds as wide). Asked in words, the one that ships reaches {none:.2f} without "
        f"examples and {four:.2f} with four. Training took {facts['steps']:,} steps; "
        f"{facts['count']} questions of each kind."
    )


def knowledge_sentence(shots: Sequence[str] = ("0", "4")) -> str:
    """Knowledge of all measured systems in words."""
    parts = [
        f"{system} {knowledge(system, shots[0]).mean:.2f} without examples and "
        f"{knowledge(system, shots[1]).mean:.2f} with {shots[1]}"
        for system in measured_systems()
    ]
    return f"Share of right answers: {'; '.join(parts)}."


def smaller_sentence() -> str:
    """What the row 'smaller LM' learnt of captions, beside what it answers."""
    rows = [run["captions"] for run in frozen_results()["rows"] if run["row"] == "smaller LM"]
    noun = statistics.fmean(row["noun"] for row in rows)
    seeds = "one seed" if len(rows) == 1 else f"{len(rows)} seeds"
    return (
        f"The captions of the row 'smaller LM' ({seeds}) had {noun:.2f} of the nouns right: its encoder sees. But asked, it "
        f"says even what the thing is in only {asked_what('smaller LM').mean:.2f}; from as many steps on the same texts, its "
        "language model had learnt few facts and few forms of questions."
    )


def naming_sentence() -> str:
    """What inner shots, repeats, ways and task induction do to new names."""
    rows = [run["naming"] for run in frozen_results()["rows"] if run["row"] == "Frozen"]
    mean = {how: statistics.fmean(run[how] for run in rows) for how in rows[0]}
    words_of = {
        "2 shots": "two inner shots",
        "4 shots": "four",
        "1 shot, 1 repeat": "one shot repeated once",
        "1 shot, no induction": "one shot without task induction",
        "1 shot, 5 ways": "five ways (chance 0.20)",
    }
    changed = ", ".join(f"{words} {mean[how]:.2f}" for how, words in words_of.items())
    return (
        f"Inner shots, repeats, ways and task induction, with the linear prefix ({len(rows)} seeds): two ways with one "
        f"inner shot and task induction {mean['1 shot']:.2f} (chance 0.50); {changed}."
    )
