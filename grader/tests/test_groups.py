"""Groups: one hands in and all get the outcome; what can't be right in groups.csv is one clear error."""

import csv
import sys
from pathlib import Path

import pytest

pytest.importorskip("nbgrader", reason="grading needs nbgrader: pip install 'vlmgrader[grading]'")
sys.path.insert(0, str(Path(__file__).parent))
import small_course as small  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from vlmgrader import batch, export, gradebook, groups, late, sandbox, similar  # noqa: E402
from vlmgrader.cli import app  # noqa: E402
from vlmgrader.feedback import feedback  # noqa: E402
from vlmgrader.report import report  # noqa: E402

STUDENTS = ["anna", "bob", "cleo", "dan", "eve"]
HEADING = "assignment,group,student\n"
in_sandbox = pytest.mark.skipif(
    sandbox.trouble() is not None, reason=f"no sandbox can be made here: {sandbox.trouble()}"
)


def with_groups(assignment, text):
    (assignment.course.folder / "groups.csv").write_text(HEADING + text)
    return assignment


def hand_in(assignment, student, when, answers=None):
    folder = small.hand_in(assignment, student, small.notebook(answers or small.ANSWERS))
    (folder / "timestamp.txt").write_text(f"{when} UTC")


@pytest.mark.parametrize(
    "text, message",
    [
        ("A0,g1,anna\nA0,g2,anna\n", "line 3: found 'anna' in 'g2', but line 2 has this student"),
        ("A0,g1,anna\nA0_small,g1,anna\n", "line 3: .*expected each student once for A0_small"),
        ("A0,g1,anna\n\nA0,g1,zoe\n", "line 4: found 'zoe'; expected an id of roster.csv. Correct"),
        ("A0,g1,\n", "line 2: found the group 'g1' without a student; .* Complete the line"),
        ("A0,,anna\n", "line 2: found no group; expected assignment, group and one student"),
        ("A9,g1,anna\n", "line 2: There is no assignment 'A9'.*there are: A0_small"),
        ("A0,g1\n", "line 2: found the group 'g1' without a student"),
    ],
)
def test_what_can_not_be_right_is_one_clear_error_at_once(tmp_path, text, message):
    assignment = with_groups(small.course(tmp_path, STUDENTS), text)
    with pytest.raises(ValueError, match=f"groups.csv, {message}"):
        groups.of(assignment)
    folders = ["--course", assignment.course.folder, "--assignments", assignment.course.assignments]
    for command in (["release", "A0"], ["collect", "A0", tmp_path], ["run", "A0"]):
        ran = CliRunner().invoke(app, [*map(str, [*command, *folders])])
        assert "groups.csv, line" in str(ran.exception), command
    assert not (assignment.course.folder / "submitted").exists()


def test_a_file_without_the_heading_is_named(tmp_path):
    assignment = small.course(tmp_path, STUDENTS)
    (assignment.course.folder / "groups.csv").write_text("A0,g1,anna\n")
    with pytest.raises(ValueError, match="without assignment, group, student; expected the head"):
        groups.of(assignment)


def test_the_last_in_time_counts_and_which_does_not_is_said(tmp_path):
    assignment = small.course(tmp_path, STUDENTS)
    with_groups(assignment, "A0,g1,anna\nA0,g1,bob\nA0,g2,cleo\nA0,g2,dan\n")
    assert {name: group.lead for name, group in groups.of(assignment).items()} == {
        "anna": "anna",
        "bob": "anna",
        "cleo": "cleo",
        "dan": "cleo",
    }
    hand_in(assignment, "anna", "2026-09-14 08:00:00")
    hand_in(assignment, "bob", "2026-09-13 22:00:00")
    hand_in(assignment, "dan", "2026-09-13 22:00:00")
    found = groups.of(assignment)
    assert found["bob"].lead == "anna" and found["cleo"].lead == "dan" and not found["dan"].note
    assert found["bob"].note == (
        "group g1: 2 members handed in; anna's of 2026-09-14 08:00:00 UTC counts, the last in time; "
        "left out: bob's of 2026-09-13 22:00:00 UTC"
    )
    hand_in(assignment, "bob", "2026-09-14 08:00:01")
    assert groups.of(assignment)["anna"].lead == "bob"


def manual_score(assignment, student, points):
    from nbgrader.api import Gradebook

    with Gradebook(assignment.course.db_url) as book:
        grade = book.find_grade("why", small.NAME, small.NAME, student)
        grade.manual_score, grade.needs_manual_grade = points, False
        book.find_comment("why", small.NAME, small.NAME, student).manual_comment = "well said"
        book.db.commit()


