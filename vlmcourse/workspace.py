"""The student's own folder: copies of lessons and assignments, so that working changes no file of the course.

`vlmcourse lab` opens it and adds what is missing; `vlmcourse update` brings new texts of the course. What a student
changed is never overwritten.
"""

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from vlmcourse import lessons

NAME = "my_work"
RECORD = ".copied.json"
START = "Start_here.ipynb"


@dataclass(frozen=True)
class Copied:
    """What happened to one file: `new`, `updated`, `kept` (the student changed it), or `same`."""

    path: Path
    what: str


def originals(root: Path) -> dict[str, Path]:
    """The files that students work on: where each goes in their folder, and where it comes from."""
    copies = sorted((root / "notebooks").glob("*.ipynb"))
    tasks = sorted((root / "assignments").glob("*/student/*"))
    sources = {path.name: path for path in copies}
    sources |= {
        f"assignments/{path.parents[1].name}/{path.name}": path for path in tasks if path.is_file()
    }
    return sources


def content(path: Path) -> str:
    """What a file says: of a notebook its cells' texts, because opening it already changes the rest."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    return json.dumps([[cell["cell_type"], "".join(cell["source"])] for cell in cells])


def student_folder() -> Path:
    """The student's folder: in the clone, or, of an installed wheel, where the command is given."""
    return (lessons.course_folder() if lessons.in_clone() else Path.cwd()) / NAME


def prepare(root: Path, folder: Path, update: bool = False) -> list[Copied]:
    """Copies what is missing from the course's `root` into the student's folder; with `update`, what is newer there too.

    A file that both sides changed stays as the student's; the course's comes beside it, as `NAME.new.ipynb`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record_file = folder / RECORD
    record = json.loads(record_file.read_text(encoding="utf-8")) if record_file.exists() else {}
    done = []
    for name, source in originals(root).items():
        target, new = folder / name, content(source)
        if not target.exists():
            what = "new"
        elif not update or record.get(name) == new or content(target) == new:
            what = "same"
        elif content(target) == record.get(name):
            what = "updated"
        else:
            what = "kept"
        if what in ("new", "updated"):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        if what == "kept":
            shutil.copyfile(source, target.with_suffix(f".new{target.suffix}"))
        if what != "same":
            record[name] = new
        done.append(Copied(target, what))
    record_file.write_text(json.dumps(record), encoding="utf-8")
    write_start(folder)
    return done


def jupyterlab(folder: Path, name: str, port: int, browser: bool = True) -> list[str]:
    """The command that opens a file of the student's folder; the folder around it is JupyterLab's root: in a clone, all of it."""
    command = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={folder.parent}"]
    command += [f"--port={port}", f"--LabApp.default_url=/lab/tree/{folder.name}/{name}"]
    command += [] if browser else ["--no-browser"]
    return command + (["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else [])


def environment(root: Path) -> dict[str, str]:
    """What JupyterLab and its kernels are told: the course's settings, and where the lessons' own modules are."""
    settings = str(Path(__file__).with_name("jupyter"))
    paths = {"JUPYTER_CONFIG_PATH": settings, "PYTHONPATH": str(root / "notebooks")}
    return {
        name: os.pathsep.join(filter(None, [path, os.environ.get(name)]))
        for name, path in paths.items()
    }


def title(path: Path) -> str:
    """The first heading of a notebook, else its name."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"]).strip()
        if cell["cell_type"] == "markdown" and text.startswith("# "):
            return text.splitlines()[0].lstrip("# ")
    return path.stem


def write_start(folder: Path) -> Path:
    """Writes the page that JupyterLab opens: links to all lessons and assignments of the folder."""
    import nbformat

    copies = [path for path in sorted(folder.glob("*.ipynb")) if path.name != START]
    tasks = sorted(folder.glob("assignments/*/*.ipynb"))
    parts = [
        "# Start here",
        "These are your own copies: change them as you like. `vlmcourse update` brings newer ones.",
    ]
    for heading, paths in (("Lessons", copies), ("Assignments", tasks)):
        links = [f"- [{title(path)}]({path.relative_to(folder).as_posix()})" for path in paths]
        parts += [f"## {heading}", "\n".join(links)]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell("\n\n".join(parts), id="start")]
    )
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    nbformat.write(notebook, folder / START)
    return folder / START
