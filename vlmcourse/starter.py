"""A project to begin with: `vlmcourse start FOLDER` writes a training script, a notebook, a test and a README that all work."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

TEMPLATES = ("README.md", "train.py", "explore.py", "test_project.py")
IGNORED = "runs/\n__pycache__/\n.ipynb_checkpoints/\n"


def start(folder: str | Path, name: str | None = None) -> list[Path]:
    """Writes a project into a new (or empty) folder; returns its files.

    name  default: the folder's
    Raises ValueError for a folder that holds something, and for a name without a letter.
    """
    import jupytext
    import nbformat

    folder = Path(folder)
    name = name or folder.resolve().name
    if not re.search(r"[A-Za-z]", name) or set(name) & set('\n"\\'):
        raise ValueError(
            f"{name!r} is no name for a project; expected something with a letter in it, on one line, without "
            "quotes or backslashes."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f"{folder} is there already and not empty. Choose another folder, so that nothing is overwritten."
        )
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for template in TEMPLATES:
        text = (
            files(__package__)
            .joinpath("project", f"{template}.txt")
            .read_text(encoding="utf-8")
            .replace("PROJECT", name)
        )
        written.append(folder / template)
        written[-1].write_text(text, encoding="utf-8")
    notebook = jupytext.read(folder / "explore.py")
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
    }
    written += [folder / "explore.ipynb", folder / ".gitignore"]
    nbformat.write(notebook, written[-2])
    written[-1].write_text(IGNORED, encoding="utf-8")
    return written
