"""An assignment's master (py:percent) -> the student's notebook, the solution, nbgrader's source.

    # %% role="given"                                       code that stays as it is
    # %% role="answer" id="a1-attention"                    the student's function, the solution between its two marks
    # %% role="test" id="a1-attention-test" points=4        check("a1-attention-test", attention)
    # %% [markdown] role="task" id="a1-why" points=4        a question graded by hand, with its mark scheme
    # %% [markdown] role="reply"                            where the answer goes; in the master, a model answer

Built notebooks are the same byte for byte each time: a cell's id is its role's id, or made of its text.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import torch

from vlmgrader.checks import Check, differs, load
from vlmgrader.public import pack

STUB = (
    '# YOUR CODE HERE\nraise NotImplementedError("this part is yours to write: see the card above")'
)
"""What stands in the place of a solution; also nbgrader's ClearSolutions.code_stub."""
REPLY = "*Your answer:*"
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
SOLUTION = re.compile(rf"^([ \t]*){BEGIN}[^\n]*\n(.*?)^[ \t]*{END}[^\n]*$", re.M | re.S)
SCHEME = re.compile(r"^=== BEGIN MARK SCHEME ===\n.*?^=== END MARK SCHEME ===$\n?", re.M | re.S)
KINDS = ("student", "solution", "source")

_ROLES = {  # role: grade, solution, locked, task (nbgrader's metadata, schema 3)
    "given": (False, False, True, False),
    "answer": (False, True, False, False),
    "test": (True, False, True, False),
    "task": (False, False, True, True),
}


def assignments(home: Path) -> list[Path]:
    """Folders in `home` of the assignments that have a master."""
    return sorted(path.parent for path in home.glob("*/master.py"))


def find(name: str, home: Path) -> Path:
    """The assignment 'A1', 'a1' or 'A1_masks' in the folder `home`."""
    there = {folder.name: folder for folder in assignments(home)}
    for known, folder in there.items():
        if name.lower() in (known.lower(), known.lower().split("_")[0]):
            return folder
    raise ValueError(f"no assignment '{name}' in {home}; there are {', '.join(there) or 'none'}.")


def cells(folder: Path) -> list:
    """The master's cells: notebook cells whose metadata hold role, id and points. Raises ValueError for a wrong one."""
    import jupytext

    read = jupytext.read(folder / "master.py").cells
    for cell in read:
        cell.metadata = {
            key: value for key, value in cell.metadata.items() if key in ("role", "id", "points")
        }
        _validate(folder, cell)
    ids = [cell.metadata["id"] for cell in read if "id" in cell.metadata]
    if repeated := {cell_id for cell_id in ids if ids.count(cell_id) > 1}:
        raise ValueError(
            f"{folder.name}: the id {sorted(repeated)[0]!r} occurs twice; expected one cell for each id."
        )
    return read


def _validate(folder: Path, cell) -> None:
    role, start = cell.metadata.get("role"), cell.source[:40].replace("\n", " ")
    if role is not None and role not in (*_ROLES, "reply"):
        raise ValueError(
            f"{folder.name}, cell {start!r}: role {role!r}; expected one of {', '.join((*_ROLES, 'reply'))}."
        )
    if role in ("answer", "test", "task") and not re.fullmatch(
        r"[a-z0-9-]+", cell.metadata.get("id", "")
    ):
        raise ValueError(
            f"{folder.name}, cell {start!r}: a {role} needs an id of small letters, digits and dashes."
        )
    if (role in ("test", "task")) != ("points" in cell.metadata):
        raise ValueError(
            f"{folder.name}, cell {start!r}: points belong to tests and tasks, to each of them."
        )
    if role is not None and (role in ("task", "reply")) != (cell.cell_type == "markdown"):
        raise ValueError(
            f"{folder.name}, cell {start!r}: {role} cells are {'text' if role in ('task', 'reply') else 'code'}."
        )
    if (role == "answer") != bool(SOLUTION.search(cell.source)):
        raise ValueError(
            f"{folder.name}, cell {start!r}: answers, and only they, hold {BEGIN} and {END}."
        )


def without_solution(source: str) -> str:
    """Each solution replaced by the stub, indented alike."""
    return SOLUTION.sub(
        lambda match: "\n".join(match[1] + line for line in STUB.splitlines()), source
    )


