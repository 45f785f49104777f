"""Lesson 12: the paper's claims beside our measurements, and what is known of the runs."""

from __future__ import annotations

import re

from torch import nn

from teaching.frozen_tables import markdown, plain
from vlmcourse import evaluation
from vlmcourse.evaluation.directions import directions
from vlmcourse.training.checkpoint import checksum

OURS = (
    "captions, noun",
    "knowledge questions",
    "seeing questions",
    "films, which way",
    "a new name, 8 shots",
)
"""The scores whose mean is our overall score."""
EARLIER = re.compile(r"(; m| ?M)easured with an earlier language model than the one that ships\.?")
"""What the table of directions has in many rows, and says once."""
ABLATIONS = range(45, 61)
"""Numbers of the lecture's directions that Table 3 gives."""


def directions_table(numbers=range(41, 61)) -> str:
    """The paper's claims beside our measurements, with the verdict of the one rule."""
    lines = []
    for one in directions():
        if one.number in numbers and one.paper == "Flamingo":
            remark = EARLIER.sub(" †", one.note if one.verdict == "agrees" else one.reason)
            lines.append(
                [one.claim, one.published, one.ours() or "–", f"**{one.verdict}**", remark]
            )
    head = [
        "claim",
        "paper",
        "ours (mean ± sd over seeds)",
        "verdict",
        "a possible reason, or a remark",
    ]
    mark = "\n\n† Measured with an earlier language model than the one that ships."
    return markdown(head, lines) + mark * any("†" in line[-1] for line in lines)


def about_short_runs(numbers=ABLATIONS) -> str:
    """How many of the rows of Table 3 that agree do so in runs that had learnt less than half of what the full model had."""
    agree = [
        one
        for one in directions()
        if one.number in numbers and one.paper == "Flamingo" and one.verdict == "agrees"
    ]
    short = [
        one.claim for one in agree if all(c.second.mean < c.first.mean / 2 for c in one.compared)
    ]
    return (
        f"Of the {len(agree)} rows that agree, {len(short)} do so in runs that reached less than half of the full model's "
        f"score ({'; '.join(short)})."
    )


def verdicts(numbers=ABLATIONS) -> dict[str, int]:
    """{verdict: number of claims}"""
    found: dict[str, int] = {}
    for one in directions():
        if one.number in numbers and one.paper == "Flamingo":
            found[one.verdict] = found.get(one.verdict, 0) + 1
    return found


def about_runs(language_model: nn.Module) -> str:
    """Which models our runs are of, as far as their files say it."""
    old, new, sizes = (
        evaluation.load_results(f"replicate_{name}") for name in ("flamingo", "ablations", "shots")
    )
    present = new["language model"] == checksum(language_model.state_dict())[:16]
    named = "this lesson's" if present else "another"
    changed = sorted({row["row"] for row in new["rows"]} - {"Flamingo"})
    full, earlier = (
        evaluation.spread_over_seeds(f["rows"], "Flamingo", "overall") for f in (new, old)
    )
    names = evaluation.spread_over_seeds(old["rows"], "Flamingo", OURS[-1])
    steps, nouns = old["rows"][0]["steps"], old["words"]
    parameters = {row["row"]: row["parameters"] for row in sizes["rows"]}
    return (
        "The rows of Table 3 come from two sets of runs, each with a full model of its own:\n\n"
        f"- {', '.join(changed)}: in a world of 48 nouns, with {named} language model. The full model has an overall score "
        f"of {plain(full)}.\n"
        f"- All others: {steps} steps in a world of {nouns} nouns, with an earlier language model. The full model has an "
        f"overall score of {plain(earlier)}; it had hardly learnt to bind names ({plain(names)} of four, guessing 0.25).\n\n"
        "The first four rows (examples, sizes, fine-tuning, names) are of the world of 48 nouns, too. The language models of "
        f"{' and '.join(f'{number:,}' for number in sorted(set(parameters.values())))} parameters have read the same texts "
        "in as many steps. Fine-tuning asks questions of the kinds that are tested, about training pictures."
    )


def about_ablations() -> str:
    """Where the unchanged models of our Table 3 stand on each score, and chance where a file has it."""
    said = []
    for name, where in (("flamingo", "in few steps"), ("ablations", "in the world of 48 nouns")):
        facts = evaluation.load_results(f"replicate_{name}")
        values = []
        for score in [score for score in facts["rows"][0] if score in OURS]:
            value = plain(evaluation.spread_over_seeds(facts["rows"], "Flamingo", score))
            chance = facts.get("chance", {}).get(score)
            values.append(f"{score} {value}" + (f" (chance {chance:.2f})" if chance else ""))
        said.append(f"The scores of our unchanged model {where}: {'; '.join(values)}.")
    return " ".join(said)
