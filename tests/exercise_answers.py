"""What the tests of exercises share: verdicts on answers, and solutions and stubs as the masters have them."""

import re

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from teaching import exercises
from vlmcourse import lessons
from vlmcourse.widgets import interactive

NAME = re.compile(r"^(?:def|class) (\w+)", re.M)


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


def solutions():
    """{function or class: code} of every folded solution in the masters."""
    found = {}
    for master in lessons.masters():
        text = re.sub(r"^# ?", "", master.read_text(), flags=re.M)
        for code in re.findall(r"<summary>Solution</summary>\s*```python\n(.*?)```", text, re.S):
            found[NAME.search(code).group(1)] = code
    return found


def stubs():
    """{function or class: code} of every cell that is to be written."""
    found = {}
    for master in lessons.masters():
        for cell in lessons.from_master(master).cells:
            if cell.cell_type == "code" and "raise NotImplementedError" in cell.source:
                code = cell.source.split("\n\n\n")[0]
                found[NAME.search(code).group(1)] = code
    return found


def defined(code, name):
    """The function or class `name` of this code."""
    space = {"torch": torch, "normalize": normalize, "cross_entropy": cross_entropy}
    exec(code, space)
    return space[name]


def displayed(monkeypatch):
    """A list that fills with (widget, static) of what is displayed."""
    shown = []
    monkeypatch.setattr(
        interactive, "display_widget", lambda widget, static, _: shown.append((widget, static))
    )
    return shown
