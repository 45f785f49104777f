"""Lesson 08: its comparisons with the paper and with controls, as Markdown."""

from __future__ import annotations

from vlmcourse import evaluation
from vlmcourse.evaluation.published import published

PAPER_ROWS = {
    "all": "All",
    "all except CA": "All except cross-attention",
    "all except SA": "All except self-attention",
    "none": "None",
}
"""Rows of Table 3: our names, and the paper's."""


def table_3(row: str, column: str) -> float:
    """A number of the paper's Table 3, by our name of the row."""
    table = published("blip-table-3")
    index = table.columns.index(column)
    return next(cells[index] for cells in table.rows if cells[0] == PAPER_ROWS[row])


R1 = ("image to text, re-ranked R@1", "text to image, re-ranked R@1")
COSINE = ("image to text R@1", "text to image R@1")


def over_seeds(row: str, *path) -> evaluation.Spread:
    """A measurement of a row of Table 3's replication over seeds."""
    return evaluation.spread_over_seeds(
        evaluation.load_results("replicate_blip")["rows"], row, *path
    )


def sharing_comparison() -> str:
    """Table 3's claims beside ours, with evaluation.verdict, as Markdown."""
    tr, cider = "TR@1 COCO fine-tuned", "CIDEr COCO fine-tuned"
    measures = (
        ("retrieval", tr, R1, "R@1, re-ranked, mean of both directions"),
        ("captions", cider, "CIDEr", "CIDEr-D (0 to 10)"),
    )
    lines = [
        "| claim | the paper | we measure | ours: all except SA | ours: the other | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for other in ("all", "all except CA", "none"):
        for task, column, key, measured in measures:
            first, second = (over_seeds(row, key) for row in ("all except SA", other))
            theirs = f"{table_3('all except SA', column)} and {table_3(other, column)}"
            found = evaluation.verdict(first.values, second.values)
            lines.append(
                f"| 'all except SA' is better than '{other}': {task} | {theirs} ({column}) | {measured} | {first} "
                f"| {second} | **{found}** |"
            )
    return "\n".join(lines)


def controls() -> str:
    """Our own controls: what is measured, both sides and evaluation.verdict, as Markdown."""
    results = evaluation.load_results("replicate_blip")
    rows, cleaned, pairs = results["rows"], results["capfilt"], results["minimal pairs"]
    ours, trained_on_pairs = (rows, "all except SA"), (pairs, "with contrast")
    positions, background = ("told apart, exchanged, by {}", "told apart, repainted, by {}")
    both = "R@1, mean of both directions", "cosines alone", "re-ranked"
    pick = "right caption preferred, of two"
    lines = [
        "| control | we measure | first | second | verdict |",
        "|---|---|---|---|---|",
    ]
    for claim, (measured, *names), *sides in (
        (
            "Re-ranking helps among minimal pairs",
            (both[0], *both[:0:-1]),
            (*ours, R1),
            (*ours, COSINE),
        ),
        (
            "Re-ranking helps among ordinary pictures",
            (both[0], *both[:0:-1]),
            (cleaned, "C and F", R1),
            (cleaned, "C and F", COSINE),
        ),
        (
            "Captions depend on the picture",
            ("CIDEr-D", "its picture", "blank"),
            (*ours, "CIDEr"),
            (*ours, "CIDEr, blind"),
        ),
        (
            "ITM notices another background more often than ITC",
            (pick, "ITM", "ITC"),
            (*ours, background.format("match")),
            (*ours, background.format("contrast")),
        ),
        (
            "ITM notices exchanged things more often than ITC",
            (pick, "ITM", "ITC"),
            (*ours, positions.format("match")),
            (*ours, positions.format("contrast")),
        ),
        (
            "The same after training on minimal pairs",
            (pick, "ITM", "ITC"),
            (*trained_on_pairs, "match"),
            (*trained_on_pairs, "contrast"),
        ),
        (
            "The small study's ITM beats the shipped kind's at exchanged things (see section 7)",
            (pick, "the study's", "the shipped kind's"),
            (*trained_on_pairs, "match"),
            (*ours, positions.format("match")),
        ),
    ):
        first, second = (evaluation.spread_over_seeds(*side) for side in sides)
        found = evaluation.verdict(first.values, second.values)
        lines.append(
            f"| {claim} | {measured} | {names[0]}: {first} | {names[1]}: {second} | **{found}** |"
        )
    return "\n".join(lines)  # fmt: skip
