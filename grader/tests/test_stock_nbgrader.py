"""nbgrader's own commands in our course: none runs a student's code with the instructor's rights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("nbgrader", reason="grading needs nbgrader: pip install 'vlmgrader[grading]'")
sys.path.insert(0, str(Path(__file__).parent))
import small_course as small  # noqa: E402

from vlmgrader import batch, gradebook, sandbox  # noqa: E402

pytestmark = pytest.mark.skipif(
    sandbox.trouble() is not None, reason=f"no sandbox can be made here: {sandbox.trouble()}"
)


@pytest.fixture(scope="module")
def assignment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    made = small.course(folder, ["anna", "bob"], seconds=30)
    mark = f"open({str(folder / 'HARM')!r}, 'w').write('harm')\n"
    small.hand_in(made, "anna", small.notebook({"plus": mark + small.ANSWERS["plus"]}))
    small.hand_in(made, "bob", "{")
    return made


def harmed(assignment) -> bool:
    return (assignment.course.folder.parent / "HARM").exists()


def stock(assignment, *arguments):
    folder = assignment.course.folder
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment,
    )


def test_autograde_goes_through_our_sandbox(assignment):
    ran = stock(assignment, "autograde", small.NAME, "--student", "anna", "--create", "--force")
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert not harmed(assignment)
    outcome = json.loads(batch.outcome_file(assignment, "anna").read_text())
    assert outcome["status"] == "graded" and outcome["score"] == 0, "that cell raises in a sandbox"
    assert gradebook.scores(assignment, "anna")["score"] == 0


def test_autograde_of_what_cannot_be_graded_gives_no_points(assignment):
    ran = stock(assignment, "autograde", small.NAME, "--student", "bob", "--create", "--force")
    assert ran.returncode
    assert (gradebook.scores(assignment, "bob") or {"score": 0})["score"] == 0


def test_the_button_of_formgrader_is_the_same_call(assignment):
    """Formgrader's handler calls this method of nbgrader's API with the configuration of the course."""
    found = assignment.course.nbgrader().autograde(small.NAME, "anna", force=True, create=True)
    assert found["success"], found.get("error") or found["log"]
    assert not harmed(assignment) and gradebook.scores(assignment, "anna")["score"] == 0


def test_validate_refuses_to_execute(assignment):
    notebook = assignment.course.folder_for("submitted", small.NAME, "anna") / f"{small.NAME}.ipynb"
    ran = stock(assignment, "validate", str(notebook))
    assert not harmed(assignment)
    assert "run by `vlmgrader run` alone" in ran.stderr + ran.stdout


def test_generate_feedback_neither_runs_nor_shows_the_mark_scheme(assignment):
    list(batch.run(batch.Plan(assignment), ["anna"], force=True))
    path = assignment.course.folder_for("autograded", small.NAME, "anna") / f"{small.NAME}.ipynb"
    notebook = nbformat.read(path, 4)
    scheme = "=== BEGIN MARK SCHEME ===\nSECRET\n=== END MARK SCHEME ==="
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("task"):
            cell.source += "\n" + scheme
    nbformat.write(notebook, path)
    ran = stock(assignment, "generate_feedback", small.NAME, "--student", "anna", "--force")
    assert ran.returncode == 0, ran.stderr[-2000:]
    page = assignment.course.folder_for("feedback", small.NAME, "anna") / f"{small.NAME}.html"
    assert "SECRET" not in page.read_text() and not harmed(assignment)


def test_options_cannot_bring_execution_back(assignment):
    ran = stock(
        assignment,
        "autograde",
        small.NAME,
        "--student",
        "anna",
        "--force",
        "--Autograde.autograde_preprocessors=nbgrader.preprocessors.Execute",
    )
    assert not harmed(assignment) and ran.returncode


def test_a_stock_configuration_is_protected_and_kept(tmp_path):
    from vlmgrader.course import Course

    config = tmp_path / "nbgrader_config.py"
    config.write_text("c = get_config()\nc.CourseDirectory.course_id = 'mine'\n")
    course = Course(tmp_path, tmp_path)
    course.prepare()
    course.prepare()
    text = config.read_text()
    assert "course_id = 'mine'" in text and text.count("protect(get_config()") == 1
    found = course.nbgrader().config
    assert (
        found.CourseDirectory.course_id == "mine" and found.Autograde.sanitize_preprocessors == []
    )


def test_the_server_of_formgrader_starts_no_kernel(assignment):
    import asyncio

    from tornado import web

    from vlmgrader.stock_nbgrader import NoKernels

    with pytest.raises(web.HTTPError, match="runs nothing of it"):
        asyncio.run(NoKernels().start_kernel())
