"""Lesson 09: its comparisons with the paper and with controls, as Markdown."""

from __future__ import annotations

from vlmcourse import evaluation
from vlmcourse.evaluation.published import published

R1 = ("image to text, re-ranked R@1", "text to image, re-ranked R@1")
TR, CIDER = "TR@1 COCO fine-tuned", "CIDEr COCO fine-tuned"
SIZE = "14M, ViT-B/16, "
TABLE_1 = {
    "noisy": f"{SIZE}-, -",
    "F": f"{SIZE}-, F (B)",
    "C": f"{SIZE}C (B), -",
    "C and F": f"{SIZE}C (B), F (B)",
}
TABLE_2 = {"nucleus": "Nucleus", "beam": "Beam"}
"""Rows of the paper's tables, by our names."""
NAMES = {
    "noisy": "neither",
    "F": "filter only",
    "C": "captioner only",
    "C and F": "both",
    "nucleus": "nucleus",
    "beam": "3 beams",
}


def over_seeds(part: str, row: str, *path) -> evaluation.Spread:
    """A measurement of a row of benchmarks/results/replicate_blip.json over seeds."""
    return evaluation.spread_over_seeds(evaluation.load_results("replicate_blip")[part], row, *path)


CLAIMS = (
    ("captioner and filter improve retrieval", "C and F", "noisy", TR, R1),
    ("captioner and filter improve captions", "C and F", "noisy", CIDER, "CIDEr"),
    ("the filter alone improves retrieval", "F", "noisy", TR, R1),
    ("the filter alone improves captions", "F", "noisy", CIDER, "CIDEr"),
    ("the captioner alone improves retrieval", "C", "noisy", TR, R1),
    ("the captioner alone improves captions", "C", "noisy", CIDER, "CIDEr"),
    ("the captioner helps retrieval more than the filter", "C", "F", TR, R1),
    ("both are better than the filter alone: retrieval", "C and F", "F", TR, R1),
    ("both are better than the filter alone: captions", "C and F", "F", CIDER, "CIDEr"),
)
WRITING = (
    ("the filter rejects more captions of the nucleus", "noise ratio in %", "thrown out"),
    ("captions of the nucleus help retrieval more", TR, R1),
    ("captions of the nucleus help captions more", CIDER, "CIDEr"),
)
MEASURES = {R1: "R@1, re-ranked", "CIDEr": "CIDEr-D (0 to 10)", "thrown out": "share thrown out"}


def comparison() -> str:
    """The claims of Tables 1 and 2 beside ours, with evaluation.verdict."""
    lines = [
        "| claim | the paper: first, second | we measure | ours: first | ours: second | verdict |",
        "|---|---|---|---|---|---|",
    ]
    rows = [("capfilt", "blip-table-1", TABLE_1, *claim) for claim in CLAIMS]
    rows += [
        ("writing", "blip-table-2", TABLE_2, claim, "nucleus", "beam", column, key)
        for claim, column, key in WRITING
    ]
    for part, name, labels, claim, one, other, column, key in rows:
        table = published(name)
        theirs = " and ".join(str(table.value(labels[row], column)) for row in (one, other))
        first, second = (over_seeds(part, row, key) for row in (one, other))
        found = evaluation.verdict(first.values, second.values)
        lines.append(
            f"| {claim} | {theirs} ({column}) | {MEASURES[key]} | {NAMES[one]}: {first} "
            f"| {NAMES[other]}: {second} | **{found}** |"
        )
    return "\n".join(lines)


KINDS = ("what", "how many", "colour", "presence", "where", "position")


def controls() -> str:
    """What the downstream models of the whole world do, beside the same with blank pictures."""
    lines = [
        "| control | we measure | with the picture | blank | verdict |",
        "|---|---|---|---|---|",
    ]
    rows = [
        (f"questions: {kind}", "share right", *_questions(f"{kind}, written")) for kind in KINDS
    ]
    two = [over_seeds("tasks", "two pictures", view) for view in ("model", "blind")]
    rows.append(("statements about two pictures", "share right", *two))
    talk = [over_seeds("tasks", "dialogues", name) for name in ("R@1", "R@1, blind")]
    rows.append(("dialogues: the right one of 100 answers first", "R@1", *talk))
    for claim, measured, first, second in rows:
        found = evaluation.verdict(first.values, second.values)
        lines.append(f"| {claim} | {measured} | {first} | {second} | **{found}** |")
    film = [
        over_seeds("tasks", "answers", "films", name)
        for name in ("text to film R@1, match", "R@1, chance", "which way, films")
    ]
    found = evaluation.verdict(film[0].values, film[1].values)
    lines.append(
        f"| films, never trained on (second: guessing) | R@1 of 64 | {film[0]} | {film[1].mean:.3f} | **{found}** |"
    )
    way = evaluation.verdict(film[2].values, [0.25] * len(film[2].values))
    lines.append(
        f"| which way something moves (second: guessing) | share right | {film[2]} | 0.25 | **{way}** |"
    )
    return "\n".join(lines)


def _questions(name: str) -> tuple[evaluation.Spread, evaluation.Spread]:
    return tuple(over_seeds("tasks", "answers", name, view) for view in ("model", "blind"))


def noise_table() -> str:
    """Synthetic captions of the large runs: how they were written, what of them is false, what the filter throws out."""
    after = over_seeds("capfilt", "C and F", "filter", "synthetic", "noise after")
    lines = [
        "| captions | thrown out by the filter | really false | false among those kept | different captions |",
        "|---|---|---|---|---|",
    ]
    for row in ("beam", "nucleus"):
        out, false, different = (
            over_seeds("writing", row, key)
            for key in ("thrown out", "noise ratio", "different captions")
        )
        kept = after if row == "nucleus" else "–"
        lines.append(f"| {NAMES[row]} | {out} | {false} | {kept} | {different} |")
    return "\n".join(lines)
