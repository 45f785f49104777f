"""Groups of an assignment: one member hands in, all get the outcome. groups.csv beside the roster, one line per member.

assignment,group,student
A1,north,anna
"""

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from vlmgrader.course import Assignment, Course
from vlmgrader.gradebook import submitted_at

HEADING = ("assignment", "group", "student")
KEYS = ("group", "members", "submitted_by", "group_note")  # of a member's outcome


@dataclass(frozen=True)
class Group:
    """A student alone is a group without a name.

    lead  whose submission counts: of those that handed in, the last in time
    note  where several members handed in: which counts and which don't
    """

    name: str
    members: tuple[str, ...]
    lead: str
    note: str = ""

    def as_json(self) -> dict:
        """What the outcome of each member says of the group."""
        values = (self.name, list(self.members), self.lead, self.note)
        return dict(zip(KEYS, values, strict=True)) if self.name else {}


def read(course: Course) -> dict[str, dict[str, list[str]]]:
    """assignment -> group -> members; empty without groups.csv. Raises ValueError, naming the line, for what can't be right."""
    path, table, lines = course.folder / "groups.csv", {}, {}
    if not path.exists():
        return table
    roster = course.roster()
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        if missing := set(HEADING) - set(rows.fieldnames or []):
            raise ValueError(
                f"{path}: found a first line without {', '.join(sorted(missing))}; expected the heading {','.join(HEADING)}"
            )
        for row in rows:
            assignment, group, student = ((row[key] or "").strip() for key in HEADING)
            line, here = rows.line_num, f"{path}, line {rows.line_num}"
            if not (assignment or group or student):
                continue
            if not group or not student:
                raise ValueError(
                    f"{here}: found {f'the group {group!r} without a student' if group else 'no group'}; "
                    "expected assignment, group and one student. Complete the line or delete it."
                )
            if student not in roster:
                raise ValueError(
                    f"{here}: found {student!r}; expected an id of roster.csv. Correct the id, or add the student there."
                )
            try:
                name = course.find(assignment).name
            except ValueError as error:
                raise ValueError(f"{here}: {error}") from None
            if (name, student) in lines:
                raise ValueError(
                    f"{here}: found {student!r} in {group!r}, but line {lines[name, student]} has this student, too; "
                    f"expected each student once for {name}. Delete one of the two lines."
                )
            lines[name, student] = line
            table.setdefault(name, {}).setdefault(group, []).append(student)
    return table


def of(assignment: Assignment) -> dict[str, Group]:
    """By student, of those that are in a group."""
    by_student = {}
    for name, members in read(assignment.course).get(assignment.name, {}).items():
        group = _group(assignment, name, members)
        by_student |= dict.fromkeys(members, group)
    return by_student


def _group(assignment: Assignment, name: str, members: list[str]) -> Group:
    course, times = assignment.course, {}
    for member in members:
        moment = _handed_in_at(course.folder_for("submitted", assignment.name, member))
        if moment is not None:
            times[member] = moment
    lead = max(times, key=times.__getitem__, default=members[0])
    texts = {
        member: f"{member}'s of {datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"
        for member, moment in times.items()
    }
    last = texts.pop(lead, "")
    note = f"{last} counts, the last in time; left out: {', '.join(texts.values())}"
    several = f"group {name}: {len(times)} members handed in; {note}" if texts else ""
    return Group(name, tuple(members), lead, several)


def _handed_in_at(folder: Path) -> float | None:
    """As `collect` has kept it, else the newest file's time; None where nothing was handed in."""
    times = [path.lstat().st_mtime for path in folder.rglob("*") if not path.is_dir()]
    if not times:
        return None
    submitted = submitted_at(folder)
    return submitted.replace(tzinfo=UTC).timestamp() if submitted else max(times)