def with_solution(source: str) -> str:
    """Each solution without the lines that mark it."""
    return SOLUTION.sub(lambda match: match[2].rstrip("\n"), source)


def _source(cell, kind: str) -> str:
    role = cell.metadata.get("role")
    if kind == "solution":
        return with_solution(cell.source)
    if role == "reply":
        return REPLY  # nbgrader would leave the model answer: for it this is a cell like any other
    return (
        cell.source
        if kind == "source"
        else SCHEME.sub("", without_solution(cell.source)).rstrip("\n")
    )


def _id(cell, source: str, taken: set[str]) -> str:
    new_id = cell.metadata.get("id") or hashlib.sha256(source.encode()).hexdigest()[:8]
    while new_id in taken:
        new_id = hashlib.sha256(new_id.encode()).hexdigest()[:8]
    taken.add(new_id)
    return new_id


def notebook(folder: Path, kind: str):
    """The assignment as a notebook of one of KINDS, without outputs."""
    import nbformat

    new_cells, taken = [], set()
    for cell in cells(folder):
        source = _source(cell, kind)
        new = (
            nbformat.v4.new_markdown_cell(source)
            if cell.cell_type == "markdown"
            else nbformat.v4.new_code_cell(source)
        )
        new.id = _id(cell, source, taken)
        if (role := cell.metadata.get("role")) in _ROLES and kind != "solution":
            grade, solution, locked, task = _ROLES[role]
            new.metadata["nbgrader"] = {
                "schema_version": 3,
                "grade_id": new.id,
                "grade": grade,
                "solution": solution,
                "locked": locked,
                "task": task,
            }
            if "points" in cell.metadata:
                new.metadata["nbgrader"]["points"] = cell.metadata["points"]
        new_cells.append(new)
    return nbformat.v4.new_notebook(
        cells=new_cells,
        metadata={
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
    )


def points(folder: Path) -> dict[str, float]:
    """Points of each test and each question, by id, in order."""
    return {
        cell.metadata["id"]: cell.metadata["points"]
        for cell in cells(folder)
        if "points" in cell.metadata
    }


def shown(folder: Path) -> dict[str, list[dict]]:
    """The public cases: fixed inputs, what is wanted for them, what known mistakes give. Values, no formulas."""
    return {
        task: [_shown(task, check) for check in checks if check.public]
        for task, checks in load(folder).items()
    }


def _shown(task: str, check: Check) -> dict:
    generator = torch.Generator().manual_seed(
        int(hashlib.sha256(f"{task} {check.name}".encode()).hexdigest()[:7], 16)
    )
    cases = []
    for draw in [check.inputs] * min(check.rounds, 2) + list(check.shown):
        args, kwargs = draw(generator)
        wanted = check.expected(*args, **kwargs)
        wrong = check.wrong_values(args, kwargs)
        cases.append(
            {
                "args": pack(args),
                "kwargs": pack(kwargs),
                "wanted": pack(wanted),
                "mistakes": [
                    [pack(value), message]
                    for value, message in wrong
                    if differs(value, wanted, check.tolerance)
                ],
            }
        )
    return {
        "name": check.name,
        "points": check.points,
        "call": check.call,
        "driver": check.driver,
        **({"reading": check.reading} if check.reading else {}),
        "tolerance": check.tolerance,
        "cases": cases,
    }


def texts(folder: Path) -> dict[Path, str]:
    """Every notebook made from a master, as text, by its path."""
    import nbformat

    return {
        folder / kind / f"{folder.name}.ipynb": nbformat.writes(notebook(folder, kind)) + "\n"
        for kind in KINDS
    }


def build(folder: Path, public: Path) -> list[Path]:
    """Writes the notebooks, and the public cases into the folder `public`. Returns the paths."""
    lines = ",\n".join(
        f'"{task}": [\n' + ",\n".join(map(json.dumps, checks)) + "]"
        for task, checks in shown(folder).items()
    )
    contents = {**texts(folder), public / f"{folder.name}.json": "{" + lines + "}\n"}
    for path, text in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(contents)


def is_up_to_date(folder: Path) -> bool:
    """Are the notebooks those that the master makes?"""
    return all(
        path.is_file() and path.read_text(encoding="utf-8") == text
        for path, text in texts(folder).items()
    )
