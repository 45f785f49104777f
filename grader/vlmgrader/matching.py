"""Whose submission is it? Learning platforms say it in folder and file names; only the roster's students are found.

Canvas   aaltoanna_LATE_101_9001_A1_masks.ipynb            sortable name, its id of the user, its id of the file
Moodle   Anna Aalto_4711_assignsubmission_file_/...        full name, an id that changes with each assignment
plain    anna/A1_masks.ipynb, anna_A1_masks.ipynb          the roster's own id

What a student chose (the file's own name, behind what the platform wrote) never decides where the platform speaks.
"""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import PurePosixPath

from vlmgrader.course import Student

CANVAS = re.compile(r"(?P<name>[^_]+)_(?:late_)?(?P<user>\d+)_\d+_.+", re.I)
MOODLE = re.compile(r"(?P<name>.+?)_\d+_assignsubmission_(?:file|onlinetext)_?", re.I)


@dataclass(frozen=True)
class Claim:
    """A student, and by what the path says so: two claims of one student that differ are two people."""

    student: str
    by: str


def letters(text: str) -> str:
    """As names are compared: without accents, capitals, spaces and signs."""
    plain = unicodedata.normalize("NFKD", text).casefold().replace("ß", "ss")
    return "".join(letter for letter in plain if letter.isalnum())


class Matcher:
    """roster: by id; pattern: a regular expression with a group named student, which then decides alone."""

    def __init__(self, roster: dict[str, Student], pattern: str | None = None) -> None:
        self.roster = roster
        try:
            self.pattern = re.compile(pattern) if pattern else None
        except re.error as error:
            raise ValueError(f"--matching is no regular expression: {error}") from None
        if self.pattern and "student" not in self.pattern.groupindex:
            raise ValueError("--matching needs a group named student: (?P<student>...)")
        self.by_name: dict[str, set[str]] = {}
        for student in roster.values():
            for parts in (
                (student.first_name, student.last_name),
                (student.last_name, student.first_name),
            ):
                if name := letters("".join(parts)):
                    self.by_name.setdefault(name, set()).add(student.id)
        self.by_platform_id = {
            student.platform_id: student.id for student in roster.values() if student.platform_id
        }

    def find(self, path: PurePosixPath) -> Claim | None:
        """The student of a file in a download, or None."""
        if self.pattern:
            match = self.pattern.search(str(path))
            known = match and match["student"] in self.roster
            return Claim(match["student"], match["student"]) if known else None
        for part in path.parts[:-1]:
            if match := MOODLE.fullmatch(part):
                return self._named(match["name"], part)
        if len(path.parts) == 1 and (match := CANVAS.fullmatch(path.name)):
            by = f"{match['name']}_{match['user']}"
            if match["user"] in self.by_platform_id:
                return Claim(self.by_platform_id[match["user"]], by)
            if match["user"] in self.roster:
                return Claim(match["user"], by)
            if match["name"] in self.roster:
                return Claim(match["name"], by)
            return self._named(match["name"], by)
        for part in path.parts[:-1]:
            if part in self.roster:
                return Claim(part, part)
        return self._starting(path.stem) if len(path.parts) == 1 else None

    def _named(self, name: str, by: str) -> Claim | None:
        students = self.by_name.get(letters(name), set())
        return Claim(next(iter(students)), by) if len(students) == 1 else None

    def _starting(self, stem: str) -> Claim | None:
        """The longest id with which a file's name begins, as a word of its own."""
        fits = [
            student
            for student in self.roster
            if stem == student or re.match(rf"{re.escape(student)}[_ .-]", stem)
        ]
        longest = max(fits, key=len, default=None)
        return Claim(longest, longest) if longest else None
