"""What a class' scores say about its tasks."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from vlmgrader import statistics
from vlmgrader.outputs import clean


def test_of_tasks():
    worth = {"easy": 2.0, "telling": 4.0, "odd": 2.0, "open": 3.0}
    scores = [
        {"easy": 2.0, "telling": float(n), "odd": 2.0 - n / 2, "open": None if n else 3.0}
        for n in range(5)
    ]
    easy, telling, odd, open_question = statistics.of_tasks(scores, worth)
    assert (easy.difficulty, easy.full, easy.none, easy.discrimination) == (1, 1, 0, None)
    assert telling.difficulty == pytest.approx(0.5) and telling.full == telling.none == 0.2
    assert telling.discrimination < 0 and odd.discrimination < 0, "they measure opposite things"
    assert open_question.students == 1 and open_question.discrimination is None


def test_a_task_that_agrees_with_the_rest_discriminates():
    scores = [{"a": float(n), "b": float(n), "c": float(n % 2)} for n in range(9)]
    a = statistics.of_tasks(scores, {"a": 8.0, "b": 8.0, "c": 1.0})[0]
    assert a.discrimination > 0.95


def test_the_median_of_an_even_number():
    assert statistics.median([0, 25, 28.5, 29.5]) == 26.75 and statistics.median([3, 1, 2]) == 2


def test_no_picture_comes_from_elsewhere():
    shown = clean(
        '<p>a</p><img src="https://evil.example/x.png"><img src="data:image/png;base64,AAAA"><a href="data:text/html,x">l</a>'
    )
    assert (
        "evil" not in shown and "data:image/png;base64,AAAA" in shown and "data:text" not in shown
    )
