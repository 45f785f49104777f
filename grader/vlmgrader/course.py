"""A course on disk: nbgrader's folders and gradebook, the roster, and the trusted side of each assignment.

roster.csv  groups.csv (optional)  nbgrader_config.py  gradebook.db
source/ release/ submitted/ autograded/ feedback/      nbgrader's, one folder per assignment, then per student
outcomes/   what the grader found, one file per submission      reports/   what instructors read
requests/   regrade requests
"""

import csv
import hashlib
import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from vlmgrader.cells import grade_id
from vlmgrader.results import Task
from vlmgrader.settings import Settings
from vlmgrader.settings import read as read_settings

STUDENT = re.compile(r"[A-Za-z0-9_@][A-Za-z0-9_.@-]{0,63}")
CONFIG = """# For nbgrader and formgrader.
c = get_config()
c.ExportApp.plugin_class = "nbgrader.plugins.CsvExportPlugin"
"""
PROTECTION = """
# Keep this last: no stock command then runs a student's code outside the sandbox.
from pathlib import Path

from vlmgrader.stock_nbgrader import protect

protect(get_config(), Path(__file__).resolve().parent, {assignments!r})
"""


@dataclass(frozen=True)
class Student:
    id: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    platform_id: str = ""


@dataclass(frozen=True)
class Course:
    """folder: the course; assignments: where `vlmgrader build` put them."""

    folder: Path
    assignments: Path

    @cached_property
    def settings(self) -> Settings:
        """Those of grader.toml; where there is none, the defaults."""
        return read_settings(self.assignments / "grader.toml")

    def folder_for(self, step: str, assignment: str, student: str | None = None) -> Path:
        return (
            self.folder / step / student / assignment
            if student
            else self.folder / step / assignment
        )

    @property
    def db_url(self) -> str:
        return f"sqlite:///{self.folder / 'gradebook.db'}?timeout=60"

    def find(self, name: str) -> "Assignment":
        """The assignment of this name or number (A1, A1_masks)."""
        there = sorted(
            path.parent.parent.name for path in self.assignments.glob("*/source/*.ipynb")
        )
        matching = [
            known for known in there if name.lower() in (known.lower(), known.lower().split("_")[0])
        ]
        if not matching:
            raise ValueError(
                f"There is no assignment '{name}' in {self.assignments}; there are: {', '.join(there) or 'none'}. "
                "Build them with: vlmgrader build"
            )
        return Assignment(matching[0], self)

    def roster(self) -> dict[str, Student]:
        """By id. Raises ValueError, naming the line, for what can't be a roster."""
        path = self.folder / "roster.csv"
        if not path.exists():
            raise ValueError(
                f"There is no {path}. Write one line per student under the heading id,first_name,last_name,email"
            )
        students: dict[str, Student] = {}
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if "id" not in (rows.fieldnames or []):
                raise ValueError(
                    f"{path}: the first line must be a heading with id; found {rows.fieldnames}"
                )
            for number, row in enumerate(rows, 2):
                name = (row["id"] or "").strip()
                if not STUDENT.fullmatch(name):
                    raise ValueError(
                        f"{path}, line {number}: '{name}' is no id; letters, digits and . _ @ - are allowed"
                    )
                if name in students:
                    raise ValueError(f"{path}, line {number}: '{name}' is there twice")
                students[name] = Student(
                    name,
                    *(
                        (row.get(key) or "").strip()
                        for key in ("first_name", "last_name", "email", "platform_id")
                    ),
                )
        return students

    def add_students(self) -> None:
        """Everybody on the roster into the gradebook, also who came after the release."""
        from nbgrader.api import Gradebook

        with Gradebook(self.db_url) as book:
            there = {student.id: student for student in book.students}
            for student in self.roster().values():
                known = there.get(student.id)
                names = (student.first_name, student.last_name, student.email)
                there_now = known and [
                    getattr(known, name) or "" for name in ("first_name", "last_name", "email")
                ]
                if there_now != list(names):
                    first, last, email = names
                    book.update_or_create_student(
                        student.id, first_name=first, last_name=last, email=email
                    )

    def prepare(self) -> None:
        """The folder and nbgrader's configuration, if they aren't there yet; a stock one is protected."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "nbgrader_config.py"
        text = config.read_text(encoding="utf-8") if config.exists() else CONFIG
        if "vlmgrader.stock_nbgrader" not in text:
            write(config, text + PROTECTION.format(assignments=str(self.assignments)))

    def nbgrader(self):
        """nbgrader's own API on this course."""
        import logging

        from nbgrader.apps import NbGraderAPI
        from traitlets.config import PyFileConfigLoader

        self.prepare()
        tools = str(Path(sys.executable).parent)  # nbgrader starts `alembic` by its name
        if tools not in os.environ.get("PATH", "").split(os.pathsep):
            os.environ["PATH"] = tools + os.pathsep + os.environ.get("PATH", os.defpath)
        logging.getLogger("traitlets").setLevel(logging.ERROR)
        return NbGraderAPI(
            config=PyFileConfigLoader("nbgrader_config.py", path=str(self.folder)).load_config()
        )


