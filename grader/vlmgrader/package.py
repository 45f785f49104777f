"""A package for students: the course without solutions, checks, mark schemes and whatever else is the instructor's.

What goes in is said by `[package]` of grader.toml, patterns of paths below the course's folder: include, exclude. Whatever
they say, nothing is packed that holds what students must not see (`SECRET`), and a notebook with a solution is refused.
"""

import subprocess
import zipfile
from fnmatch import fnmatch
from pathlib import Path

from vlmgrader.course import Course

SECRET = (
    "/{assignments}/*/checks.py",
    "/{assignments}/*/mutants.py",
    "/{assignments}/*/master.py",
    "/{assignments}/*/solution/*",
    "/{assignments}/*/source/*",
    "/{assignments}/grader.toml",
    "*gradebook.db*",
    "*roster.csv",
    "*groups.csv",
    "*/requests/*",
    "*/submitted/*",
    "*/autograded/*",
    "*/outcomes/*",
)
MARKS = (b"BEGIN SOLUTION", b"BEGIN MARK SCHEME")


def files(course: Course) -> list[Path]:
    """What the package holds, relative to the folder above the assignments. Raises ValueError where nothing is left."""
    home = course.assignments.parent
    include = course.settings.include or ("assignments/*/student/*",)
    secret = (pattern.format(assignments=course.assignments.name) for pattern in SECRET)
    exclude = (*course.settings.exclude, *secret)
    included = [
        path
        for path in _tracked(home)
        if any(fnmatch(str(path), pattern) for pattern in include)
        and not any(
            fnmatch(f"/{path}", pattern) or fnmatch(str(path), pattern) for pattern in exclude
        )
        and (home / path).is_file()
    ]
    if not included:
        raise ValueError(f"nothing below {home} fits {', '.join(include)}")
    return sorted(included)


def _tracked(home: Path) -> list[Path]:
    """The files that git knows; without git, all but hidden ones and caches."""
    listed = subprocess.run(
        ["git", "-C", str(home), "ls-files", "-z"], capture_output=True, text=True
    )
    if listed.returncode == 0 and listed.stdout:
        return [Path(name) for name in listed.stdout.split("\0") if name]
    paths = [path.relative_to(home) for path in home.rglob("*")]
    return [path for path in paths if not any(part[0] in "._" for part in path.parts)]


def write(course: Course, target: Path) -> list[Path]:
    """Writes the zip, whole or not at all, and gives the files in it. Raises ValueError for a notebook with a solution."""
    home, included = course.assignments.parent, files(course)
    for path in included:
        if path.suffix in (".ipynb", ".py", ".md") and path.parts[0] not in ("grader", "docs"):
            content = (home / path).read_bytes()
            if shows := [mark.decode() for mark in MARKS if mark in content]:
                raise ValueError(
                    f"{path} holds {shows[0]}: it isn't for students; exclude it in grader.toml"
                )
    half = target.with_suffix(".half")
    with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in included:
            archive.write(home / path, f"{target.stem}/{path}")
    half.replace(target)
    return included
