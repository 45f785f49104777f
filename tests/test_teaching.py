"""Exercises, quizzes and failure labs of all lessons: solutions pass, stubs are 'not begun', mistakes have a name."""

import importlib
import os
import random
import tomllib
from dataclasses import replace
from pathlib import Path

import ipywidgets
import pytest
import torch
from exercise_answers import taught

import teaching
from teaching import exercises
from teaching.differences import show_difference

FOLDER = Path(teaching.__file__).parent
LESSONS = sorted(path.stem for path in FOLDER.glob("*.toml"))
IDS = {
    f"{lesson}.{name}": exercise.checks[0].call
    for lesson in LESSONS
    for name, exercise in importlib.import_module(f"teaching.{lesson}").EXERCISES.items()
}
WRONG = {
    id: answers
    for path in sorted(Path(__file__).parent.glob("test_teaching_*.py"))
    for id, answers in getattr(importlib.import_module(path.stem), "WRONG", {}).items()
}


def entries(kind):
    return {
        f"{lesson}.{name}": entry
        for lesson in LESSONS
        for name, entry in tomllib.loads((FOLDER / f"{lesson}.toml").read_text())
        .get(kind, {})
        .items()
    }


@pytest.mark.slow
def test_every_exercise_has_a_stub_and_a_solution():
    assert set(taught()) == set(IDS)


@pytest.mark.slow
@pytest.mark.parametrize("id", IDS)
def test_the_folded_solution_is_right_and_the_stub_not_begun(id, capsys):
    stub, solution = taught()[id]
    for _ in range(3):  # inputs are fresh each time
        exercises.check(id, solution)
        assert capsys.readouterr().out == f"Right. {exercises.exercise(id).praise}\n"
    exercises.check(id, stub)
    assert capsys.readouterr().out.startswith("Not begun yet: your code goes there.")


@pytest.mark.parametrize("id", IDS)
def test_at_least_five_wrong_answers_get_a_message_of_their_own(id):
    found = {exercises.verdict(id, answer)[0] for answer in WRONG[id].values()}
    assert not any(verdict.passed for verdict in found)
    assert len({verdict.message for verdict in found if verdict.diagnosed}) >= 5


def test_code_that_crashes_is_an_answer_with_its_line(capsys):
    def answer(similarity, k):
        return similarity @ similarity[:2]

    exercises.check("clip.recall_at_k", answer)
    out = capsys.readouterr().out
    assert (
        out.startswith("Not yet: your code raised RuntimeError")
        and "return similarity @ similarity[:2]" in out
    )


