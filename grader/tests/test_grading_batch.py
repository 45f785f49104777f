"""A class: every submission ends exactly once, whatever dies; manual scores stay; grades arrive in other systems unharmed."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("nbgrader", reason="grading needs nbgrader: pip install 'vlmgrader[grading]'")
sys.path.insert(0, str(Path(__file__).parent))
import small_course as small  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from vlmgrader import (  # noqa: E402
    batch,
    course,
    export,
    gradebook,
    gradescope,
    platforms,
    sandbox,
    similar,
    workers,
)
from vlmgrader.cli import app  # noqa: E402
from vlmgrader.feedback import feedback  # noqa: E402
from vlmgrader.report import report  # noqa: E402

pytestmark = pytest.mark.skipif(
    sandbox.trouble() is not None, reason=f"no sandbox can be made here: {sandbox.trouble()}"
)
COLUMNS = {**small.ANSWERS, "softmax": "def softmax(x):\n    return torch.softmax(x, 0)"}
EVIL = "<script>alert(1)</script>\n\n[l](javascript:alert(1)) <img src=x onerror=alert(1)> because $a<b$"
LONG = (
    "def total(x):\n    kept = 0.0\n"
    + "\n".join(
        f"    for row in x[{n}:{n + 1}]:\n        kept = kept + float(row.sum() * {n} - {n} * row.sum() + row.sum())"
        for n in range(4)
    )
    + "\n    return kept"
)
STUDENTS = ["anna", "bob", "cleo", "dan", "eve", "fay", "gus", "hal"]


def run(assignment, *arguments):
    return [
        sys.executable,
        "-m",
        "vlmgrader",
        *arguments,
        "--course",
        str(assignment.course.folder),
        "--assignments",
        str(assignment.course.assignments),
    ]


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """Eight students, two workers, kill -9 in the middle, and a second run to the end."""
    assignment = small.course(tmp_path_factory.mktemp("class"), STUDENTS, seconds=20)
    small.hand_in(assignment, "anna", small.notebook(small.ANSWERS))
    small.hand_in(assignment, "bob", small.notebook(COLUMNS, why=EVIL))
    small.hand_in(assignment, "cleo", "{")
    small.hand_in(assignment, "eve", small.notebook())
    small.hand_in(assignment, "fay", small.notebook({**small.ANSWERS, "total": LONG}))
    small.hand_in(
        assignment,
        "gus",
        small.notebook(
            {**small.ANSWERS, "total": LONG.replace("kept", "result").replace("row", "line")}
        ),
    )
    small.hand_in(
        assignment, "hal", small.notebook({**small.ANSWERS, "plus": "import os\nos._exit(1)"})
    )
    small.hand_in(assignment, "mallory", small.notebook(small.ANSWERS))
    files = assignment.course.folder / "outcomes" / small.NAME
    first = subprocess.Popen(
        run(assignment, "run", "A0"), cwd=Path(__file__).parents[1], stdout=subprocess.DEVNULL
    )
    until = time.monotonic() + 300
    while not list(files.glob("*.json")) and time.monotonic() < until:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = {path.name: path.stat().st_mtime_ns for path in files.glob("[a-z]*.json")}
    told = subprocess.run(
        run(assignment, "run", "A0"),
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert told.returncode == 0, told.stderr
    return assignment, before, told.stdout


def test_every_submission_ends_exactly_once_though_the_grader_was_killed(graded):
    assignment, before, told = graded
    assert 0 < len(before) < 9, "killed in the middle"
    kept = batch.outcomes(assignment)
    assert {student: outcome["status"] for student, outcome in kept.items()} == {
        "anna": "graded",
        "bob": "graded",
        "cleo": "failed",
        "dan": "missing",
        "eve": "graded",
        "fay": "graded",
        "gus": "graded",
        "hal": "graded",
        "mallory": "failed",
    }
    assert "6 graded, 2 failed, 1 missing" in told and told.count("(already done)") == len(before)
    files = assignment.course.folder / "outcomes" / small.NAME
    assert all((files / name).stat().st_mtime_ns == when for name, when in before.items()), (
        "what was done isn't done again"
    )
    assert kept["mallory"]["reason"] == "this student is not on the roster"
    assert [kept[name]["score"] for name in ("anna", "bob", "eve", "hal")] == [6, 4, 0, 4]


def test_the_gradebook_has_the_same_scores_and_a_question_for_a_human(graded):
    assignment = graded[0]
    assert gradebook.scores(assignment, "bob") == {
        "score": 4.0,
        "max_score": 9.0,
        "late_penalty": 0,
        "needs_manual_grade": True,
    }
    assert (
        gradebook.scores(assignment, "dan") is None
        and gradebook.scores(assignment, "mallory") is None
    )


def test_a_regrade_keeps_manual_scores_and_takes_a_new_submission(graded):
    from nbgrader.api import Gradebook

    assignment = graded[0]
    with Gradebook(assignment.course.db_url) as book:
        grade = book.find_grade("why", small.NAME, small.NAME, "bob")
        grade.manual_score, grade.needs_manual_grade = 3.0, False
        book.db.commit()
    small.hand_in(assignment, "bob", small.notebook(small.ANSWERS, why=EVIL))
    plan = batch.Plan(assignment)
    [outcome] = batch.run(plan, ["bob"])
    assert outcome["again"] and outcome["score"] == 9.0
    [outcome] = batch.run(plan, ["bob"])
    assert not outcome["again"], "nothing changed: nothing to do"
    small.hand_in(assignment, "bob", "{")
    [outcome] = batch.run(plan, ["bob"])
    assert outcome["status"] == "failed" and gradebook.scores(assignment, "bob")["score"] == 3.0
    small.hand_in(assignment, "bob", small.notebook(COLUMNS, why=EVIL))
    [outcome] = batch.run(plan, ["bob"])
    assert outcome["score"] == 7.0


def test_feedback_holds_points_and_reasons_and_nothing_that_acts(graded):
    assignment = graded[0]
    assert set(feedback(assignment, ["bob", "cleo"]).values()) == {""}
    page = (
        assignment.course.folder_for("feedback", small.NAME, "bob") / f"{small.NAME}.html"
    ).read_text()
    assert "columns add up to one" in page and "because" in page
    assert not any(word in page for word in ("<script>alert", "javascript:alert", "onerror"))
    assert (
        "no JSON"
        in (
            assignment.course.folder_for("feedback", small.NAME, "cleo") / f"{small.NAME}.html"
        ).read_text()
    )


def test_the_class_report_has_pictures_with_descriptions(graded):
    page = report(graded[0]).read_text()
    assert "6 graded, 2 failed, 1 missing" in page
    descriptions = re.findall(r'<img alt="([^"]+)" src="data:image/png;base64,', page)
    assert (
        len(descriptions) == 3
        and "softmax-test" in descriptions[1]
        and "columns add up to one" in descriptions[2]
    )


def test_renamed_copies_are_found_and_honest_answers_are_not(graded):
    _, pairs = similar.similar(graded[0])
    assert [(pair.first, pair.second) for pair in pairs] == [("fay", "gus")]


def test_canvas_gets_its_own_export_back_with_one_column_filled(graded, tmp_path):
    """From the gradebook to the file; the platforms' rules are in test_platforms.py."""
    from nbgrader.api import Gradebook

    assignment = graded[0]
    template = tmp_path / "canvas.csv"
    template.write_text("Student,ID,SIS Login ID,A0_small (98765)\nAnna,11,anna,\nDan,13,dan,2\n")
    with Gradebook(assignment.course.db_url) as book:
        for student in ("anna", "bob"):
            grade = book.find_grade("why", small.NAME, small.NAME, student)
            grade.manual_score, grade.needs_manual_grade = 1.5, False
        book.db.commit()
    kept, notes = platforms.fill(assignment, platforms.CANVAS, template, tmp_path / "filled.csv")
    with open(kept, newline="") as file:
        filled = list(csv.reader(file))
    assert filled[1][3] == "7.5" and filled[2][3] == "2" and "dan: missing; left as it was" in notes


