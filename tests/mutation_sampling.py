"""Which mutants there are, and a random sample of them; `mutants.py` tries them."""

import ast
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import parso
from cosmic_ray.ast import ast_nodes
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.provider import OperatorProvider
from mutation_operators import OPERATORS as OWN

Position = tuple[int, int]  # line and column

# Operators that want arguments, that change no behaviour, or whose result nearly always raises an error at once.
UNUSED = re.compile(
    "Variable|ExceptionReplacer"
    "|ReplaceBinaryOperator_(Add|Sub|Mul|Div|FloorDiv|Mod|Pow)_(RShift|LShift|BitAnd|BitOr|BitXor|Pow|Mod)"
    "|ReplaceComparisonOperator_(Eq|NotEq|Lt|LtE|Gt|GtE)_(Is|IsNot|In|NotIn)"
    "|ReplaceComparisonOperator_(Is|IsNot|In|NotIn)_(Eq|NotEq|Lt|LtE|Gt|GtE)"
)


@dataclass(frozen=True)
class Mutant:
    """One change: the file, its line, what is done there, and the line before and after."""

    path: str
    line: int
    operator: str
    occurrence: int
    before: str
    after: str


@cache
def operators() -> dict:
    """All operators by name: cosmic-ray's and ours."""
    provider = OperatorProvider()
    return {name: provider[name]() for name in provider if not UNUSED.match(name)} | OWN


def spared(source: str) -> list[tuple[Position, Position]]:
    """Ranges of lines and columns, as pairs ((line, column), ...), in which a change tells nothing about the tests.

    These are types, the texts of errors, and sizes in the body of a class (the values of a configuration).
    """
    found: list[tuple[Position, Position]] = []
    for node in ast.walk(ast.parse(source)):
        inside: list[ast.AST | None] = []
        if isinstance(node, ast.arg):
            inside = [node.annotation]
        elif isinstance(node, ast.FunctionDef):
            inside = [node.returns]
        elif isinstance(node, ast.AnnAssign):
            inside = [node.annotation]
        elif isinstance(node, ast.Raise | ast.Import | ast.ImportFrom):
            inside = [node]
        elif isinstance(node, ast.ClassDef):
            inside = [line for line in node.body if isinstance(line, ast.AnnAssign)]
        found += [
            ((part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset))
            for part in inside
            if part
        ]
    return found


def candidates(path: str, source: str) -> Iterator[Mutant]:
    """All mutants of a file that change its text outside what is spared."""
    tree, ranges = parso.parse(source), spared(source)
    lines = source.splitlines()
    nodes = list(ast_nodes(tree))
    for name, operator in operators().items():
        places = [place for node in nodes for place in operator.mutation_positions(node)]
        for occurrence, (start, _) in enumerate(places):
            if not any(first <= tuple(start) < last for first, last in ranges):
                yield Mutant(path, start[0], name, occurrence, lines[start[0] - 1].strip(), "")


def mutated(mutant: Mutant, source: str) -> str | None:
    """The file's text with the change; None where nothing changes, or what remains isn't Python."""
    text = mutate_code(source, operators()[mutant.operator], mutant.occurrence)
    try:
        different = text is not None and ast.dump(ast.parse(text)) != ast.dump(ast.parse(source))
    except SyntaxError:
        return None
    return text if different else None


def sample(root: Path, paths: Iterable[str], count: int, seed: int) -> list[tuple[Mutant, str]]:
    """`count` mutants with their files' new texts, one for each of as many random lines."""
    at_line: dict[tuple[str, int], list[Mutant]] = {}
    sources = {path: (root / path).read_text(encoding="utf-8") for path in sorted(paths)}
    for path, source in sources.items():
        for mutant in candidates(path, source):
            at_line.setdefault((path, mutant.line), []).append(mutant)
    generator, chosen = random.Random(seed), []
    for place in generator.sample(sorted(at_line), len(at_line)):
        source = sources[place[0]]
        for mutant in generator.sample(at_line[place], len(at_line[place])):
            text = mutated(mutant, source)
            if text is not None:
                chosen.append((replace(mutant, after=first_difference(source, text)), text))
                break
        if len(chosen) == count:
            break
    return chosen


def first_difference(source: str, text: str) -> str:
    """The first line of `text` that isn't in `source` at the same place."""
    pairs = zip(source.splitlines(), text.splitlines())
    return next((new.strip() for old, new in pairs if old != new), "(a line less)")
