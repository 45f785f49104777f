"""Submissions that look alike: fingerprints of tokens (winnowing, Schleimer et al. 2003). Advice for a human, never a verdict.

Names, numbers and texts don't count, nor does what was handed out, nor what much of the class wrote the same way.
"""

import html
import io
import tokenize
import zlib
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from vlmgrader.course import Assignment, write
from vlmgrader.feedback import page

GRAM, WINDOW = 12, 6  # tokens that make one fingerprint; of this many neighbours one is kept
COMMON = 0.2  # a fingerprint that more of the class has is how one writes it
ENOUGH, ALIKE = (
    8,
    0.5,
)  # shared fingerprints, and their share of the shorter one's, from which a pair is shown
SKIP = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


@dataclass(frozen=True)
class Pair:
    one: str
    other: str
    shared: int
    share: float


def tokens(source: str) -> list[str]:
    """What stays of code when its names are taken away. Of code that doesn't parse, what comes before the mistake."""
    import keyword

    kept = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type in SKIP:
                continue
            if token.type == tokenize.NAME:
                kept.append(token.string if keyword.iskeyword(token.string) else "name")
            else:
                kept.append(
                    {tokenize.NUMBER: "0", tokenize.STRING: "''"}.get(token.type, token.string)
                )
    except (tokenize.TokenError, SyntaxError):
        return kept
    return kept


def fingerprints(sources: list[str]) -> set[int]:
    found: set[int] = set()
    for source in sources:
        words = tokens(source)
        grams = [
            zlib.crc32(" ".join(words[place : place + GRAM]).encode())
            for place in range(len(words) - GRAM + 1)
        ]
        found |= {
            min(grams[place : place + WINDOW]) for place in range(max(0, len(grams) - WINDOW + 1))
        }
    return found


def answers(notebook: NotebookNode, given: frozenset[str]) -> list[str]:
    """Code cells that aren't as they were handed out."""
    return [
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.source not in given
    ]


def pairs(prints: dict[str, set[int]]) -> list[Pair]:
    """The most alike first."""
    count: dict[int, int] = {}
    for found in prints.values():
        for mark in found:
            count[mark] = count.get(mark, 0) + 1
    most = max(2, COMMON * len(prints))
    rare = {name: {mark for mark in found if count[mark] <= most} for name, found in prints.items()}
    alike = []
    for one, other in combinations(rare, 2):
        shared = len(rare[one] & rare[other])
        share = shared / max(1, min(len(prints[one]), len(prints[other])))
        if shared >= ENOUGH and share >= ALIKE:
            alike.append(Pair(one, other, shared, share))
    return sorted(alike, key=lambda pair: -pair.share)


def similar(assignment: Assignment) -> tuple[Path, list[Pair]]:
    """reports/<assignment>/similar.html"""
    ours = fingerprints(
        [cell.source for cell in assignment.released.cells if cell.cell_type == "code"]
    )
    prints = {}
    for path in sorted(
        (assignment.course.folder / "autograded").glob(
            f"*/{assignment.name}/{assignment.name}.ipynb"
        )
    ):
        prints[path.parent.parent.name] = (
            fingerprints(answers(nbformat.read(path, 4), assignment.given)) - ours
        )
    found = pairs(prints)
    rows = "".join(
        f"<tr><td>{html.escape(pair.one)}</td><td>{html.escape(pair.other)}</td><td>{pair.shared}</td>"
        f"<td>{100 * pair.share:.0f} %</td></tr>"
        for pair in found
    )
    body = (
        "<p>Pairs whose code shares many rare fingerprints. This is advice: read both before you conclude anything; a common "
        "source, a study group or one obvious way to write it are explanations too.</p>"
        f"<table><tr><th>one</th><th>other</th><th>shared</th><th>of the shorter</th></tr>{rows}</table>"
        f"<p>{len(prints)} submissions were compared; {len(found)} pairs are shown.</p>"
    )
    target = assignment.course.folder / "reports" / assignment.name / "similar.html"
    write(target, page(f"{assignment.name}: similar submissions", body))
    return target, found
