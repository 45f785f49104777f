"""Copies are found, also where many copied, renamed or added brackets; the model solution's way is nobody's copy."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from vlmgrader.similar import Pair, fingerprints, linked_students, pairs

TEXT = """def total(x):
    kept = 0.0
    for row in x[1:2]:
        kept = kept + float(row.sum() * 3 - 7 * row.sum() + row.mean())
    while kept > 5 and kept != 7:
        kept = kept / 2 if kept % 2 else kept - 1
    return [kept, {"a": kept}, (kept, kept)]
"""
BRACKETS = TEXT.replace(
    "kept + float(row.sum() * 3 - 7 * row.sum() + row.mean())",
    "((kept) + (float((row.sum() * 3) - (7 * row.sum()) + (row.mean()))))",
)
RENAMED = TEXT.replace("kept", "result").replace("row", "line") + "# my own work\n"


def own(number):
    """Each of these is written in another way."""
    lines = [
        f"    y{i} = [x ** {i}, {'not ' * (number >> i & 1)}x, {'-' * (number >> i & 3)}x][{i}:]"
        for i in range(12)
    ]
    calls = [
        f"    z = f{'(g' * (number % 5 + i % 3)}(x{')' * (number % 5 + i % 3 + 1)}"
        for i in range(6)
    ]
    mixed = [line for both in zip(lines, calls * 2, strict=False) for line in both]
    shift = number % len(mixed)
    return "def total(x):\n" + "\n".join(mixed[shift:] + mixed[:shift]) + "\n    return x\n"


def prints(copies, honest):
    made = {f"copy{n}": fingerprints([(TEXT, RENAMED, BRACKETS)[n % 3]]) for n in range(copies)}
    return made | {f"own{n}": fingerprints([own(7 * n + 1)]) for n in range(honest)}


def test_brackets_and_names_dont_hide_a_copy():
    assert fingerprints([TEXT]) == fingerprints([BRACKETS]) == fingerprints([RENAMED])


def test_copying_by_many_is_still_seen():
    for copies, honest in ((2, 10), (3, 9), (6, 14), (9, 31)):
        found = pairs(prints(copies, honest))
        copied = {frozenset((pair.first, pair.second)) for pair in found}
        expected = {frozenset((f"copy{i}", f"copy{j}")) for i in range(copies) for j in range(i)}
        assert expected <= copied, (copies, honest, len(copied))


def test_students_linked_by_pairs_are_one_group():
    links = [("a", "b"), ("c", "d"), ("b", "e")]
    assert linked_students([Pair(one, other, 9, 1.0) for one, other in links]) == [
        ["a", "b", "e"],
        ["c", "d"],
    ]


def test_code_that_does_not_parse_or_is_very_deep_is_compared_as_it_is():
    assert isinstance(
        fingerprints(["def f(:\n" + TEXT, "x." + "a." * 5000 + "b = 1", "(" * 5000]), set
    )
