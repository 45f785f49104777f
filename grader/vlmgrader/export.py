"""Grades for other systems: Canvas (into its own export), a plain CSV, Gradescope's results.json and autograder."""

import csv
import io
import json
import re
import zipfile
from pathlib import Path

from vlmgrader.batch import everyone, outcomes
from vlmgrader.course import Assignment, write
from vlmgrader.gradebook import scores
from vlmgrader.sandbox import package_folders

CANVAS_IDS = ("SIS Login ID", "SIS User ID", "ID")
SETUP = """#!/usr/bin/env bash
set -e
apt-get update && apt-get install -y bubblewrap python3-venv
python3 -m venv /autograder/venv
/autograder/venv/bin/pip install -r /autograder/source/requirements.lock
"""
RUN = """#!/usr/bin/env bash
cd /autograder/source
export PYTHONPATH=/autograder/source/packages
exec /autograder/venv/bin/python -m vlmgrader gradescope {name} --course /autograder/source/course \\
  --assignments /autograder/source/assignments --submission /autograder/submission \\
  --results /autograder/results/results.json{unsafe}
"""


def plain(text) -> str:
    """Text that a spreadsheet won't take for a formula."""
    text = re.sub(r"[\r\n\x00]+", " ", str(text))
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t") else text


def rows(assignment: Assignment) -> list[dict]:
    """One per student: scores as the gradebook has them now; blank where nothing was graded."""
    kept, roster, found = outcomes(assignment), assignment.course.roster(), []
    for student in everyone(assignment):
        outcome, who = (
            kept.get(student, {"status": "not run", "marks": {}, "reason": ""}),
            roster.get(student),
        )
        now = scores(assignment, student) if outcome["status"] == "graded" else None
        row = {
            "id": student,
            "first_name": who.first_name if who else "",
            "last_name": who.last_name if who else "",
            "status": outcome["status"],
            "score": f"{now['score']:g}" if now else "",
            "max_score": f"{now['max_score']:g}" if now else "",
            "needs_manual_grade": int(now["needs_manual_grade"]) if now else "",
            "without_sandbox": int(bool(outcome.get("unsafe"))),
            "reason": outcome["reason"],
        }
        for task in assignment.tasks:
            marks = outcome["marks"].get(task, [])
            row[task] = f"{sum(mark['points'] for mark in marks):g}" if marks else ""
        found.append(row)
    return found


def to_csv(assignment: Assignment, target: Path) -> Path:
    made = io.StringIO()
    table = rows(assignment)
    sheet = csv.DictWriter(made, list(table[0]) if table else ["id"])
    sheet.writeheader()
    sheet.writerows(
        {
            key: plain(value) if key in ("id", "first_name", "last_name", "reason") else value
            for key, value in row.items()
        }
        for row in table
    )
    write(target, made.getvalue())
    return target


def to_canvas(
    assignment: Assignment, template: Path, target: Path, column: str | None = None
) -> tuple[Path, list[str]]:
    """Canvas' own export with this assignment's column filled. Missing and unfinished grades stay as Canvas has them.

    column: its heading, "Name (id)", or a part that only it has; default: the assignment's name.
    """
    with open(template, newline="", encoding="utf-8-sig") as file:
        table = list(csv.reader(file))
    heading = table[0] if table else []
    ids = [name for name in CANVAS_IDS if name in heading]
    if not ids:
        raise ValueError(
            f"{template} is no export of Canvas: none of {', '.join(CANVAS_IDS)} is in its first line."
        )
    wanted = column or assignment.name
    columns = [place for place, name in enumerate(heading) if wanted.lower() in name.lower()]
    if len(columns) != 1:
        raise ValueError(
            f"{len(columns)} columns of {template} have '{wanted}' in their heading; expected one. Say which with "
            f"--column; the headings are: {', '.join(heading)}"
        )
    known, said, filled = {row["id"]: row for row in rows(assignment)}, [], set()
    for line in table[1:]:
        values = dict(zip(heading, line))
        name_of = values.get("Student", "").strip()
        if name_of.startswith("Points Possible") or not any(
            values.get(name, "").strip() for name in ids
        ):
            continue
        student = next(
            (values[name].strip() for name in ids if values[name].strip() in known), None
        )
        if student is None:
            said.append(
                f"Canvas' {values.get('Student', '?')} is not on the roster; left as it was"
            )
            continue
        filled.add(student)
        row = known[student]
        if row["status"] != "graded" or row["needs_manual_grade"]:
            why = row["status"] if row["status"] != "graded" else "answers still to be read"
            said.append(f"{student}: {why}; left as it was")
            continue
        line += [""] * (len(heading) - len(line))
        line[columns[0]] = row["score"]
    said += [f"{student} is not in Canvas' export" for student in known if student not in filled]
    made = io.StringIO()
    csv.writer(made).writerows(table)
    write(target, made.getvalue())
    return target, said


def gradescope(outcome: dict, max_scores: dict[str, float]) -> dict:
    """Gradescope's results.json for one outcome."""
    warning = "GRADED WITHOUT A SANDBOX. " if outcome.get("unsafe") else ""
    if outcome["status"] != "graded":
        return {
            "score": 0.0,
            "output": warning + (outcome["reason"] or "nothing was handed in"),
            "output_format": "text",
            "visibility": "visible",
        }
    tests = []
    for task, marks in outcome["marks"].items():
        tests.append(
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
        )
    return {
        "tests": tests,
        "score": sum(test["score"] for test in tests),
        "output": warning + "\n".join(outcome["notes"]),
        "output_format": "text",
        "execution_time": outcome["seconds"],
        "visibility": "visible",
    }


def to_gradescope(assignment: Assignment, target: Path) -> Path:
    """One results.json per student, in a zip of folders."""
    worth = {name: task.points for name, task in assignment.tasks.items()}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for student, outcome in outcomes(assignment).items():
            archive.writestr(
                f"{student}/results.json", json.dumps(gradescope(outcome, worth), indent=1)
            )
    return target


def autograder(assignment: Assignment, target: Path, safe: bool = True) -> Path:
    """The zip that Gradescope's "Configure autograder" takes: the packages, the release and the trusted checks.

    Raises ValueError where no requirements.lock or requirements.txt lies beside the assignments or above.
    """
    home, release = (
        assignment.course.assignments,
        assignment.course.place("release", assignment.name),
    )
    names = ("requirements.lock", "requirements.txt")
    listed = next(
        (
            path
            for folder in (home, home.parent)
            for name in names
            if (path := folder / name).exists()
        ),
        None,
    )
    if listed is None:
        raise ValueError(
            f"there is no requirements.lock or requirements.txt in {home} or {home.parent}: "
            "what is to be installed in Gradescope's container?"
        )
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (
            ("setup.sh", SETUP),
            (
                "run_autograder",
                RUN.format(name=assignment.name, unsafe="" if safe else " --unsafe-no-sandbox"),
            ),
        ):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, text)
        archive.write(listed, "requirements.lock")
        for name, folder in package_folders(assignment.course.settings.packages).items():
            _add(archive, folder, f"packages/{name}")
        if (home / "grader.toml").exists():
            archive.write(home / "grader.toml", "assignments/grader.toml")
        for path in sorted(assignment.home.rglob("*")):
            if path.name in ("checks.py", f"{assignment.name}.ipynb"):
                archive.write(
                    path, f"assignments/{assignment.name}/{path.relative_to(assignment.home)}"
                )
        _add(archive, release, f"course/release/{assignment.name}")
    return target


def _add(archive: zipfile.ZipFile, folder: Path, name: str) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            archive.write(path, f"{name}/{path.relative_to(folder)}")