def test_got_is_shown_beside_wanted(capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("vlmcourse.plots.show", shown.append)
    exercises.check("attention.prefix_mask", lambda seen, length: torch.ones(length, length).bool())
    assert "yours beside expected" in shown[0].description
    exercises.check("clip.attention_pool", lambda tokens, *_: tokens.mean(1))
    assert "numbers. The largest difference" in shown[1].description
    capsys.readouterr()
    exercises.check("clip.symmetric_loss", lambda image, text, scale: (image.sum() * 0 + 7).item())
    assert "For these inputs yours is 7.0000; wanted " in capsys.readouterr().out


def test_the_table_that_is_most_wrong_is_shown(monkeypatch):
    shown = []
    monkeypatch.setattr("vlmcourse.plots.show", shown.append)
    wanted = torch.zeros(2, 3, 4, 4)
    got = wanted + 1e-7  # rounding
    got[1, 0, 2, 3] = 0.5
    for pair in ((got, wanted), ([wanted + 1e-7, got], [wanted, wanted])):
        show_difference(*pair, 1e-4)
        assert "The largest difference is 0.5, at row 2, column 3" in shown.pop().description
    mask = wanted.bool()
    show_difference(got.round(decimals=0).bool() | (got > 0.4), mask, 1e-4)
    assert "1 cells only in 'yours'" in shown.pop().description
    show_difference([wanted + 1e-7, "text"], [wanted, "another"], 1e-4)
    show_difference([wanted, False], [wanted, True], 1e-4)
    assert not shown


def test_numbers_are_shown_where_they_are_wrong_and_have_a_meaning(capsys):
    def said(got, wanted, tolerance=1e-4):
        show_difference(got, wanted, tolerance)
        return capsys.readouterr().out

    assert said(7, 2.5) == "For these inputs yours is 7.0000; wanted 2.5000.\n"
    assert said([7.0, True], [2.5, True]) == said(7, 2.5)
    assert said([2.5, False], [2.5, True]) == ""  # the number is right: the inputs were changed
    assert said([0.7991, 1.0], [0.8, 0.0], 0.06) == ""  # facts
    assert said([225.0, 0.0], [225.0, 1.0]) == ""


def test_what_passed_is_used_later_and_else_the_reference(capsys, monkeypatch):
    id = "clip.recall_at_k"
    right, wrong = taught()[id][1], lambda similarity, k: 1.0
    with_reference = replace(exercises.exercise(id), reference=right)
    monkeypatch.setattr(exercises, "exercise", lambda id: with_reference)
    assert exercises.check(id, right) is right
    assert exercises.check(id, wrong) is right
    assert capsys.readouterr().out.endswith("Until yours is right, later cells use the course's.\n")


def test_inputs_are_drawn_until_no_two_formulas_agree():
    def inputs(generator):
        return [exercises.number(generator, 0, 2)], {}

    def square(x):
        return x * x

    mistakes = {"twice": lambda x: 2 * x, "x": (lambda x: x,)}
    draw = exercises.rule("square", inputs, square, mistakes).inputs
    generator = torch.Generator().manual_seed(0)  # 0 and 1 are their own squares, 2 is doubled
    with pytest.raises(RuntimeError, match="always gave the same value"):
        draw(generator)
    draw = exercises.rule("square", inputs, square, {"x": lambda x: x}).inputs
    assert all(draw(generator) == ([2], {}) for _ in range(20))


def test_a_rule_draws_inputs_on_which_its_tolerance_tells_the_mistakes_apart():
    def inputs(generator):
        return [exercises.number(generator, 0, 2)], {}

    def nearly(x):
        return x + (1.0 if x == 2 else 1e-4)

    rule = exercises.rule("f", inputs, float, {"nearly": nearly}, hidden=(inputs,))
    generator = torch.Generator().manual_seed(0)
    drawn = [draw(generator) for draw in rule.draws() for _ in range(20)]
    assert drawn == [([2], {})] * 80  # three rounds, one hidden


def test_tests_draw_the_same_inputs_at_each_run(request):
    numbers = random.Random(f"{os.environ.get('VLMCOURSE_TEST_SEED', 0)} {request.node.nodeid}")
    drawn = [numbers.getrandbits(31) for _ in range(2)]
    assert [torch.initial_seed(), exercises.fresh_seed()] == drawn


def test_ids_that_are_not_there_are_said():
    for call in (exercises.exercise, lambda id: exercises.question("quizzes", id)):
        for id in ("clip.nothing", "nowhere.loss", "clip"):
            with pytest.raises(ValueError, match="there is no"):
                call(id)


@pytest.mark.parametrize("id, lab", entries("failures").items(), ids=list(entries("failures")))
def test_a_failure_lab_waits_hints_and_explains(id, lab, capsys):
    def said(answer):
        exercises.diagnose(id, answer)
        return capsys.readouterr().out

    right = lab["causes"]
    assert said(right) == f"Right. {lab['explanation']}\n"
    assert said(dict.fromkeys(right)).startswith("Not begun yet: replace each None by '")
    for run in right:
        other = next(cause for cause in right.values() if cause != right[run])
        assert said({**right, run: other}) == f"Not yet: run {run}: {lab['hints'][run]}\n"
    assert len(set(lab["hints"].values())) == len(right)
    for strange in ({"A": "no idea"}, "A", {**right, "A": "no idea"}):
        listed = said(strange)
        runs = ", ".join(f"{run!r}: ..." for run in right)
        assert f"expected {{{runs}}} with values" in listed
        assert sorted(right.values(), key=listed.index) == sorted(
            right.values()
        )  # no order to copy


@pytest.mark.parametrize("id, quiz", entries("quizzes").items(), ids=list(entries("quizzes")))
def test_each_option_of_a_quiz_is_explained(id, quiz):
    if "options" in quiz:
        assert quiz["answer"] in quiz["options"] and len(quiz["options"]) >= 3
        assert len(set(quiz["options"].values())) == len(quiz["options"])
        assert all(len(text) > 20 for text in quiz["options"].values())
    else:  # its options were measured in the lesson
        assert len(quiz["explanation"]) > 20


def test_no_master_holds_the_answer_of_a_quiz():
    from vlmcourse import lessons

    for master in lessons.masters():
        text = " ".join(master.read_text().replace("\n# ", " ").split())
        for id, quiz in entries("quizzes").items():
            for explanation in quiz.get("options", {}).values():
                assert explanation[:60] not in text, (master.name, id)
        assert "quiz(" in text and "predict(" not in text


@pytest.fixture
def displayed(monkeypatch):
    """What display() was given: (bundle, metadata), ..."""
    seen = []
    monkeypatch.setattr(
        "IPython.display.display", lambda data, **named: seen.append((data, named.get("metadata")))
    )
    return seen


def inside(bundle, kind):
    """All widgets of a kind, of the widget that a bundle shows."""
    view = bundle["application/vnd.jupyter.widget-view+json"]["model_id"]

    def walk(widget):
        yield widget
        for child in getattr(widget, "children", ()):
            yield from walk(child)

    root = ipywidgets.widgets.widget._instances[view]
    return [widget for widget in walk(root) if isinstance(widget, kind)]


def test_a_quiz_answers_each_option_and_folds_without_a_kernel(displayed):
    exercises.quiz("flamingo.film", R=8)
    ((bundle, _),) = displayed
    assert (
        "A picture becomes 8 latents" in bundle["text/html"] and "<details>" in bundle["text/html"]
    )
    (choice,), reply = inside(bundle, ipywidgets.RadioButtons), inside(bundle, ipywidgets.HTML)[-1]
    assert choice.value is None and reply.value == ""
    choice.value = "8 times 8: each frame has its own"
    assert "Not quite." in reply.value and "Frames add keys and values" in reply.value
    choice.value = "8: as many as a picture"
    assert "Yes." in reply.value and "The features of all frames" in reply.value


def test_a_quiz_may_ask_what_was_measured(displayed):
    steps = {"loss": 200, "binding": 900}
    options = {"before it": 0.0, "later": 4.5}
    exercises.quiz("language_model.binding_step", "later", options, **steps)
    (choice,) = inside(displayed[0][0], ipywidgets.RadioButtons)
    choice.value = "before it"
    reply = inside(displayed[0][0], ipywidgets.HTML)[-1].value
    assert "Not quite." in reply and "Half of the rise: by step 900" in reply
    with pytest.raises(ValueError, match="not among"):
        exercises.quiz("language_model.binding_step", "never", options, **steps)
