"""The grader stands alone: it imports nothing of the course, and its files keep to their budget."""

import ast
import re
from pathlib import Path

import pytest

GRADER = Path(__file__).parents[1]
FILES = sorted((GRADER / "vlmgrader").rglob("*.py"))
OURS = {"vlmgrader", "small_course", "browser"}
COURSE = {"vlmcourse", "benchmarks", "notebooks"}


def imported(path: Path) -> set[str]:
    """The packages that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize(
    "path", [*FILES, *sorted(GRADER.glob("tests/*.py"))], ids=lambda path: path.stem
)
def test_it_imports_nothing_of_the_course(path):
    assert not imported(path) & COURSE


def test_the_checker_sees_an_import_in_a_function(tmp_path):
    (tmp_path / "x.py").write_text("def f():\n    from vlmcourse.parts import masks\n")
    assert imported(tmp_path / "x.py") & COURSE


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_modules_say_what_they_are_for_and_swallow_no_error(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    bare = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or all(isinstance(line, ast.Pass) for line in node.body))
    ]
    assert not bare, f"lines {bare}"


def test_the_clone_installs_all_that_the_grader_needs():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    packaging = pytest.importorskip("packaging.requirements")
    grader = tomllib.loads((GRADER / "pyproject.toml").read_text())["project"]
    clone = tomllib.loads((GRADER.parent / "pyproject.toml").read_text())["project"]
    extras = clone["optional-dependencies"]
    there = {packaging.Requirement(line).name for line in clone["dependencies"] + extras["grading"]}
    wanted = grader["dependencies"] + grader["optional-dependencies"]["grading"]
    assert {packaging.Requirement(line).name for line in wanted} <= there
    assert clone["scripts"]["vlmgrader"] == grader["scripts"]["vlmgrader"]


def test_heavy_imports_wait(tmp_path):
    """A check is written, and help is shown, without nbgrader, matplotlib or IPython."""
    import subprocess
    import sys

    code = "import sys, vlmgrader.checks, vlmgrader.cli; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"nbgrader", "matplotlib", "IPython", "nbconvert", "sqlalchemy", "zmq"}
    assert not heavy & set(re.split(r"\s", loaded.stdout))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_are_short_and_names_are_the_fields_own(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    names = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    private = {"room", "nursery", "look", "looked", "said", "told", "mine", "theirs", "came"}
    assert not names & private, f"say what these hold: {names & private}"
