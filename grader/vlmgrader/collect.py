"""From a learning platform's download to submitted/<student>/<assignment>/: ids are taken only from the roster."""

import os
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from vlmgrader.course import Assignment, write
from vlmgrader.preflight import ALL_BYTES, FILES

MEMBERS = 20_000


@dataclass
class Collected:
    students: dict[str, list[str]] = field(default_factory=dict)
    unmatched: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def collect(assignment: Assignment, downloads: Path, matching: str | None = None) -> Collected:
    """A folder or a zip. Student ids are looked for in folder names, then in file names; `matching` is a regular expression
    with a group named student where that isn't enough. What was submitted before is replaced, whole."""
    roster = assignment.course.roster()
    pattern = re.compile(matching) if matching else None
    if pattern and "student" not in pattern.groupindex:
        raise ValueError("--matching needs a group named student: (?P<student>...)")
    if not downloads.exists():
        raise ValueError(
            f"There is no {downloads}. Give the folder or the zip that the learning platform lets you download."
        )
    found, parts = Collected(), {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, path in _unpacked(downloads, Path(scratch), found):
            student = _student(name, roster, pattern)
            if student is None:
                found.unmatched.append(str(name))
            else:
                parts.setdefault(student, []).append((name, path))
        for student, files in parts.items():
            _keep(assignment, student, files, found)
    return found


def _student(name: PurePosixPath, roster: dict, pattern: re.Pattern | None) -> str | None:
    """The one student of the roster whose id stands in the path as a word of its own."""
    if pattern:
        match = pattern.search(str(name))
        return match["student"] if match and match["student"] in roster else None
    for part in (*name.parts[:-1], name.stem):
        if part in roster:
            return part
        words = [
            word
            for word in roster
            if re.search(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", part)
        ]
        if len(words) == 1:
            return words[0]
    return None


def _unpacked(
    downloads: Path, scratch: Path, found: Collected
) -> Iterator[tuple[PurePosixPath, Path]]:
    """(name in the download, ordinary file), from a folder or a zip; links and devices are named and left out."""
    if downloads.is_dir():
        for path in sorted(downloads.rglob("*")):
            name = PurePosixPath(path.relative_to(downloads).as_posix())
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode) and not _through_link(path, downloads):
                yield name, path
            elif not stat.S_ISDIR(mode):
                found.left_out.append(f"{name} (no ordinary file)")
        return
    if not zipfile.is_zipfile(downloads):
        raise ValueError(f"{downloads} is neither a folder nor a zip.")
    with zipfile.ZipFile(downloads) as archive:
        for number, member in enumerate(archive.infolist()[:MEMBERS]):
            name = PurePosixPath(member.filename.replace("\\", "/"))
            if member.is_dir():
                continue
            linked = stat.S_ISLNK(member.external_attr >> 16)
            if name.is_absolute() or ".." in name.parts or linked or member.file_size > ALL_BYTES:
                found.left_out.append(f"{name} (outside its folder, a link, or too large)")
                continue
            path = scratch / str(number)
            with archive.open(member) as packed, open(path, "wb") as file:
                file.write(packed.read(ALL_BYTES + 1)[:ALL_BYTES])
            when = (
                datetime(*member.date_time, tzinfo=UTC).timestamp()
                if member.date_time[0] > 1980
                else None
            )
            if when:
                os.utime(path, (when, when))
            yield name, path


def _through_link(path: Path, top: Path) -> bool:
    return any(
        parent.is_symlink()
        for parent in path.parents
        if parent != top and parent.is_relative_to(top)
    )


def _keep(
    assignment: Assignment, student: str, files: list[tuple[PurePosixPath, Path]], found: Collected
) -> None:
    target = assignment.course.place("submitted", assignment.name, student)
    if len(files) > FILES or sum(path.stat().st_size for _, path in files) > ALL_BYTES:
        found.left_out.append(
            f"{student}: {len(files)} files, or more than {ALL_BYTES // 2**20} MB"
        )
        files = files[:0]
    fresh = target.with_name(f".{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    newest = max((path.stat().st_mtime for _, path in files), default=0.0)
    for name, path in sorted(files, key=lambda pair: pair[1].stat().st_mtime):
        kept = _name(name, student, assignment.name)
        shutil.copyfile(path, fresh / kept)
        shutil.copystat(path, fresh / kept)
        found.students.setdefault(student, []).append(kept)
    if newest:
        write(
            fresh / "timestamp.txt",
            datetime.fromtimestamp(newest, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        )
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


def _name(name: PurePosixPath, student: str, assignment: str) -> str:
    """Without what the platform put before it: `smith_123_456_A1_masks-1.ipynb` becomes `A1_masks-1.ipynb`."""
    place = name.name.lower().rfind(assignment.lower())
    kept = name.name[place:] if place >= 0 else name.name
    kept = f"{assignment}.ipynb" if kept == f"{student}.ipynb" else kept
    kept = re.sub(r"[^\w .()-]", "_", kept).lstrip(".")[:100]
    return "data-" + kept if kept == "timestamp.txt" or not kept else kept
