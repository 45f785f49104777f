"""Grades into the tables that learning platforms export themselves: one column is filled, all else stays as it was.

Canvas      its gradebook export, CSV; the column "A1_masks (98765)"
Moodle      the grading worksheet of an assignment, CSV; the columns Grade and Feedback comments
Blackboard  its full grade centre download, tabs or commas, often UTF-16; the column "A1_masks [Total Pts: 30 Score] |123"
"""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vlmgrader.course import Assignment
from vlmgrader.export import plain, rows
from vlmgrader.matching import letters

MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True)
class Platform:
    """name      as the command says it
    ids       headings of columns that identify a student, the surest first
    names     heading of a column with the full name, where ids may be missing
    column    heading of the grade's column; None: the one that names the assignment
    comment   heading of a column for comments
    """

    name: str
    ids: tuple[str, ...]
    names: str | None = None
    column: str | None = None
    comment: str | None = None


CANVAS = Platform("Canvas", ("SIS Login ID", "SIS User ID", "ID"))
MOODLE = Platform(
    "Moodle", ("ID number", "Username", "Email address"), "Full name", "Grade", "Feedback comments"
)
BLACKBOARD = Platform("Blackboard", ("Username", "Student ID"))


@dataclass
class Table:
    """A platform's own table: its lines, and how it is written."""

    lines: list[list[str]]
    delimiter: str
    encoding: str

    @property
    def heading(self) -> list[str]:
        return self.lines[0] if self.lines else []

    def text(self) -> str:
        buffer = io.StringIO()
        csv.writer(buffer, delimiter=self.delimiter, lineterminator="\r\n").writerows(self.lines)
        return buffer.getvalue()


def read(path: Path) -> Table:
    """The table in a file, whatever its encoding and its delimiter: comma, semicolon or tab."""
    content = path.read_bytes()
    marked = [encoding for mark, encoding in MARKS.items() if content.startswith(mark)]
    for encoding in marked or ["utf-8", "cp1252"]:
        try:
            text = content.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise ValueError(f"{path} is no text: expected a table as the platform exports it")
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    return Table(lines, delimiter, encoding)


def fill(
    assignment: Assignment,
    platform: Platform,
    template: Path,
    target: Path,
    column: str | None = None,
) -> tuple[Path, list[str]]:
    """Writes the platform's own table with this assignment's grades in it. Gives its path, and what was left as it was.

    column  its heading, or a part that only it has. Missing and unfinished grades stay as the platform has them.
    """
    table = read(template)
    ids = [name for name in platform.ids if name in table.heading]
    if not ids and platform.names not in table.heading:
        expected = ", ".join(platform.ids)
        raise ValueError(
            f"{template} is no export of {platform.name}: none of {expected} is in its first line."
        )
    grade_column = _column(table, column or platform.column or assignment.name, template)
    comment = table.heading.index(platform.comment) if platform.comment in table.heading else None
    known = {row["id"]: row for row in rows(assignment)}
    find = _finder(assignment, known, ids, platform.names)
    notes, filled = [], set()
    for line in table.lines[1:]:
        values = dict(zip(table.heading, line, strict=False))
        if not any(values.get(name, "").strip() for name in (*ids, platform.names)):
            continue  # Canvas' lines of points and of what is posted
        student = find(values)
        shown = next(
            (values[name] for name in (platform.names, "Student", *ids) if values.get(name)), "?"
        )
        if student is None:
            if not shown.strip().startswith("Points Possible"):
                notes.append(f"{platform.name}'s {shown} is not on the roster; left as it was")
            continue
        if student in filled:
            notes.append(f"{student} would fill a second line ({shown}); left as it was")
            continue
        filled.add(student)
        row = known[student]
        if row["status"] != "graded" or row["needs_manual_grade"]:
            why = row["status"] if row["status"] != "graded" else "answers still to be read"
            notes.append(f"{student}: {why}; left as it was")
            continue
        line += [""] * (len(table.heading) - len(line))
        line[grade_column] = (
            row["score"].replace(".", ",") if table.delimiter == ";" else row["score"]
        )
        if comment is not None and row["comments"]:
            line[comment] = plain(row["comments"])
    notes += [
        f"{student} is not in {platform.name}'s export"
        for student in known
        if student not in filled
    ]
    half = target.with_name(f".{target.name}.half")
    half.write_text(table.text(), encoding=table.encoding, newline="")
    half.replace(target)
    return target, notes


def _column(table: Table, wanted: str, template: Path) -> int:
    exact = [index for index, name in enumerate(table.heading) if name == wanted]
    part = [index for index, name in enumerate(table.heading) if wanted.lower() in name.lower()]
    matching = exact or part
    if len(matching) != 1:
        raise ValueError(
            f"{len(matching)} columns of {template} have '{wanted}' in their heading; expected one. Say which with "
            f"--column; the headings are: {', '.join(table.heading)}"
        )
    return matching[0]


def _finder(
    assignment: Assignment, known: dict, ids: list[str], names: str | None
) -> Callable[[dict], str | None]:
    """By the surest id that fits: the roster's ids, platform ids and addresses, whatever their capitals; then by name."""
    roster = assignment.course.roster()
    by_id = {student.lower(): student for student in known}
    for student in roster.values():
        for alias in (student.platform_id, student.email):
            if alias:
                by_id.setdefault(alias.lower(), student.id)
    by_name: dict[str, list[str]] = {}
    for student in roster.values():
        by_name.setdefault(letters(student.first_name + student.last_name), []).append(student.id)

    def find(values: dict) -> str | None:
        for name in ids:
            value = values.get(name, "").strip().lower()
            if value in by_id:
                return by_id[value]
        students = by_name.get(letters(values.get(names, "")), []) if names else []
        return students[0] if len(students) == 1 else None

    return find
