"""Grades as a table for any other system, as the gradebook has them now: manual scores, late penalties, comments."""

import csv
import io
import re
from pathlib import Path

from vlmgrader import gradebook
from vlmgrader.batch import everyone, outcomes
from vlmgrader.course import Assignment, write

FORMULA = ("=", "+", "-", "@", "\t")


def plain(text) -> str:
    """Text that a spreadsheet won't take for a formula."""
    text = re.sub(r"[\r\n\x00]+", " ", str(text))
    return "'" + text if text[:1] in FORMULA else text


def rows(assignment: Assignment) -> list[dict]:
    """One per student; blank where nothing was graded. Members of a group have its name, and who handed in for them.

    Tasks and open questions come from the gradebook, so that they agree with the score after a change by hand. A score
    that was made by something else than this grader is named in `reason`.
    """
    recorded, roster, table = outcomes(assignment), assignment.course.roster(), []
    columns = gradebook.grade_cells(assignment)
    for student in everyone(assignment):
        outcome = recorded.get(student, {"status": "not run", "marks": {}, "reason": ""})
        who, graded = roster.get(student), outcome["status"] == "graded"
        if graded:
            gradebook.refresh(assignment, student, outcome)
        now = gradebook.scores(assignment, student) if graded else None
        cells = gradebook.cell_scores(assignment, student) if now else {}
        row = {
            "id": student,
            "first_name": who.first_name if who else "",
            "last_name": who.last_name if who else "",
            "group": outcome.get("group", ""),
            "submitted_by": outcome.get("submitted_by", student),
            "status": outcome["status"],
            "score": f"{now['score']:g}" if now else "",
            "max_score": f"{now['max_score']:g}" if now else "",
            "late_penalty": f"{now['late_penalty']:g}" if now else "",
            "needs_manual_grade": int(now["needs_manual_grade"]) if now else "",
            "without_sandbox": int(bool(outcome.get("unsafe"))),
            "reason": "; ".join(filter(None, [outcome["reason"], _changed(outcome, cells)])),
            "comments": gradebook.comments(assignment, student) if now else "",
        }
        for name in columns:
            cell = cells.get(name)
            row[name] = "" if cell is None or cell["waiting"] else f"{cell['score']:g}"
        table.append(row)
    return table


def _changed(outcome: dict, cells: dict[str, dict]) -> str:
    """Which of the grader's own scores stand otherwise in the gradebook."""
    changed = [
        task
        for task, marks in outcome["marks"].items()
        if task in cells and abs(sum(mark["points"] for mark in marks) - cells[task]["auto"]) > 1e-6
    ]
    return (
        f"not this grader's score: {', '.join(changed)}; run again with --force" if changed else ""
    )


def to_csv(assignment: Assignment, target: Path) -> Path:
    """A table with a heading; texts can't become formulas."""
    buffer = io.StringIO()
    table = rows(assignment)
    sheet = csv.DictWriter(buffer, list(table[0]) if table else ["id"])
    sheet.writeheader()
    texts = ("id", "first_name", "last_name", "group", "submitted_by", "reason", "comments")
    sheet.writerows(
        {key: plain(value) if key in texts else value for key, value in row.items()}
        for row in table
    )
    write(target, buffer.getvalue())
    return target
