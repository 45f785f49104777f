"""What the tests of exercises share: verdicts on answers, and solutions and stubs as the masters have them."""

import re
from functools import cache

import pytest

from teaching import exercises
from vlmcourse import lessons
from vlmcourse.widgets import interactive

CHECK = re.compile(r'check\(\s*"([\w.]+)",\s*(\w+)')
IMPORT = re.compile(r"^(?:import [\w., ]+|from [\w.]+ import (?:\([^)]*\)|[\w., ]+))$", re.M)
SOLUTION = re.compile(r"<summary>Solution</summary>\s*```python\n(.*?)```", re.S)


def message(id, answer):
    """What the exercise says to an answer; '' if it passes."""
    found, _ = exercises.verdict(id, answer)
    return "" if found.passed else found.message


def each(wrong):
    """For parametrize: (id, words, answer) of {id: {words of the message: wrong answer}}."""
    return [
        pytest.param(id, words, answer, id=f"{id}: {words}")
        for id, answers in wrong.items()
        for words, answer in answers.items()
    ]


def exercises_of(master):
    """[(id, function or class, stub, folded solution)] of a lesson, in its order."""
    found, waiting = [], []
    for cell in lessons.from_master(master).cells:
        if cell.cell_type == "code" and "raise NotImplementedError" in cell.source:
            id, name = CHECK.search(cell.source).groups()
            waiting.append((id, name, cell.source[: cell.source.index("\n\n\n")]))
        elif waiting and (code := SOLUTION.search(cell.source)):
            found.append((*waiting.pop(), code.group(1)))
    assert not waiting, f"{master.stem}: no folded solution of {waiting[0][0]}"
    return found


@cache
def taught():
    """{id: (function or class as the student finds it, as the folded solution has it)} of all lessons.

    A solution may use what the lesson imports, and what earlier exercises made.
    """
    found = {}
    for master in lessons.masters():
        code = [c.source for c in lessons.from_master(master).cells if c.cell_type == "code"]
        imports = IMPORT.findall("\n".join(code))
        space = {}
        exec("\n".join(imports), space)
        for id, name, stub, solution in exercises_of(master):
            begun = dict(space)
            exec(stub, begun)
            exec(solution, space)
            found[id] = begun[name], space[name]
    return found


def solution(id):
    """The folded solution of an exercise."""
    return taught()[id][1]


def displayed(monkeypatch):
    """A list that fills with (widget, static) of what is displayed."""
    shown = []
    monkeypatch.setattr(
        interactive, "display_widget", lambda widget, static, _: shown.append((widget, static))
    )
    return shown