def test_the_plain_table_quotes_and_defuses(graded, tmp_path):
    assignment = graded[0]
    roster = assignment.course.folder / "roster.csv"
    before = roster.read_text()
    roster.write_text(before.replace("anna,,,", 'anna,"O""Neil, A",=cmd|x,'))
    with open(export.to_csv(assignment, tmp_path / "grades.csv"), newline="") as file:
        table = {row["id"]: row for row in csv.DictReader(file)}
    roster.write_text(before)
    assert table["anna"]["why"] == "1.5", "the open question"
    assert table["anna"]["first_name"] == 'O"Neil, A' and table["anna"]["last_name"] == "'=cmd|x"
    assert (
        table["dan"]["score"] == ""
        and table["dan"]["status"] == "missing"
        and table["bob"]["softmax-test"] == "0"
    )


def test_gradescope_gets_results_and_an_autograder(graded, tmp_path):
    assignment = graded[0]
    outcome = json.loads(batch.outcome_file(assignment, "eve").read_text())
    results = gradescope.results(outcome, {name: 2.0 for name in assignment.tasks})
    assert results["score"] == 0 and [test["max_score"] for test in results["tests"]] == [2, 2, 2]
    (assignment.course.assignments / "requirements.txt").write_text("torch\n")
    place = gradescope.autograder(assignment, tmp_path / "autograder.zip")
    with zipfile.ZipFile(place) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "source")
    assert {
        "setup.sh",
        "run_autograder",
        "requirements.lock",
        "packages/vlmgrader/kernel_server.py",
    } <= set(names)
    assert "--unsafe-no-sandbox" not in (tmp_path / "source" / "run_autograder").read_text()
    told = CliRunner().invoke(
        app,
        [
            "gradescope",
            small.NAME,
            "--course",
            str(tmp_path / "source" / "course"),
            "--assignments",
            str(tmp_path / "source" / "assignments"),
            "--submission",
            str(assignment.course.folder_for("submitted", small.NAME, "bob")),
            "--results",
            str(tmp_path / "results.json"),
        ],
    )
    assert told.exit_code == 0, told.output + str(told.exception)
    assert json.loads((tmp_path / "results.json").read_text())["score"] == 4


