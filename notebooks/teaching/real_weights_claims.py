"""Lesson 15: its tables of claims: papers on fine-tuning beside our seeds, and our own questions."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from teaching import real_weights_study as study
from vlmcourse.evaluation.controls import verdict

Side = tuple[str, str, float]
"""A measurement: its name in the table, the way to fine-tune, and alpha."""
CROPS, DRAWINGS = "test crops", "drawings"
ALIKE = "all layers alike"
SHIPPED: Side = ("shipped", ALIKE, 0.0)
TUNED: Side = (ALIKE, ALIKE, 1.0)
MIXED: Side = ("mixed (alpha 0.5)", ALIKE, 0.5)
CLAIMS = (
    (
        "Adapting CLIP to one data set raises its accuracy there (CLIP, Sec. 3.3)",
        "+9.2 points on ImageNet",
        CROPS,
        TUNED,
        SHIPPED,
    ),
    (
        "... and lowers it elsewhere (CLIP, Sec. 3.3)",
        "slightly lower, on average over shifted data sets",
        DRAWINGS,
        SHIPPED,
        TUNED,
    ),
    (
        "Mixed weights do better under distribution shift than fine-tuned ones (WiSE-FT, abstract)",
        "4 to 6 points over prior work, under distribution shift",
        DRAWINGS,
        MIXED,
        TUNED,
    ),
    (
        "... and are no worse on the new data (WiSE-FT, abstract)",
        "+1.6 points on ImageNet",
        CROPS,
        MIXED,
        TUNED,
    ),
)
"""Claim, the paper's number, our measure, the side that should be higher, the other one."""
QUESTIONS = (
    ("Do slower lower layers keep more than equal full rates?", DRAWINGS, "slower below", ALIKE),
    ("Does one smaller rate do so, too?", DRAWINGS, "one smaller rate", ALIKE),
    (
        "Does it help that the rate falls towards the pixels?",
        DRAWINGS,
        "slower below",
        "one smaller rate",
    ),
    ("Is the other direction worse?", DRAWINGS, "slower below", "slower above"),
    (
        "Do slower lower layers cost test crops of these six photographs?",
        CROPS,
        ALIKE,
        "slower below",
    ),
    (
        "Does one smaller rate cost test crops of these six photographs?",
        CROPS,
        ALIKE,
        "one smaller rate",
    ),
)
"""Question, measure, the way with the higher share if the answer is yes, the other one."""
ANSWERS = {"agrees": "yes", "disagrees": "no, the contrary", "within noise": "not shown"}


def compared(what: str, higher: Side, lower: Side) -> tuple[str, int, str]:
    """Both sides as text, the number of seeds, and the verdict by the course's rule."""
    sides = [study.values(way, alpha, what) for _, way, alpha in (higher, lower)]
    text = ", ".join(
        f"{name} {side.mean:.2f} ± {side.std:.2f}"
        for (name, *_), side in zip((higher, lower), sides)
    )
    first, second = (side.values for side in sides)
    return f"{text} ({what})", len(first), verdict(first, second)


def claims_table() -> str:
    """CLAIMS as a Markdown table."""
    rows = ["| claim | the paper's | ours, mean ± sd | seeds | verdict |", "|---|---|---|---|---|"]
    for claim, theirs, *sides in CLAIMS:
        ours, seeds, found = compared(*sides)
        rows.append(f"| {claim} | {theirs} | {ours} | {seeds} | **{found}** |")
    return "\n".join(rows)


def price_table(test: Callable[[Tensor], float]) -> str:
    """ALIKE less "slower below" in test crops, by photograph, for each seed; test: differences (6,) -> p-value."""
    rows = ["| seed | photographs: more right, fewer | p, signs of photographs |", "|---|---|---|"]
    pairs = zip(study.by_photograph(ALIKE), study.by_photograph("slower below"))
    for seed, (one, other) in enumerate(pairs):
        gap = one - other
        rows.append(f"| {seed} | {(gap > 0).sum()}, {(gap < 0).sum()} | {test(gap):.2f} |")
    return "\n".join(rows)


def questions_table() -> str:
    """QUESTIONS as a Markdown table."""
    rows = ["| question | ours, mean ± sd | seeds | answer |", "|---|---|---|---|"]
    for question, what, *ways in QUESTIONS:
        ours, seeds, found = compared(what, *((way, way, 1.0) for way in ways))
        rows.append(f"| {question} | {ours} | {seeds} | **{ANSWERS[found]}** |")
    return "\n".join(rows)
