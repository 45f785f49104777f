"""Checks what was handed in before anything runs: files, JSON, notebook format, cells. Repairs what is harmless and says so.

Students run the same with `vlmgrader check A1_masks.ipynb`. Everything the course handed out comes from the release
again: of a student's notebook only the answers, and cells of their own, are kept.
"""

import json
import re
import stat
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat import NotebookNode

NOTEBOOK_BYTES = 20 * 2**20
FILES, ALL_BYTES, CELLS, CELL_CHARACTERS = 100, 50 * 2**20, 500, 200_000


@dataclass
class Inspection:
    """Either `refused` says why nothing can be graded, or `notebook` is ready to run. notes: what was repaired or is odd."""

    refused: str | None = None
    notes: list[str] = field(default_factory=list)
    notebook: NotebookNode | None = None
    files: list[Path] = field(default_factory=list)

    def refuse(self, why: str) -> "Inspection":
        self.refused = self.refused or why
        return self


def inspect_submission(folder: Path, release: NotebookNode, name: str) -> Inspection:
    """A folder as handed in. Symbolic links and devices are left where they are: nothing behind them is read."""
    inspection = Inspection()
    total = 0
    for path in sorted(folder.rglob("*")) if folder.is_dir() and not folder.is_symlink() else []:
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            continue
        between = path.relative_to(folder).parents
        if not stat.S_ISREG(status.st_mode) or any(
            (folder / parent).is_symlink() for parent in between
        ):
            inspection.notes.append(
                f"{harmless(path.name)} is no ordinary file (a link or a device) and was left out"
            )
            continue
        total += status.st_size
        inspection.files.append(path)
    if len(inspection.files) > FILES or total > ALL_BYTES:
        return inspection.refuse(
            f"{len(inspection.files)} files of {total / 2**20:.0f} MB; at most {FILES} files and "
            f"{ALL_BYTES // 2**20} MB are taken. Hand in the notebook and what it needs, "
            "without data and checkpoints."
        )
    notebook = _find(inspection, folder, release, name)
    if notebook is None:
        return inspection.refuse(
            f"there is no {name}.ipynb among {_count(inspection.files)} files. Hand in the notebook under its own name."
        )
    inspection.files.remove(notebook)
    of_notebook = inspect_notebook(notebook, release)
    return Inspection(
        of_notebook.refused,
        inspection.notes + of_notebook.notes,
        of_notebook.notebook,
        inspection.files,
    )


def inspect_notebook(path: Path, release: NotebookNode) -> Inspection:
    """One notebook file."""
    inspection = Inspection()
    if path.is_symlink() or not path.is_file():
        return inspection.refuse(
            f"{harmless(path.name)} is no ordinary file. Hand in the notebook itself, not a link to it."
        )
    size = path.stat().st_size
    if size == 0:
        return inspection.refuse(
            "the notebook is empty (0 bytes). Was it uploaded before it was saved?"
        )
    if size > NOTEBOOK_BYTES:
        return inspection.refuse(
            f"the notebook has {size / 2**20:.0f} MB; at most {NOTEBOOK_BYTES // 2**20} MB are taken. "
            "Clear its outputs (Kernel, Restart and Clear Outputs) and save it."
        )
    try:
        data = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return inspection.refuse(
            "the notebook is no JSON: its upload broke off, or it was edited as text. Save it in Jupyter again."
        )
    if type(data) is not dict or data.get("nbformat") != 4 or type(data.get("cells")) is not list:
        version = data.get("nbformat") if type(data) is dict else None
        return inspection.refuse(
            f"this is no notebook of format 4 (found {harmless(version)}). Open it in JupyterLab and save it."
        )
    try:
        graded = {
            cell.metadata.nbgrader.grade_id for cell in release.cells if "nbgrader" in cell.metadata
        }
        data["nbformat_minor"] = 5
        for number, cell in enumerate(data["cells"]):
            known = cell.get("id") if type(cell.get("id")) is str else None
            if known in graded and "nbgrader" not in cell.get(
                "metadata", {}
            ):  # some tool took its metadata away
                cell.setdefault("metadata", {})["nbgrader"] = {"grade_id": known}
            cell["id"] = f"c{number}"
            cell["metadata"] = (
                {"nbgrader": cell["metadata"]["nbgrader"]}
                if "nbgrader" in cell.get("metadata", {})
                else {}
            )
            (
                cell.pop("outputs", None),
                cell.pop("execution_count", None),
                cell.pop("attachments", None),
            )
            if cell.get("cell_type") == "code":
                cell.update(outputs=[], execution_count=None)
        data["metadata"] = deepcopy(dict(release.metadata))
        notebook = nbformat.from_dict(
            {key: data[key] for key in ("nbformat", "nbformat_minor", "metadata", "cells")}
        )
        for cell in notebook.cells:
            cell.source = "".join(cell.source) if type(cell.source) is list else cell.source
            cell.source = cell.source.encode(
                "utf-8", "replace"
            ).decode()  # half of a surrogate pair is no text
        nbformat.validate(notebook)
    except (
        nbformat.ValidationError,
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
        RecursionError,
    ) as error:
        detail = re.sub(r"\s+", " ", str(error))[:100]
        return inspection.refuse(
            f"a cell isn't as Jupyter writes it ({harmless(detail)}). Open the notebook in JupyterLab and save it."
        )
    if len(notebook.cells) > CELLS or any(
        len(cell.source) > CELL_CHARACTERS for cell in notebook.cells
    ):
        return inspection.refuse(
            f"more than {CELLS} cells, or a cell of more than {CELL_CHARACTERS:,} characters."
        )
    return _repair(notebook, release, inspection)


