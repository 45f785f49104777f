"""What the grader found, in nbgrader's own form: the autograded notebook and the SQLite gradebook. Manual scores stay."""

import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from vlmgrader import late
from vlmgrader.cells import grade_id
from vlmgrader.course import Assignment, write
from vlmgrader.results import NotebookResult

TRIES = 5


def results(notebook: NotebookNode, result: NotebookResult, notes: list[str]) -> NotebookNode:
    """Puts outputs into the cells: what the student's showed, and PASS and FAIL with points in the test cells."""
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        cell.outputs, cell.execution_count = result.outputs.get(index, []), None
        checks = result.tasks.get(grade_id(cell) or "")
        if checks is not None:
            lines = [
                f"{'PASS' if mark.points >= mark.of else 'PART' if mark.points else 'FAIL'}  "
                f"{mark.points:g} of {mark.of:g}  {mark.check}: {mark.message}"
                for mark in checks
            ]
            points = sum(mark.points for mark in checks)
            cell.outputs = [
                nbformat.v4.new_output("stream", name="stdout", text="\n".join(lines) + "\n"),
                nbformat.v4.new_output(
                    "execute_result",
                    data={"text/plain": f"{points:.10g}"},
                    metadata={},
                    execution_count=None,
                ),
            ]
    if notes:
        text = "\n".join(f"- {note}" for note in notes)
        cell = nbformat.v4.new_markdown_cell(
            f"**Notes of the grader**\n\n```\n{text.replace('`', '')}\n```", id="grader-notes"
        )
        notebook.cells.insert(0, cell)
    return notebook


def with_mark_schemes(notebook: NotebookNode, source: NotebookNode) -> NotebookNode:
    """The questions for a human as in nbgrader's source, with the mark scheme beside the answer."""
    schemes = {
        cell.metadata.nbgrader.grade_id: cell.source
        for cell in source.cells
        if cell.metadata.get("nbgrader", {}).get("task")
    }
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        cell.source = schemes.get(name, cell.source)
    return notebook


def record(
    assignment: Assignment, student: str, notebook: NotebookNode, submitted: datetime | None
) -> dict:
    """Writes the autograded notebook and the scores. Gives {"score", "max_score", "needs_manual_grade"}."""
    folder = assignment.course.folder_for("autograded", assignment.name, student)
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / f"{assignment.name}.ipynb", nbformat.writes(notebook))
    if submitted:
        write(folder / "timestamp.txt", submitted.strftime("%Y-%m-%d %H:%M:%S UTC"))
    return _patiently(lambda: _save(assignment, student, notebook, submitted))


def _patiently(change: Callable[[], dict | None]) -> dict | None:
    for tries_left in range(TRIES - 1, -1, -1):
        try:
            return change()
        except (
            Exception
        ) as error:  # another process writes: SQLAlchemy wraps sqlite3's error in its own
            if "locked" not in str(error) or not tries_left:
                raise
            time.sleep(0.5)
    raise RuntimeError("unreachable")


def _save(
    assignment: Assignment, student: str, notebook: NotebookNode, submitted: datetime | None
) -> dict:
    from nbgrader.api import Gradebook
    from nbgrader.preprocessors import SaveAutoGrades

    course = assignment.course
    with Gradebook(course.db_url) as book:
        book.update_or_create_submission(
            assignment.name, student, **({"timestamp": submitted} if submitted else {})
        )
    resources = {
        "nbgrader": {
            "notebook": assignment.name,
            "assignment": assignment.name,
            "student": student,
            "db_url": course.db_url,
        }
    }
    SaveAutoGrades().preprocess(notebook, resources)
    late.assign(assignment, student)
    return scores(assignment, student)


def share(assignment: Assignment, lead: str, member: str) -> dict | None:
    """Gives a member of a group the lead's scores and comments; lateness stays the member's own. None where there are none."""
    return _patiently(lambda: _share(assignment, lead, member))


