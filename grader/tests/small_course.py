"""A small assignment for the grader's tests: three tasks, one question for a human. Not collected by pytest."""

import os
import sys
from pathlib import Path

import nbformat

from vlmgrader.sandbox import bubblewrap

ROOT = Path(__file__).parents[2]
NAME = "A0_small"
CHECKS = """
import torch

from vlmgrader.checks import Check


def numbers(generator):
    return [torch.randn(4, 5, generator=generator)], {}


CHECKS = {
    "plus-test": [Check("adds one", 1, "plus", numbers, lambda x: x + 1, [(lambda x: x, "that is x itself: add one to it")],
                        seconds=SECONDS),
                  Check("whole numbers too", 1, "plus", lambda g: ([torch.randint(9, (3,), generator=g)], {}), lambda x: x + 1,
                        seconds=SECONDS)],
    "softmax-test": [Check("rows add up to one", 2, "softmax", numbers, lambda x: x.exp() / x.exp().sum(1, keepdim=True),
                           [(lambda x: x.exp() / x.exp().sum(0), "columns add up to one: it is the last axis that should")],
                           seconds=SECONDS)],
    "total-test": [Check("the sum", 2, "total", numbers, lambda x: float(x.sum()), seconds=SECONDS)],
}
"""
ANSWERS = {
    "plus": "def plus(x):\n    return x + 1",
    "softmax": "def softmax(x):\n    return torch.softmax(x, -1)",
    "total": "def total(x):\n    return x.sum().item()",
}
STUB = 'raise NotImplementedError("yours to write")'


def cell(
    kind: str,
    source: str,
    name: str,
    grade=False,
    solution=False,
    locked=False,
    task=False,
    points=None,
):
    cell = getattr(nbformat.v4, f"new_{kind}_cell")(source)
    cell.id = name
    cell.metadata["nbgrader"] = {
        "schema_version": 3,
        "grade_id": name,
        "grade": grade,
        "solution": solution,
        "locked": locked,
        "task": task,
        **({"points": points} if points else {}),
    }
    return cell


def notebook(
    answers: dict[str, str] | None = None, why: str = "*Your answer:*", release: bool = True
):
    """The student's notebook with these answers (none: the stub), or nbgrader's source."""
    answers = answers or {}
    cells = [cell("code", "import torch", "setup", locked=True)]
    for name, right in ANSWERS.items():
        head = right.splitlines()[0]
        body = "\n".join(right.splitlines()[1:])
        stub = (
            f"{head}\n    {STUB}"
            if release
            else f"{head}\n    ### BEGIN SOLUTION\n{body}\n    ### END SOLUTION"
        )
        cells.append(cell("code", answers.get(name, stub), name, solution=True))
        cells.append(
            cell(
                "code", f'print("check", {name})', f"{name}-test", grade=True, locked=True, points=2
            )
        )
    cells.append(
        cell(
            "markdown", "Why does softmax need a maximum?", "why", locked=True, task=True, points=3
        )
    )
    reply = nbformat.v4.new_markdown_cell(why)
    reply.id = "why-reply"
    return nbformat.v4.new_notebook(
        cells=[*cells, reply],
        metadata={
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
    )


def write(folder, seconds: float = 5.0):
    """assignments/A0_small in `folder`, as `authoring.build` would leave it. Gives the folder of assignments."""
    home = folder / "assignments" / NAME
    for kind in ("source", "student"):
        (home / kind).mkdir(parents=True)
        nbformat.write(notebook(release=kind == "student"), home / kind / f"{NAME}.ipynb")
    (home / "checks.py").write_text(CHECKS.replace("SECONDS", str(seconds)))
    return home.parent


def course(folder, students=("anna", "bob", "cleo", "dan"), seconds: float = 5.0):
    """A course with this assignment released and a roster. Gives the Assignment."""
    from vlmgrader.course import Course

    made = Course(folder / "course", write(folder, seconds))
    made.prepare()
    (made.folder / "roster.csv").write_text(
        "id,first_name,last_name,email\n" + "".join(f"{name},,,\n" for name in students)
    )
    assignment = made.find("A0")
    assignment.release()
    return assignment


def again(assignment):
    """The same assignment, read afresh."""
    from vlmgrader.course import Assignment, Course

    course = Course(assignment.course.folder, assignment.course.assignments)
    return Assignment(assignment.name, course)


def hand_in(assignment, student: str, made, name: str = f"{NAME}.ipynb"):
    """A notebook (or any text) into submitted/."""
    folder = assignment.course.folder_for("submitted", NAME, student)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(made if isinstance(made, str) else nbformat.writes(made))
    return folder


def ordinary_user(command: list[str], writable) -> list[str]:
    """The command as nobody, for tests that run as root. Where root's own folder holds Python, that part alone is shown."""
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    os.chown(writable, 65534, 65534)
    closed = [
        path
        for path in dict.fromkeys([sys.base_prefix, sys.prefix, str(ROOT)])
        if any(not (parent.stat().st_mode & 0o001) for parent in Path(path).parents)
    ]
    outer = []
    for path in closed:
        shut = next(
            parent for parent in reversed(Path(path).parents) if not parent.stat().st_mode & 0o001
        )
        between = [
            parent
            for parent in reversed(Path(path).parents)
            if parent.is_relative_to(shut) and parent != shut
        ]
        outer += ["--perms", "0755", "--tmpfs", str(shut)] if str(shut) not in outer else []
        for parent in between:
            outer += ["--perms", "0755", "--dir", str(parent)]
        outer += ["--ro-bind", path, path]
    return [
        *([str(bubblewrap()), "--dev-bind", "/", "/", *outer, "--"] if outer else []),
        *as_nobody,
        *command,
    ]
