"""The ten commands of docs/INSTRUCTORS.md, taken from there and run in order."""

import csv
import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("nbgrader", reason="grading needs nbgrader: pip install 'vlmcourse[grading]'")
from vlmgrader import authoring, sandbox  # noqa: E402

ROOT = Path(__file__).parents[1]
SKIPPED = (
    "make",
    "source",
    "sudo",
    "vlmcourse build",
)  # these install, or write into the repository; other tests run them


def commands() -> list[str]:
    block = (ROOT / "docs" / "INSTRUCTORS.md").read_text().split("```sh\n")[1].split("```")[0]
    return [
        line.split("  #")[0].strip()
        for line in block.splitlines()
        if line and not line.startswith("#")
    ]


def test_there_are_ten_steps():
    block = (ROOT / "docs" / "INSTRUCTORS.md").read_text().split("```sh\n")[1].split("```")[0]
    assert re.findall(r"^# (\d+)", block, re.M) == [str(number) for number in range(1, 11)]


@pytest.mark.slow
@pytest.mark.skipif(
    sandbox.trouble() is not None, reason=f"no sandbox can be made here: {sandbox.trouble()}"
)
def test_the_ten_commands_of_the_guide(tmp_path):
    solution = authoring.notebook(authoring.find("A1", ROOT / "assignments"), "solution")
    student = nbformat.read(ROOT / "assignments" / "A1_masks" / "student" / "A1_masks.ipynb", 4)
    answers = {cell.id: cell.source for cell in solution.cells}
    for cell in student.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = answers[cell.id]
    nbformat.write(student, tmp_path / "A1_masks.ipynb")
    with zipfile.ZipFile(tmp_path / "submissions.zip", "w") as archive:
        archive.write(tmp_path / "A1_masks.ipynb", "aaltoanna_101_9001_A1_masks-1.ipynb")
    (tmp_path / "canvas.csv").write_text(
        "Student,ID,SIS User ID,SIS Login ID,Section,A1_masks (5)\nAnna,1,,anna,S,\n"
    )
    # A course that an earlier test opened in this process is not the guide's.
    own = {name: value for name, value in os.environ.items() if not name.startswith("VLMGRADER_")}
    environment = {**own, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'grader'}"}
    ran = []
    for line in commands():
        if (
            line.startswith(SKIPPED) or "grade manual" in line
        ):  # formgrader: tests/test_grading_browser.py
            continue
        if line.startswith("vlmcourse"):
            line = f"{shlex.quote(sys.executable)} -m {line}"
        told = subprocess.run(
            line,
            shell=True,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert told.returncode == 0, line + told.stdout + told.stderr
        ran.append(told.stdout)
    assert len(ran) == 7
    assert "1 graded, 0 failed, 0 missing" in ran[4] and "28 of 30" in ran[4], (
        "all but the question for a human"
    )
    assert "anna: answers still to be read; left as it was" in ran[6]
    with open(tmp_path / "grades.csv", newline="") as file:
        [row] = csv.DictReader(file)
    assert row["score"] == "28" and row["needs_manual_grade"] == "1"
