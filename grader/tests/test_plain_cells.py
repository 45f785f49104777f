"""A stock nbgrader assignment, without any checks.py: its test cells run in the sandbox, with their hidden tests."""

import sys
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("nbgrader", reason="grading needs nbgrader: pip install 'vlmgrader[grading]'")
sys.path.insert(0, str(Path(__file__).parent))
from small_course import cell  # noqa: E402

from vlmgrader import batch, sandbox  # noqa: E402
from vlmgrader.course import Course  # noqa: E402

pytestmark = pytest.mark.skipif(
    sandbox.trouble() is not None, reason=f"no sandbox can be made here: {sandbox.trouble()}"
)
NAME = "S1_stock"
RIGHT = "def double(x):\n    return 2 * x\n\ncount = 3"
STUB = "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION\n\ncount = 3"
TESTS = """%matplotlib inline
assert double(1) == 2, "twice 1 is 2"
### BEGIN HIDDEN TESTS
assert double("a") == "aa", "a text is doubled, too"
assert count == 3
### END HIDDEN TESTS"""


def source() -> nbformat.NotebookNode:
    """nbgrader's source notebook."""
    cells = [
        cell("code", "start = 1", "setup", locked=True),
        cell("code", STUB, "double", solution=True),
        cell("code", TESTS, "double-test", grade=True, locked=True, points=3),
        cell("code", "### BEGIN SOLUTION\nend = 4\n### END SOLUTION", "end", solution=True),
        cell("code", "assert start + 3 == end", "end-test", grade=True, locked=True, points=2),
    ]
    python = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": python})


@pytest.fixture(scope="module")
def assignment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stock")
    home = folder / "assignments" / NAME / "source"
    home.mkdir(parents=True)
    nbformat.write(source(), home / f"{NAME}.ipynb")
    course = Course(folder / "course", folder / "assignments")
    course.prepare()
    (course.folder / "roster.csv").write_text("id\n" + "\n".join(SUBMISSIONS) + "\n")
    found = course.find("S1")
    found.release()
    return found


SUBMISSIONS = {  # student: (answers, points of both tasks, what is said of the first)
    "right": ({"double": RIGHT, "end": "end = 4"}, (3, 2), "right."),
    "later": ({"double": RIGHT, "end": "end = 4; count = 9; double = None"}, (3, 2), "right."),
    "hidden": (
        {"double": RIGHT.replace("2 * x", "2.0 * x"), "end": "end = 4"},
        (0, 2),
        "TypeError",
    ),
    "false": ({"double": RIGHT.replace("2 * x", "x"), "end": "end = 4"}, (0, 2), "twice 1 is 2"),
    "name": ({"double": "def dubble(x):\n    return 2 * x", "end": "end = 4"}, (0, 2), "NameError"),
    "ends": ({"double": RIGHT + "\nimport os\nos._exit(0)", "end": "end = 4"}, (0, 2), "NameError"),
    "exits": (
        {"double": "def double(x):\n    raise SystemExit(0)", "end": "end = 4"},
        (0, 2),
        "SystemExit",
    ),
    "tests": ({"double-test": "pass", "end-test": "pass"}, (0, 0), "not begun"),
}


def test_hidden_tests_are_not_released(assignment):
    text = nbformat.writes(assignment.released)
    assert "twice 1 is 2" in text and "a text is doubled" not in text and "2 * x" not in text


@pytest.mark.slow
@pytest.mark.parametrize("student", SUBMISSIONS)
def test_a_stock_assignment_is_graded_by_its_own_tests(assignment, student):
    answers, points, said = SUBMISSIONS[student]
    handed_in = nbformat.from_dict(assignment.released)
    for one in handed_in.cells:
        one.source = answers.get(one.metadata.nbgrader.grade_id, one.source)
    folder = assignment.course.folder_for("submitted", NAME, student)
    folder.mkdir(parents=True)
    nbformat.write(handed_in, folder / f"{NAME}.ipynb")
    [outcome] = batch.run(batch.Plan(assignment), [student])
    assert outcome["status"] == "graded", outcome["reason"]
    found = {task: rows[0] for task, rows in outcome["marks"].items()}
    assert (found["double-test"]["points"], found["end-test"]["points"]) == points
    assert said in found["double-test"]["message"], found
