"""Lessons: text masters (py:percent) -> notebooks -> executed notebooks."""

import hashlib
import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

MATERIAL = Path(__file__).parent / "material"
"""The course's lessons, assignments and results in an installed wheel."""

INSTALL = """\
import glob
import importlib.util

if not importlib.util.find_spec("vlmcourse"):  # on Colab or Kaggle
    wheels = glob.glob("vlmcourse-*.whl")
    assert wheels, "vlmcourse is missing. Put its wheel (vlmcourse-....whl) beside this notebook."
    %pip install --quiet {wheels[0]}"""
"""A lesson's first code, hidden: installs the course where it is missing."""


class LessonFailed(RuntimeError):
    """A cell of a lesson raised an error; the message says which and what."""


def _clone() -> Path | None:
    places = (Path.cwd(), *Path.cwd().parents, Path(__file__).parents[1])
    return next((folder for folder in places if (folder / "notebooks" / "masters").is_dir()), None)


def repository() -> Path:
    """The clone of the course that we are in, or that this package was installed from. Raises FileNotFoundError without one."""
    if (clone := _clone()) is None:
        raise FileNotFoundError(
            f"no lessons in {Path.cwd()} or above it: expected a folder notebooks/ of the course. "
            "Run this inside a clone of the course's repository."
        )
    return clone


def in_clone() -> bool:
    """Is there a clone, or only an installed wheel?"""
    return _clone() is not None


def course_folder() -> Path:
    """Where lessons and assignments are: the clone, else what the installed wheel carries."""
    return _clone() or MATERIAL


def masters() -> list[Path]:
    return sorted((course_folder() / "notebooks" / "masters").glob("[0-9][0-9]_*.py"))


def notebooks() -> list[Path]:
    return sorted((course_folder() / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def companions() -> list[Path]:
    """Masters of notebooks that are no lessons: the explorers."""
    return sorted(set((course_folder() / "notebooks" / "masters").glob("*.py")) - set(masters()))


def notebook_of(master: Path) -> Path:
    return master.parents[1] / f"{master.stem}.ipynb"


def find(name: str, among: list[Path] | None = None) -> Path:
    """The lesson whose number is `name` ('2', '02') or whose name contains it ('frozen')."""
    among = notebooks() if among is None else among
    matches = [path for path in among if path.stem[:2] == name.zfill(2)] or [
        path for path in among if name.lower() in path.stem
    ]
    if len(matches) != 1:
        raise ValueError(
            f"{'no lesson' if not matches else 'more than one lesson'} '{name}'; "
            f"there are {', '.join(path.stem for path in among)}."
        )
    return matches[0]


def read(path: Path):
    import nbformat

    return nbformat.read(path, as_version=4)


def from_master(master: Path):
    """The notebook of a master, without outputs; cell ids are made of the cells' positions and texts, so they are stable.

    INSTALL becomes its first code cell. What is tagged `hide-input` is collapsed in JupyterLab.
    """
    import jupytext
    from nbformat.v4 import new_code_cell

    notebook = jupytext.read(master)
    notebook.cells.insert(1, new_code_cell(INSTALL, metadata={"tags": ["hide-input"]}))
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for position, cell in enumerate(notebook.cells):
        if "hide-input" in cell.metadata.get("tags", ()):
            cell.metadata["jupyter"] = {"source_hidden": True}
        cell["id"] = hashlib.sha256(f"{position} {cell.source}".encode()).hexdigest()[:8]
    return notebook


def is_up_to_date(master: Path) -> bool:
    """Do the master and its notebook have the same cells?"""

    def cells(notebook):
        return [(cell.cell_type, cell.source) for cell in notebook.cells]

    path = notebook_of(master)
    return path.exists() and cells(from_master(master)) == cells(read(path))


def title(cell) -> str:
    """The first heading of a text cell, or the first line of code that says something."""
    lines = [line.strip() for line in cell.source.splitlines() if line.strip()]
    headings = [line.lstrip("# ") for line in lines if line.startswith("#")]
    return (headings[0] if headings else lines[0] if lines else "")[:70]


def execute(
    notebook,
    folder: Path,
    tell: Callable[[int, int, str, float], None],
    on_failure: Path | None = None,
):
    """Runs all cells in `folder`, telling (cell number, cells, title, seconds) of each code cell. Returns the notebook.

    Raises LessonFailed with the cell and what ended it (an error, a dead kernel, Ctrl-C); what ran until then is kept at
    `on_failure`.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        store_widget_state=False,
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],
    )
    with client.setup_kernel():
        for number, cell in enumerate(notebook.cells):
            start = time.perf_counter()
            try:
                client.execute_cell(cell, number)
            except (CellExecutionError, DeadKernelError, KeyboardInterrupt) as error:
                where = (
                    f" What ran until then is in {keep(notebook, on_failure)}."
                    if on_failure
                    else ""
                )
                raise LessonFailed(
                    f"cell {number + 1} of {len(notebook.cells)} ({title(cell)}) {_reason(error)}.{where}"
                ) from error
            if cell.cell_type == "code":
                tell(number + 1, len(notebook.cells), title(cell), time.perf_counter() - start)
    return notebook


def _reason(error: BaseException) -> str:
    """What ended a lesson, as the rest of a sentence about a cell."""
    if isinstance(error, KeyboardInterrupt):
        return "was interrupted"
    if hasattr(error, "ename"):
        return f"failed: {error.ename}: {error.evalue.rstrip('.')}"
    return (
        "ended with its Python process. Most often the memory was used up: close other programs, "
        "or try --scale smoke"
    )


def keep(notebook, path: Path) -> Path:
    """Writes a notebook, without what changes from run to run."""
    import nbformat

    path.parent.mkdir(parents=True, exist_ok=True)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(
                "application/vnd.jupyter.widget-view+json", None
            )  # its still picture stays
    nbformat.write(notebook, path)
    return path


def site():
    """The clone's docs.site, which makes HTML of notebooks and of the whole course: a tool of the repository, not of the package."""
    root = str(repository())
    if root not in sys.path:
        sys.path.insert(0, root)
    return importlib.import_module("docs.site")
