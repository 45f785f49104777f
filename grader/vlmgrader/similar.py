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
ENOUGH, ALIKE, SAME = 8, 0.5, 0.8
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

    one: str
    other: str
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
    kept = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(normal(source)).readline):
            if token.type in SKIP:
                continue
            if token.type == tokenize.NAME:
                kept.append(token.string if keyword.iskeyword(token.string) else "name")
            else:
                numbers = {tokenize.NUMBER: "0", tokenize.STRING: "''"}
                kept.append(numbers.get(token.type, token.string))
    except (tokenize.TokenError, SyntaxError):
        return kept
    return kept


def fingerprints(sources: list[str]) -> set[int]:
    """The fingerprints of some cells together."""
    found: set[int] = set()
    for source in sources:
        words = tokens(source)
        grams = [
            zlib.crc32(" ".join(words[start : start + GRAM]).encode())
            for start in range(len(words) - GRAM + 1)
        ]
        starts = range(max(0, len(grams) - WINDOW + 1))
        found |= {min(grams[start : start + WINDOW]) for start in starts}
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
    for one, other in combinations(prints, 2):
        shorter = max(1, min(len(prints[one]), len(prints[other])))
        few, all_shared = len(rare[one] & rare[other]), len(prints[one] & prints[other])
        if few >= ENOUGH and few / shorter >= ALIKE:
            alike.append(Pair(one, other, few, few / shorter))
        elif all_shared >= ENOUGH and all_shared / shorter >= SAME:
            alike.append(Pair(one, other, all_shared, all_shared / shorter))
    return sorted(alike, key=lambda pair: (-pair.share, -pair.shared))


def groups(found: list[Pair]) -> list[list[str]]:
    """Students who are linked by pairs, the largest group first."""
    group_of: dict[str, set[str]] = {}
    for pair in found:
        joined = group_of.get(pair.one, {pair.one}) | group_of.get(pair.other, {pair.other})
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
    found = pairs({student: fingerprints(sources) - ours for student, sources in code.items()})
    reports = folder / "reports" / assignment.name
    for number, pair in enumerate(found[:SIDE_BY_SIDE], 1):
        body = _side_by_side(pair, code)
        write(reports / f"similar-{number}.html", page(f"{pair.one} and {pair.other}", body))
    target = reports / "similar.html"
    write(target, page(f"{assignment.name}: similar submissions", _body(found, len(code))))
    return target, found


def _solution(assignment: Assignment) -> list[NotebookNode]:
    """The model solution's cells: between their marks in nbgrader's source."""
    return [cell for cell in assignment.source.cells if cell.cell_type == "code"]


def _body(found: list[Pair], count: int) -> str:
    rows = []
    for number, pair in enumerate(found, 1):
        link = f'<a href="similar-{number}.html">side by side</a>' if number <= SIDE_BY_SIDE else ""
        cells = (html.escape(pair.one), html.escape(pair.other), pair.shared)
        row = "".join(f"<td>{cell}</td>" for cell in (*cells, f"{100 * pair.share:.0f} %", link))
        rows.append(f"<tr>{row}</tr>")
    large = [group for group in groups(found) if len(group) > 2]
    together = "".join(
        f"<li>{len(group)} of {count}: {html.escape(', '.join(group))}</li>" for group in large
    )
    return (
        "<p>Pairs whose code shares much that is neither handed out nor in the model solution. This is advice: read both "
        "before you conclude anything; a common source, a study group or one obvious way to write it are explanations too.</p>"
        + (f"<h2>Groups</h2><ul>{together}</ul>" if together else "")
        + "<h2>Pairs</h2><table><tr><th>one</th><th>other</th><th>shared</th><th>of the shorter</th><th></th></tr>"
        + f"{''.join(rows)}</table><p>{count} submissions were compared; {len(found)} pairs are shown.</p>"
    )


def _side_by_side(pair: Pair, code: dict[str, list[str]]) -> str:
    one, other = ("\n\n".join(code[name]).splitlines()[:2000] for name in (pair.one, pair.other))
    style = "<style>td {font: 12px monospace; white-space: pre-wrap} body {max-width: none}</style>"
    table = difflib.HtmlDiff(wrapcolumn=70).make_table(
        one, other, html.escape(pair.one), html.escape(pair.other)
    )
    return style + table