def _find(inspection: Inspection, folder: Path, release: NotebookNode, name: str) -> Path | None:
    """The notebook: by its name, else by the name a browser gives to a second download, else the only one there is."""
    notebooks = [
        path
        for path in inspection.files
        if path.suffix.lower() == ".ipynb" and ".ipynb_checkpoints" not in path.parts
    ]
    exact = [path for path in notebooks if path.name == f"{name}.ipynb"]
    again = re.compile(rf"{re.escape(name)}[ _-]*(\(\d+\)|\d+|copy\d*)?\.ipynb", re.I)
    alike = [path for path in notebooks if again.fullmatch(path.name)]
    candidates = exact or alike or (notebooks if len(notebooks) == 1 else [])
    if not candidates:
        return None
    chosen = max(candidates, key=lambda path: (-len(path.parts), path.stat().st_mtime))
    if chosen.name != f"{name}.ipynb":
        inspection.notes.append(f"taken as {name}.ipynb: {harmless(chosen.name)}")
    if len(candidates) > 1:
        inspection.notes.append(
            f"{len(candidates)} notebooks could be meant; {harmless(str(chosen.relative_to(folder)))} was taken"
        )
    return chosen


def _repair(notebook: NotebookNode, release: NotebookNode, inspection: Inspection) -> Inspection:
    """Everything that isn't the student's to change comes from the release, wherever it was copied, changed or deleted."""
    released = {
        cell.metadata.nbgrader.grade_id: cell
        for cell in release.cells
        if "nbgrader" in cell.metadata
    }
    places: dict[str, int] = {}
    for index, cell in enumerate(notebook.cells):
        claimed = cell.metadata.pop("nbgrader", None)
        name = claimed.get("grade_id") if isinstance(claimed, dict) else None
        if type(name) is not str or name not in released:
            continue
        if name in places:
            inspection.notes.append(
                f"the cell {name} was there twice (copied?); the last one counts"
            )
        places[name] = index
    if not places and released:
        return inspection.refuse(
            "none of the assignment's cells is in this notebook. Is it the notebook of this assignment?"
        )
    for name, index in places.items():
        notebook.cells[index] = _cell(notebook.cells[index], released[name], inspection)
    _restore(notebook, release, places, inspection)
    for number, cell in enumerate(notebook.cells):
        cell.id = (
            cell.metadata.nbgrader.grade_id if "nbgrader" in cell.metadata else f"own-{number}"
        )
    order = [cell.id for cell in notebook.cells if cell.id in released]
    if order != [name for name in released if name in set(order)]:
        inspection.notes.append(
            "the assignment's cells are in another order than handed out; each is run where it stands"
        )
    inspection.notebook = notebook
    return inspection


def _cell(submitted: NotebookNode, released: NotebookNode, inspection: Inspection) -> NotebookNode:
    """The release's cell, with the student's text where it is submitted to write."""
    cell, name = deepcopy(released), released.metadata.nbgrader.grade_id
    if released.metadata.nbgrader.solution:
        cell.source = submitted.source
    elif submitted.source.rstrip() != released.source.rstrip():
        inspection.notes.append(f"the cell {name} is not to be changed and was restored")
    if submitted.cell_type != released.cell_type:
        inspection.notes.append(
            f"the cell {name} had become a {submitted.cell_type} cell and is a {released.cell_type} cell again"
        )
    if cell.cell_type == "code":
        cell.outputs, cell.execution_count = [], None
    return cell


def _restore(
    notebook: NotebookNode, release: NotebookNode, places: dict[str, int], inspection: Inspection
) -> None:
    """Puts back deleted cells of the course, each after the one before it in the release."""
    before = None
    for released in release.cells:
        data = released.metadata.get("nbgrader")
        if data is None:
            continue
        if data.grade_id not in places:
            here = (
                0
                if before is None
                else 1
                + next(
                    index
                    for index, cell in enumerate(notebook.cells)
                    if cell.metadata.get("nbgrader", {}).get("grade_id") == before
                )
            )
            if data.solution and not data.grade:
                inspection.notes.append(f"the answer cell {data.grade_id} is missing")
                continue
            notebook.cells.insert(here, deepcopy(released))
            inspection.notes.append(f"the cell {data.grade_id} was missing and was put back")
        before = data.grade_id


def _count(files: list[Path]) -> int:
    """Without what `collect` wrote beside them."""
    return sum(path.name != "timestamp.txt" for path in files)


def harmless(text) -> str:
    """Somebody else's words, made harmless for a message."""
    return re.sub(r"[^\w .,:()+=/-]", "?", str(text))[:120]
