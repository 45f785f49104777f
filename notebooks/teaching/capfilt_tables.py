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
    """What the downstream models of the whole world do, beside the same with blank pictures, or beside guessing."""
    rows = [
        (f"questions: {kind}", "share right", *_questions(f"{kind}, written")) for kind in KINDS
    ]
    two = [over_seeds("tasks", "two pictures", view) for view in ("model", "blind")]
    rows.append(("statements about two pictures", "share right", *two))
    talk = [over_seeds("tasks", "dialogues", name) for name in ("R@1", "R@1, blind")]
    rows.append(("dialogues: the right one of 100 answers first", "R@1", *talk))
    found, chance, way = (
        over_seeds("tasks", "answers", "films", name)
        for name in ("text to film R@1, match", "R@1, chance", "which way, films")
    )
    quarter = evaluation.Spread(0.25, 0.0, (0.25,) * len(way.values))
    films = [
        ("films, never trained on", "R@1 of 64", found, chance),
        ("which way something moves, one of four", "share right", way, quarter),
    ]
    heads = "with the picture | blank | does the picture help?", "BLIP | guessing | above guessing?"
    return "\n\n".join(
        "\n".join(
            [f"| control | we measure | {head} |", "|---|---|---|---|---|", *map(_line, part)]
        )
        for head, part in zip(heads, (rows, films))
    )


def _line(row: tuple[str, str, evaluation.Spread, evaluation.Spread]) -> str:
    """One control as a row of the table."""
    claim, measured, first, second = row
    helps = evaluation.verdict(first.values, second.values) == "agrees"
    shown = f"{second.mean:.3f}" if len(set(second.values)) == 1 else second
    return (
        f"| {claim} | {measured} | {first} | {shown} | **{'yes' if helps else 'not measurable'}** |"
    )


def _questions(name: str) -> tuple[evaluation.Spread, evaluation.Spread]:
    return tuple(over_seeds("tasks", "answers", name, view) for view in ("model", "blind"))


def noise_table() -> str:
    """Captions of the large runs: what of them is false, and what the filter throws out."""
    lines = [
        "| captions | thrown out | really false | precision | recall | false among those kept | different captions |",
        "|---|---|---|---|---|---|---|",
    ]
    keys = ("thrown out", "noise before", "precision", "recall", "noise after")
    for name, kind in (("web", "web"), ("nucleus", "synthetic")):
        out, *others = (over_seeds("capfilt", "C and F", "filter", kind, key) for key in keys)
        varied = over_seeds("writing", name, "different captions") if name == "nucleus" else "–"
        lines.append(_cells(name, out, *others, varied))
    beams = (
        over_seeds("writing", "beam", key)
        for key in ("thrown out", "noise ratio", "different captions")
    )
    out, false, varied = beams
    lines.append(_cells(NAMES["beam"], out, false, "–", "–", "–", varied))
    return "\n".join(lines)


def _cells(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"