def _share(assignment: Assignment, lead: str, member: str) -> dict | None:
    from nbgrader.api import Gradebook, MissingEntry

    folder = assignment.course.folder_for("autograded", assignment.name, member)
    shutil.rmtree(folder, ignore_errors=True)  # formgrader shows a group once
    with Gradebook(assignment.course.db_url) as book:
        try:
            given = book.find_submission(assignment.name, lead)
        except MissingEntry:
            return None
        book.update_or_create_submission(assignment.name, member, timestamp=given.timestamp)
        for notebook in given.notebooks:
            where = (notebook.name, assignment.name, member)
            for grade in notebook.grades:
                own = book.find_grade(grade.name, *where)
                for part in ("auto_score", "manual_score", "extra_credit", "needs_manual_grade"):
                    setattr(own, part, getattr(grade, part))
            for comment in notebook.comments:
                own = book.find_comment(comment.name, *where)
                own.auto_comment, own.manual_comment = comment.auto_comment, comment.manual_comment
        book.db.commit()
    late.assign(assignment, member)
    return scores(assignment, member)


def refresh(assignment: Assignment, student: str, outcome: dict) -> None:
    """What depends on others: the late penalty, and in a group what a human has given to its submission since."""
    lead = outcome.get("submitted_by", student)
    if lead != student:
        share(assignment, lead, student)
    else:
        late.assign(assignment, student)


def scores(assignment: Assignment, student: str) -> dict | None:
    """As the gradebook has them now, manual scores included; None where there is no submission."""
    from nbgrader.api import Gradebook, MissingEntry

    with Gradebook(assignment.course.db_url) as book:
        try:
            submission = book.find_submission(assignment.name, student)
        except MissingEntry:
            return None
        penalty = sum(notebook.late_submission_penalty or 0 for notebook in submission.notebooks)
        return {
            "score": max(0.0, float(submission.score) - penalty),
            "max_score": float(submission.max_score),
            "late_penalty": penalty,
            "needs_manual_grade": bool(submission.needs_manual_grade),
        }


def grade_cells(assignment: Assignment) -> list[str]:
    """Names of all cells with points, open questions too, in the notebook's order."""
    return [
        cell.metadata.nbgrader.grade_id
        for cell in assignment.released.cells
        if cell.metadata.get("nbgrader", {}).get("points")
    ]


def cell_scores(assignment: Assignment, student: str) -> dict[str, dict]:
    """Of each of them: score, max, auto (what a grader gave), and whether it waits for a human."""
    from nbgrader.api import Gradebook

    with Gradebook(assignment.course.db_url) as book:
        submission = book.find_submission(assignment.name, student)
        return {
            grade.name: {
                "score": float(grade.score),
                "max": float(grade.max_score),
                "auto": float(grade.auto_score or 0.0),
                "waiting": bool(grade.needs_manual_grade),
            }
            for notebook in submission.notebooks
            for grade in notebook.grades
        }


def comments(assignment: Assignment, student: str) -> str:
    """What humans wrote to a student, with the cells' names."""
    from nbgrader.api import Gradebook

    with Gradebook(assignment.course.db_url) as book:
        submission = book.find_submission(assignment.name, student)
        texts = [
            f"{comment.name}: {comment.manual_comment}"
            for notebook in submission.notebooks
            for comment in notebook.comments
            if comment.manual_comment
        ]
    return "; ".join(texts)


def forget(assignment: Assignment, student: str) -> None:
    """A submission that can't be graded leaves no score of an earlier one behind, but a manual score stays."""
    from nbgrader.api import Gradebook, MissingEntry

    shutil.rmtree(
        assignment.course.folder_for("autograded", assignment.name, student), ignore_errors=True
    )
    with Gradebook(assignment.course.db_url) as book:
        try:
            submission = book.find_submission(assignment.name, student)
        except MissingEntry:
            return
        for notebook in submission.notebooks:
            for grade in notebook.grades:
                grade.auto_score = 0.0
                grade.needs_manual_grade = grade.manual_score is not None
        book.db.commit()


def submitted_at(folder: Path) -> datetime | None:
    """When it was handed in: timestamp.txt (from collect), as nbgrader keeps it."""
    path = folder / "timestamp.txt"
    if path.is_symlink() or not path.is_file() or os.path.getsize(path) > 100:
        return None
    text = path.read_text(errors="replace").strip().removesuffix("UTC").strip()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
