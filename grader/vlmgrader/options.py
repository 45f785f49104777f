"""Options that several commands share, and what they lead to."""

from pathlib import Path
from typing import Annotated

import typer

Name = Annotated[str, typer.Argument(help="The assignment: A1 or A1_masks")]
Where = Annotated[
    Path,
    typer.Option(
        "--course", help="The folder of your course. It must not lie where students can write."
    ),
]
Ours = Annotated[
    Path | None,
    typer.Option(
        "--assignments",
        envvar="VLMGRADER_ASSIGNMENTS",
        help="The folder of the built assignments. Default: assignments/ here, or in a folder above.",
    ),
]
Students = Annotated[
    list[str] | None, typer.Option("--student", help="Only this one; may be repeated.")
]
HERE = Path(".")


def assignments_home(given: Path | None) -> Path:
    """The folder of the assignments: the one given, else assignments/ here or in a folder above."""
    if given:
        return given
    for folder in (Path.cwd(), *Path.cwd().parents):
        if next((folder / "assignments").glob("*/*/*.ipynb"), None):
            return folder / "assignments"
    raise ValueError(
        f"no assignments/ with built notebooks in {Path.cwd()} or above it. Say where: --assignments FOLDER"
    )


def find_assignment(name: str, course: Path, assignments: Path | None):
    """The assignment, or one sentence on what is to be installed first."""
    from importlib.util import find_spec

    missing = [package for package in ("nbgrader", "nh3") if not find_spec(package)]
    if missing:
        raise ValueError(
            f"grading needs {' and '.join(missing)}. Install: pip install 'vlmgrader[grading]'"
        )
    from vlmgrader.course import Course

    return Course(course.resolve(), assignments_home(assignments).resolve()).find(name)
