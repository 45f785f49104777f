"""Plain English and the field's terms: words that the glossary replaced don't come back in names or docstrings.

What is left of them is counted in REMAINING. A count may fall and never rise; when it is zero its line goes.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("vlmcourse", "grader/vlmgrader")

# Names of functions, classes, arguments, variables and attributes, as they are written in the code.
NAMES = set(
    """
    see look hear say write looked told kept seen banks aside few
    levels groups dense blocks contrast match log_scale scored asked slot tag place reach pace every meetings meet
    text_first joint most pick extend grown stream same told_apart caught hits way ward patient sick twice doubt
    belief exchanged repainted siblings spoilt lent turned beside often attempt play still said came found made one
    other mine theirs left agree visible fuse made_of seeing looking next_words likeliest both_ways surprise
    likelihood nursery house room twin twins saying filling describing evidence closely habits
    """.split()
)
# Words of docstrings, as patterns.
PROSE = {
    "foretell": r"foretell|foretold",
    "coin": r"coin's throw|by lot",
    "lend": r"\blends?\b|\blent\b",
    "aside": r"looks? aside",
    "look": r"may look|looks? at|looked at|who sees|\bsees\b",
    "spoil": r"\bspoil(s|t|ed)?\b",
    "twin": r"\btwins?\b",
    "apart": r"(told|tells?) apart|told from|tells .* from",
    "ask": r"asked for|is asked|are asked",
    "grey": r"shown grey",
    "place": r"(?<!\bin )\bplaces?\b",  # PyTorch changes tensors in place
    "what it is worth": r"\bis worth\b",
    "house": r"\bhouse\b",
}
# Where a counted word is the field's own term, or Python's: beginnings of the paths that may use it.
ALLOWED = {
    "name blocks": (  # of a transformer
        "vlmcourse/parts/",
        "vlmcourse/papers/",
        "vlmcourse/recipes/flamingo.py",
    ),
    "name dense": ("vlmcourse/parts/bert.py",),  # a layer of BERT's MLM head, as in its checkpoints
    "name other": ("vlmcourse/parts/masks.py",),  # the second operand of `__and__`
    "name groups": ("vlmcourse/plots/",),  # of bars
    "name match": (  # of a regular expression
        "vlmcourse/papers/flamingo_weights.py",
        "grader/vlmgrader/matching.py",
        "grader/vlmgrader/authoring.py",
    ),
    "name look": ("vlmcourse/assignments/",),  # shows students a picture; no verb of a model
    "name extend": ("grader/vlmgrader/",),  # to give a student more time
    "name write": ("grader/vlmgrader/",),  # a file
    "name stream": ("grader/vlmgrader/outputs.py",),  # Jupyter's message of that name
    "name left": (  # a side: of two images, of a margin, of a box
        "vlmcourse/papers/blip_tasks.py",
        "vlmcourse/introspection.py",
        "vlmcourse/plots/",
        "vlmcourse/world/captions.py",
        "vlmcourse/world/rendering.py",
        "vlmcourse/world/statements.py",
    ),
    "name place": (  # a fact of the world's nouns
        "vlmcourse/world/nouns.py",
        "vlmcourse/world/questions.py",
    ),
    "text place": ("vlmcourse/evaluation/masked.py",),  # a kind of masked words in the results
}
# In world/document*.py, recipes/language.py, recipes/vilbert.py (EVERY, which lesson 04 uses), and files that came while this was counted.
REMAINING: Counter[str] = Counter(
    {
        "name asked": 2,
        "name every": 1,
        "name few": 1,
        "name found": 2,
        "name left": 2,
        "name made": 1,
        "name often": 2,
        "name one": 22,
        "name other": 2,
        "name place": 2,
        "name room": 1,
        "name said": 7,
        "name same": 1,
        "name slot": 1,
        "name tag": 1,
        "name turned": 1,
        "name way": 1,
        "text ask": 2,
        "text look": 2,
        "text place": 1,
    }
)


def names(tree: ast.AST) -> Iterator[str]:
    """Every name that a file defines: functions, classes, arguments, variables, attributes of self."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def docstrings(tree: ast.AST) -> Iterator[str]:
    """Every docstring of a file, on one line each."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield " ".join((ast.get_docstring(node) or "").split())


def house_words(source: str) -> Counter[str]:
    """How often each replaced word occurs in a file's names (`name found`) and docstrings (`text place`)."""
    tree = ast.parse(source)
    plain = (name.lower().strip("_") for name in names(tree))
    count = Counter(f"name {name}" for name in plain if name in NAMES)
    for text in docstrings(tree):
        for word, pattern in PROSE.items():
            count[f"text {word}"] += len(re.findall(pattern, text, re.I))
    return +count


def counted() -> tuple[Counter[str], dict[str, list[str]]]:
    """All house words of the packages, and the files that each stands in."""
    total: Counter[str] = Counter()
    where: dict[str, list[str]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            file = path.relative_to(ROOT).as_posix()
            for word, number in house_words(path.read_text(encoding="utf-8")).items():
                if not file.startswith(ALLOWED.get(word, ())):
                    total[word] += number
                    where.setdefault(word, []).append(f"{file} ({number})")
    return total, where


def test_no_replaced_word_is_used_more_often_than_before():
    total, where = counted()
    grown = {word: where[word] for word in total if total[word] > REMAINING[word]}
    assert not grown, f"say it in the glossary's words (docs/GLOSSARY.md): {grown}"


@pytest.mark.parametrize(
    "source, found",
    [
        ("def look(x):\n    return x\n", {"name look": 1}),
        ("def f(every=2, *, depth=1):\n    kept = depth\n", {"name every": 1, "name kept": 1}),
        ("class Looked:\n    pass\n", {"name looked": 1}),
        (
            'def f():\n    """A picture that is told apart from its twin."""\n',
            {"text apart": 1, "text twin": 1},
        ),
        ("def look_ahead(keyword, overlook):\n    return {}.keys(), 'the twin'\n", {}),
    ],
)
def test_house_words_are_found_in_names_and_docstrings_and_nowhere_else(source, found):
    assert house_words(source) == found
