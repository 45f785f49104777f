"""Gradescope: its results.json, and the zip for an autograder of its own."""

import zipfile
from pathlib import Path

from vlmgrader.course import Assignment
from vlmgrader.sandbox import package_folders

SETUP = """#!/usr/bin/env bash
set -e
apt-get update && apt-get install -y bubblewrap python3-venv
python=python3
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  # Ubuntu 22.04 has Python 3.10
  apt-get install -y software-properties-common
  add-apt-repository -y ppa:deadsnakes/ppa && apt-get update
  apt-get install -y python3.12 python3.12-venv
  python=python3.12
fi
"$python" -m venv /autograder/venv
/autograder/venv/bin/pip install -r /autograder/source/requirements.lock
"""
RUN = """#!/usr/bin/env bash
# Torch and the sandbox need more than the smallest container: choose at least 1.5 GB and one CPU.
cd /autograder/source
export PYTHONPATH=/autograder/source/packages
exec /autograder/venv/bin/python -m vlmgrader gradescope {name} --course /autograder/source/course \\
  --assignments /autograder/source/assignments --submission /autograder/submission \\
  --results /autograder/results/results.json{unsafe}
"""


def failed(reason: str) -> dict:
    """results.json where nothing could be graded."""
    return {"score": 0.0, "output": reason, "output_format": "text", "visibility": "visible"}


def results(outcome: dict, max_scores: dict[str, float]) -> dict:
    """results.json for one outcome."""
    warning = "GRADED WITHOUT A SANDBOX. " if outcome.get("unsafe") else ""
    if outcome["status"] != "graded":
        return failed(warning + (outcome["reason"] or "nothing was handed in"))
    tests = [
        {
            "name": task,
            "score": sum(mark["points"] for mark in marks),
            "max_score": max_scores.get(task, 0.0),
            "output_format": "text",
            "visibility": "visible",
            "output": "\n".join(
                f"{mark['points']:g} of {mark['of']:g}  {mark['check']}: {mark['message']}"
                for mark in marks
            ),
        }
        for task, marks in outcome["marks"].items()
    ]
    return {
        "tests": tests,
        "score": sum(test["score"] for test in tests),
        "output": warning + "\n".join(outcome["notes"]),
        "output_format": "text",
        "execution_time": outcome["seconds"],
        "visibility": "visible",
    }


def autograder(assignment: Assignment, target: Path, safe: bool = True) -> Path:
    """The zip that Gradescope's "Configure autograder" takes: the packages, the release and the trusted checks.

    Raises ValueError where no requirements.lock or requirements.txt lies beside the assignments or above.
    """
    home, name = assignment.course.assignments, assignment.name
    listed = [
        path
        for folder in (home, home.parent)
        for path in (folder / "requirements.lock", folder / "requirements.txt")
        if path.exists()
    ]
    if not listed:
        raise ValueError(
            f"there is no requirements.lock or requirements.txt in {home} or {home.parent}: "
            "what is to be installed in Gradescope's container?"
        )
    run = RUN.format(name=name, unsafe="" if safe else " --unsafe-no-sandbox")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for script, text in (("setup.sh", SETUP), ("run_autograder", run)):
            entry = zipfile.ZipInfo(script)
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, text)
        archive.write(listed[0], "requirements.lock")
        for package, folder in package_folders(assignment.course.settings.packages).items():
            _add(archive, folder, f"packages/{package}")
        if (home / "grader.toml").exists():
            archive.write(home / "grader.toml", "assignments/grader.toml")
        for path in sorted(assignment.home.rglob("*")):
            if path.name in ("checks.py", f"{name}.ipynb"):
                archive.write(path, f"assignments/{name}/{path.relative_to(assignment.home)}")
        _add(archive, assignment.course.folder_for("release", name), f"course/release/{name}")
    return target


def _add(archive: zipfile.ZipFile, folder: Path, name: str) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            archive.write(path, f"{name}/{path.relative_to(folder)}")