@dataclass(frozen=True)
class Assignment:
    name: str
    course: Course

    @property
    def home(self) -> Path:
        return self.course.assignments / self.name

    @cached_property
    def released(self) -> NotebookNode:
        """The notebook as handed out: the trusted text of every cell that isn't the student's."""
        path = self.course.folder_for("release", self.name) / f"{self.name}.ipynb"
        if not path.exists():
            raise ValueError(
                f"{self.name} isn't released in {self.course.folder}. Run: vlmgrader release {self.name}"
            )
        return nbformat.read(path, 4)

    @cached_property
    def source(self) -> NotebookNode:
        """nbgrader's source: with solutions and mark schemes."""
        return nbformat.read(self.home / "source" / f"{self.name}.ipynb", 4)

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """The trusted checks by grade_id, held against the points of the released cells."""
        from vlmgrader.cell_tests import of_cell
        from vlmgrader.checks import load

        checks = load(self.home)
        worth = {
            grade_id(cell): float(cell.metadata.nbgrader.points)
            for cell in self.released.cells
            if grade_id(cell)
        }
        if not (self.home / "checks.py").is_file():
            checks = {name: [] for name in worth}
        if set(checks) != set(worth):
            raise ValueError(
                f"{self.name}: tests of the notebook and of checks.py differ: {sorted(set(checks) ^ set(worth))}"
            )
        tests = {grade_id(cell): cell.source for cell in self.source.cells if grade_id(cell)}
        checks = {
            name: rows or [of_cell(tests[name], worth[name])] for name, rows in checks.items()
        }
        for name, points in worth.items():
            total = sum(check.points for check in checks[name])
            if abs(total - points) > 1e-9:
                raise ValueError(
                    f"{self.name}, {name}: the cell has {points:g} points, its checks have {total:g}"
                )
        return {name: Task(name, points, checks[name]) for name, points in worth.items()}

    @property
    def given(self) -> frozenset[str]:
        return frozenset(cell.source for cell in self.released.cells)

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the checks and the release, so that a regrade knows what is out of date."""
        path = self.home / "checks.py"
        tests = path.read_bytes() if path.is_file() else nbformat.writes(self.source).encode()
        return digest(tests, nbformat.writes(self.released).encode())

    def release(self) -> Path:
        """Makes the students' notebook with nbgrader, and tells the gradebook about assignment and roster."""
        course = self.course
        course.roster()
        source = course.folder_for("source", self.name)
        source.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.home / "source" / f"{self.name}.ipynb", source / f"{self.name}.ipynb")
        done = course.nbgrader().generate_assignment(self.name)
        if not done["success"]:
            raise RuntimeError(
                f"nbgrader could not release {self.name}: {(done.get('log') or done.get('error', ''))[-1500:]}"
            )
        course.add_students()
        assert self.tasks  # the checks fit what was just released
        return course.folder_for("release", self.name) / f"{self.name}.ipynb"


def digest(*parts: bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "little") + part)
    return total.hexdigest()[:24]


def write(path: Path, text: str) -> None:
    """Whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_text(text, encoding="utf-8")
    os.replace(half, path)


def read_json(path: Path) -> dict | None:
    """None where there is no such file, or only half of one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