def test_without_a_sandbox_every_grade_is_marked(graded, tmp_path):
    assignment = graded[0]
    [outcome] = batch.run(batch.Plan(assignment, safe=False), ["anna"])
    assert (
        outcome["status"] == "graded"
        and outcome["unsafe"]
        and "WITHOUT a sandbox" in outcome["notes"][0]
    )
    assert (
        next(row for row in export.rows(assignment) if row["id"] == "anna")["without_sandbox"] == 1
    )
    assert (
        "WITHOUT a sandbox"
        in (
            assignment.course.folder_for("autograded", small.NAME, "anna") / f"{small.NAME}.ipynb"
        ).read_text()
    )
    [outcome] = batch.run(batch.Plan(assignment), ["anna"])
    assert outcome["again"] and not outcome["unsafe"], "the sandbox's grade replaces it"


def test_a_worker_that_dies_costs_no_submission(graded, monkeypatch):
    """Killed while it grades, the submission is graded again by another; twice, it ends as failed, and the next goes on."""
    assignment = graded[0]
    killed = []

    class Fragile(workers.Worker):
        def give(self, student, seconds):
            super().give(student, seconds)
            if student == "anna" or (student == "eve" and not killed):
                killed.append(student)
                os.kill(self.process.pid, signal.SIGKILL)

    monkeypatch.setattr(workers, "Worker", Fragile)
    found = {
        outcome["student"]: outcome
        for outcome in batch.run(batch.Plan(assignment), ["eve", "anna"], force=True)
    }
    assert killed == ["eve", "anna", "anna"]
    assert (
        found["eve"]["status"] == "graded"
        and found["anna"]["reason"] == "the grader's worker ended while grading it"
    )
    monkeypatch.undo()
    [outcome] = batch.run(batch.Plan(assignment), ["anna"])
    assert outcome["again"] and outcome["status"] == "graded", (
        "a failure of the grader's own is tried again"
    )


def test_two_runs_at_once_are_refused(graded):
    with (
        batch._alone(graded[0].course),
        pytest.raises(RuntimeError, match="another `vlmgrader run` is at work"),
    ):
        list(batch.run(batch.Plan(graded[0]), ["anna"]))


def test_points_of_cells_and_checks_must_agree(tmp_path):
    assignment = small.course(tmp_path)
    (assignment.home / "checks.py").write_text(
        small.CHECKS.replace("SECONDS", "5")
        .replace('"plus", numbers', '"plus", numbers')
        .replace('Check("adds one", 1,', 'Check("adds one", 7,')
    )
    with pytest.raises(ValueError, match="the cell has 2 points, its checks have 8"):
        assert course.Assignment(small.NAME, assignment.course).tasks
    with pytest.raises(ValueError, match="no assignment 'A9'.*there are: A0_small"):
        assignment.course.find("A9")


def test_the_released_notebook_is_nbgraders(graded):
    released = nbformat.read(
        graded[0].course.folder_for("release", small.NAME) / f"{small.NAME}.ipynb", 4
    )
    assert "NotImplementedError" in "".join(cell.source for cell in released.cells)
    assert all(
        "checksum" in cell.metadata.nbgrader
        for cell in released.cells
        if "nbgrader" in cell.metadata
    )