@in_sandbox
def test_all_get_the_outcome_of_one_and_are_counted_once(tmp_path):
    assignment = small.course(tmp_path, STUDENTS, seconds=20)
    (assignment.course.assignments / "grader.toml").write_text("[late]\nper_day = 10\n")
    assignment = small.again(assignment)
    late.due(assignment, "2026-09-14 23:59+00:00")
    with_groups(assignment, "A0,g1,anna\nA0,g1,bob\nA0,g1,cleo\n")
    hand_in(assignment, "bob", "2026-09-15 10:00:00")
    hand_in(assignment, "anna", "2026-09-14 10:00:00", {"plus": small.ANSWERS["plus"]})
    hand_in(assignment, "dan", "2026-09-14 10:00:00", {"plus": small.ANSWERS["plus"]})
    late.extend(assignment, "cleo", 1)
    folders = ["--course", assignment.course.folder, "--assignments", assignment.course.assignments]
    ran = CliRunner().invoke(app, [*map(str, ["run", "A0", *folders])])
    assert ran.exit_code == 0, ran.output + str(ran.exception)
    assert "bob's of 2026-09-15 10:00:00 UTC counts" in ran.output
    assert "/5] anna" in ran.output and "(handed in by bob)" in ran.output

    marks = {name: gradebook.scores(assignment, name)["score"] for name in STUDENTS[:4]}
    assert marks == pytest.approx({"anna": 5.1, "bob": 5.1, "cleo": 6.0, "dan": 2.0})
    kept = batch.outcomes(assignment)
    assert kept["anna"]["marks"] == kept["bob"]["marks"] and kept["anna"]["score"] == 5.1
    assert list(batch.submissions(assignment)) == ["bob", "dan", "eve"]
    autograded = assignment.course.folder / "autograded"
    assert {path.name for path in autograded.glob("*") if any(path.iterdir())} == {"bob", "dan"}

    manual_score(assignment, "bob", 3.0)
    assert feedback(assignment, STUDENTS) == dict.fromkeys(STUDENTS[:4], "")
    pages = {
        name: (assignment.course.folder_for("feedback", small.NAME, name) / f"{small.NAME}.html")
        for name in STUDENTS[:4]
    }
    texts = {name: path.read_text() for name, path in pages.items()}
    assert "Score: 9.0 / 9.0" in texts["cleo"] and "Group g1: anna, bob, cleo" in texts["cleo"]
    assert "left out: anna&#x27;s of 2026-09-14" in texts["anna"] and "Group" not in texts["dan"]
    assert {path.name for path in autograded.glob("*") if any(path.iterdir())} == {"bob", "dan"}

    with open(export.to_csv(assignment, tmp_path / "grades.csv"), newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert [rows[name]["score"] for name in STUDENTS] == ["8.1", "8.1", "9", "2", ""]
    assert [rows[name]["submitted_by"] for name in STUDENTS[:4]] == ["bob", "bob", "bob", "dan"]
    assert [rows[name]["group"] for name in STUDENTS] == ["g1", "g1", "g1", "", ""]
    assert [rows[name]["comments"] for name in STUDENTS[:4]] == ["why: well said"] * 3 + [""]
    page = report(assignment).read_text()
    assert "5 students (groups, each counted once: 1): 2 graded, 0 failed, 1 missing" in page
    assert "Scores of 2 submissions" in page and page.count("2 members handed in") == 1
    assert "<p>2 submissions were compared" in similar.similar(assignment)[0].read_text()

    again = list(batch.run(batch.Plan(assignment), STUDENTS))
    assert not any(outcome["again"] for outcome in again), "nothing has changed"
    # Another member hands in later, something that can't be graded: it counts, and what a human gave stays.
    small.hand_in(assignment, "cleo", "{")
    (assignment.course.folder_for("submitted", small.NAME, "cleo") / "timestamp.txt").write_text(
        "2026-09-16 10:00:00 UTC"
    )
    done = {o["student"]: o for o in batch.run(batch.Plan(assignment), ["anna"])}
    assert {name: o["status"] for name, o in done.items()} == dict.fromkeys(STUDENTS[:3], "failed")
    hand_in(assignment, "cleo", "2026-09-14 10:00:00", {"plus": small.ANSWERS["plus"]})
    hand_in(assignment, "bob", "2026-09-14 09:00:00")
    hand_in(assignment, "anna", "2026-09-14 09:00:00")
    done = {o["student"]: o for o in batch.run(batch.Plan(assignment), ["bob"])}
    assert [done[name]["score"] for name in STUDENTS[:3]] == [5.0, 5.0, 5.0]
    # The group is dissolved: each has their own again.
    with_groups(assignment, "")
    done = {o["student"]: o for o in batch.run(batch.Plan(assignment), STUDENTS)}
    assert [done[name]["score"] for name in STUDENTS[:3]] == [9.0, 9.0, 5.0]
    assert "submitted_by" not in done["cleo"] and done["anna"]["again"]
