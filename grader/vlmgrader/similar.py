"""Submissions that look alike: fingerprints of tokens (winnowing, Schleimer et al. 2003). Advice for a human, never a verdict.

Names, numbers, texts, brackets and comments don't count, nor does what was handed out, nor the model solution: whoever found
that way to write it has not copied. Two things are shown: pairs that share what few have, and pairs that are nearly the
same as a whole, however many others are the same, too.
"""

import ast
import difflib
import html
import io
import keyword
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
# shared fingerprints, and their share of the shorter one's, from which a pair is shown
ENOUGH, ALIKE, IDENTICAL = 8, 0.5, 0.8
SIDE_BY_SIDE = 40  # pairs with a page of their own
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
    """Two students, how many fingerprints they share, and which part of the shorter one's that is."""

    first: str
    second: str
    shared: int
    share: float


def normal(source: str) -> str:
    """Code without comments, brackets that change nothing, and choices of layout; as it is where it doesn't parse."""
    try:
        return ast.unparse(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return source


def tokens(source: str) -> list[str]:
    """What stays of code when its names are taken away. Of code that doesn't parse, what comes before the mistake."""
    parts = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(normal(source)).readline):
            if token.type in SKIP:
                continue
            if token.type == tokenize.NAME:
                parts.append(token.string if keyword.iskeyword(token.string) else "name")
            else:
                numbers = {tokenize.NUMBER: "0", tokenize.STRING: "''"}
                parts.append(numbers.get(token.type, token.string))
    except (tokenize.TokenError, SyntaxError):
        return parts
    return parts


def fingerprints(sources: list[str]) -> set[int]:
    """The fingerprints of some cells together."""
    chosen: set[int] = set()
    for source in sources:
        words = tokens(source)
        grams = [
            zlib.crc32(" ".join(words[start : start + GRAM]).encode())
            for start in range(len(words) - GRAM + 1)
        ]
        starts = range(max(0, len(grams) - WINDOW + 1))
        chosen |= {min(grams[start : start + WINDOW]) for start in starts}
    return chosen


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
    for marks in prints.values():
        for mark in marks:
            count[mark] = count.get(mark, 0) + 1
    limit = max(2, COMMON * len(prints))
    rare = {
        name: {mark for mark in marks if count[mark] <= limit} for name, marks in prints.items()
    }
    alike = []
    for first, second in combinations(prints, 2):
        shorter = max(1, min(len(prints[first]), len(prints[second])))
        rare_shared, all_shared = (
            len(rare[first] & rare[second]),
            len(prints[first] & prints[second]),
        )
        if rare_shared >= ENOUGH and rare_shared / shorter >= ALIKE:
            alike.append(Pair(first, second, rare_shared, rare_shared / shorter))
        elif all_shared >= ENOUGH and all_shared / shorter >= IDENTICAL:
            alike.append(Pair(first, second, all_shared, all_shared / shorter))
    return sorted(alike, key=lambda pair: (-pair.share, -pair.shared))


def linked_students(alike: list[Pair]) -> list[list[str]]:
    """Students who are linked by pairs, the largest group first."""
    group_of: dict[str, set[str]] = {}
    for pair in alike:
        joined = group_of.get(pair.first, {pair.first}) | group_of.get(pair.second, {pair.second})
        for student in joined:
            group_of[student] = joined
    unique = {frozenset(group) for group in group_of.values()}
    return sorted((sorted(group) for group in unique), key=lambda group: (-len(group), group))


def similar(assignment: Assignment) -> tuple[Path, list[Pair]]:
    """Writes reports/<assignment>/similar.html, and a page for each pair with both side by side."""
    folder = assignment.course.folder
    graded = (folder / "autograded").glob(f"*/{assignment.name}/{assignment.name}.ipynb")
    code = {
        path.parent.parent.name: answers(nbformat.read(path, 4), assignment.given)
        for path in sorted(graded)
    }
    ours = fingerprints([cell.source for cell in assignment.released.cells + _solution(assignment)])
    alike = pairs({student: fingerprints(sources) - ours for student, sources in code.items()})
    reports = folder / "reports" / assignment.name
    for number, pair in enumerate(alike[:SIDE_BY_SIDE], 1):
        body = _side_by_side(pair, code)
        write(reports / f"similar-{number}.html", page(f"{pair.first} and {pair.second}", body))
    target = reports / "similar.html"
    write(target, page(f"{assignment.name}: similar submissions", _body(alike, len(code))))
    return target, alike


def _solution(assignment: Assignment) -> list[NotebookNode]:
    """The model solution's cells: between their marks in nbgrader's source."""
    return [cell for cell in assignment.source.cells if cell.cell_type == "code"]


def _body(alike: list[Pair], count: int) -> str:
    rows = []
    for number, pair in enumerate(alike, 1):
        link = f'<a href="similar-{number}.html">side by side</a>' if number <= SIDE_BY_SIDE else ""
        cells = (html.escape(pair.first), html.escape(pair.second), pair.shared)
        row = "".join(f"<td>{cell}</td>" for cell in (*cells, f"{100 * pair.share:.0f} %", link))
        rows.append(f"<tr>{row}</tr>")
    large = [group for group in linked_students(alike) if len(group) > 2]
    together = "".join(
        f"<li>{len(group)} of {count}: {html.escape(', '.join(group))}</li>" for group in large
    )
    return (
        "<p>Pairs whose code shares much that is neither handed out nor in the model solution. This is advice: read both "
        "before you conclude anything; a common source, a study group or one obvious way to write it are explanations too.</p>"
        + (f"<h2>Groups</h2><ul>{together}</ul>" if together else "")
        + "<h2>Pairs</h2><table><tr><th>one</th><th>other</th><th>shared</th><th>of the shorter</th><th></th></tr>"
        + f"{''.join(rows)}</table><p>{count} submissions were compared; {len(alike)} pairs are shown.</p>"
    )


def _side_by_side(pair: Pair, code: dict[str, list[str]]) -> str:
    first, second = (
        "\n\n".join(code[name]).splitlines()[:2000] for name in (pair.first, pair.second)
    )
    style = "<style>td {font: 12px monospace; white-space: pre-wrap} body {max-width: none}</style>"
    table = difflib.HtmlDiff(wrapcolumn=70).make_table(
        first, second, html.escape(pair.first), html.escape(pair.second)
    )
    return style + table
