"""A class of twelve invented students, graded: an example for an instructor before the first real one hands in.

Among them are right and half-done notebooks, an untouched one, a broken upload, one that ends its kernel, a copy with other
names, one that came late, and somebody who handed in nothing.
"""

import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from vlmgrader.authoring import with_solution
from vlmgrader.course import Assignment, Course, write

PEOPLE = (
    "Anna Aalto", "Bob Baker", "Chi Chen", "Dana Diaz", "Emil Eriksen", "Fatima Farah", "Goran Gavric", "Hana Hoshino",
    "Ines Ibarra", "Jonas Jung", "Kofi Kamau", "Lena Lind",
)  # fmt: skip
DUE = "2026-09-14 23:59+00:00"


def ids() -> list[str]:
    return [name.split()[0].lower() for name in PEOPLE]


def make(folder: Path, assignments: Path, name: str | None = None) -> Assignment:
    """The course in an empty folder: roster, release, and what the twelve handed in. Raises ValueError if it isn't empty."""
    from vlmgrader import late

    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} isn't empty: a demonstration needs a folder of its own")
    course = Course(folder.resolve(), assignments.resolve())
    course.prepare()
    lines = [
        f"{student},{full.replace(' ', ',')},{student}@example.org"
        for student, full in zip(ids(), PEOPLE, strict=True)
    ]
    write(course.folder / "roster.csv", "id,first_name,last_name,email\n" + "\n".join(lines) + "\n")
    available = sorted(path.parent.parent.name for path in assignments.glob("*/source/*.ipynb"))
    assignment = course.find(name or (available or ["none"])[0])
    assignment.release()
    late.due(assignment, DUE)
    answers = {
        cell.metadata.nbgrader.grade_id: with_solution(cell.source)
        for cell in assignment.source.cells
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("solution")
    }
    for number, student in enumerate(ids()):
        text = _submission(assignment, answers, number)
        if text is not None:
            target = course.folder_for("submitted", assignment.name, student)
            write(target / f"{assignment.name}.ipynb", text)
            day = "17" if number == 9 else "14"
            write(target / "timestamp.txt", f"2026-09-{day} 20:00:00 UTC")
    return assignment


def _submission(assignment: Assignment, answers: dict[str, str], number: int) -> str | None:
    """The text of a student's notebook; None for the one who handed in nothing."""
    if number == 11:
        return None
    if number == 10:
        return nbformat.writes(assignment.released)[:4000]  # an upload that broke off
    notebook = nbformat.from_dict(assignment.released)
    names = list(answers)
    written = {
        0: len(names),
        1: len(names),
        2: len(names) - 1,
        3: len(names) // 2,
        4: 1,
        5: 0,
        8: len(names),
    }.get(number, len(names) - number % 3)
    for name in names[:written]:
        _fill(notebook, name, answers[name])
    if number in (6, 7):  # one of them copied, and gave everything another name
        own = (
            "def plan(x):\n"
            + "".join(
                f"    step_{n} = [x, {n} * len(str(x)), (x, {n})][{n % 3}]\n" for n in range(24)
            )
            + "    return step_3\n"
        )
        text = own if number == 6 else re.sub(r"step_(\d+)", r"mine\1", own).replace("plan", "idea")
        notebook.cells.append(nbformat.v4.new_code_cell(text))
    if number == 8 and names:
        _fill(
            notebook, names[-1], "import os\nos._exit(1)"
        )  # its kernel ends; the other tasks keep their points
    return nbformat.writes(notebook)


def _fill(notebook: NotebookNode, name: str, text: str) -> None:
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") == name:
            cell.source = text
