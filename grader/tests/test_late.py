"""Late work costs what the course says, free days and extensions included."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("nbgrader", reason="grading needs nbgrader: pip install 'vlmgrader[grading]'")
sys.path.insert(0, str(Path(__file__).parent))
import small_course as small  # noqa: E402

from vlmgrader import gradebook, late, preflight, settings  # noqa: E402
from vlmgrader.results import CheckResult, NotebookResult  # noqa: E402


def record(assignment, student, when, points=6.0):
    """As if graded: all points of the tests, handed in at this time."""
    folder = small.hand_in(assignment, student, small.notebook(small.ANSWERS))
    (folder / "timestamp.txt").write_text(f"{when} UTC")
    notebook = preflight.inspect_submission(folder, assignment.released, small.NAME).notebook
    tasks = {name: [CheckResult("c", points / 3, 2.0, "")] for name in assignment.tasks}
    made = gradebook.results(notebook, NotebookResult(tasks), [])
    return gradebook.record(assignment, student, made, gradebook.submitted_at(folder))


def test_free_days_are_used_in_the_order_in_which_work_was_due():
    rule = settings.Late(10, 3)
    assert late.costs([2, 2, 1], rule) == [0, 10, 10]
    assert late.costs([0, 14], rule) == [0, 100]
    assert [late.days_late(seconds) for seconds in (-5, 0, 1, 86_400, 86_401)] == [0, 0, 1, 1, 2]


def test_the_courses_rule_is_taken_off_and_an_extension_counts(tmp_path):
    assignment = small.course(tmp_path, ["anna", "bob"])
    (assignment.course.assignments / "grader.toml").write_text(
        "[late]\nper_day = 20\nfree_days = 1\n"
    )
    assignment = small.again(assignment)
    late.due(assignment, "2026-09-14 23:59+00:00")
    assert record(assignment, "anna", "2026-09-14 23:58")["score"] == 6.0
    found = record(assignment, "bob", "2026-09-16 08:00")  # two days begun, one of them free
    assert found["late_penalty"] == pytest.approx(0.2 * 9) and found["score"] == pytest.approx(4.2)
    late.extend(assignment, "bob", 1)
    late.assign(assignment, "bob")
    assert gradebook.scores(assignment, "bob")["score"] == 6.0
    late.extend(assignment, "bob", 0)
    late.assign(assignment, "bob")
    assert gradebook.scores(assignment, "bob")["score"] == pytest.approx(4.2)
    with pytest.raises(ValueError, match="not on the roster"):
        late.extend(assignment, "zoe", 1)


def test_nbgraders_own_configuration_is_read(tmp_path):
    """The stock plugin, set as nbgrader's documentation says."""
    assignment = small.course(tmp_path, ["anna"])
    config = assignment.course.folder / "nbgrader_config.py"
    line = 'c.LateSubmissionPlugin.penalty_method = "zero"\n'
    config.write_text(config.read_text().replace("c = get_config()\n", "c = get_config()\n" + line))
    late.due(assignment, "2026-09-14 23:59+00:00")
    found = record(assignment, "anna", "2026-09-16 08:00")
    assert found["score"] == 0 and found["late_penalty"] == 6


def test_unknown_settings_are_named(tmp_path):
    path = tmp_path / "grader.toml"
    path.write_text("[late]\nper_week = 3\n")
    with pytest.raises(ValueError, match="unknown: per_week; expected free_days, per_day"):
        settings.read(path)
    path.write_text("packages = [")
    with pytest.raises(ValueError, match="grader.toml"):
        settings.read(path)
    assert settings.read(tmp_path / "none") == settings.Settings()


def test_who_joins_after_the_release_is_graded(tmp_path):
    assignment = small.course(tmp_path, ["anna"])
    roster = assignment.course.folder / "roster.csv"
    roster.write_text(roster.read_text() + "zoe,Zoë,Zett,\n")
    assignment.course.add_students()
    assert record(assignment, "zoe", "2026-09-14 23:58")["score"] == 6.0
