"""From a learning platform's download to submitted/<student>/<assignment>/: ids are taken only from the roster."""

import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from vlmgrader import groups
from vlmgrader.course import Assignment, write
from vlmgrader.matching import Matcher
from vlmgrader.preflight import ALL_BYTES, FILES, harmless

MEMBERS = 20_000


@dataclass(frozen=True)
class Entry:
    """A file of a download: its name there, its size, when it was changed (0: unknown), and how it is read."""

    name: PurePosixPath
    size: int
    changed: float
    read: Callable[[], bytes]


@dataclass
class Collected:
    """students: who got which files; unmatched: files that fit nobody; left_out: what was not taken, and why."""

    students: dict[str, list[str]] = field(default_factory=dict)
    unmatched: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def leave_out(self, name: object, why: str) -> None:
        self.left_out.append(f"{harmless(name)} ({why})")

    def read(self, entry: Entry) -> bytes | None:
        """Its content; None, and named, where it is damaged."""
        try:
            return entry.read()
        except (
            OSError,
            RuntimeError,
            zipfile.BadZipFile,
            zlib.error,
            NotImplementedError,
        ) as error:
            why = f"can't be read: {type(error).__name__}, damaged or encrypted"
            self.leave_out(entry.name, why)
            return None


def collect(assignment: Assignment, downloads: Path, matching: str | None = None) -> Collected:
    """Sorts a folder or a zip into submitted/. What a student had submitted before is replaced, whole.

    matching  a regular expression with a group named student, where the names of files say it in another way
    """
    matcher = Matcher(assignment.course.roster(), matching)
    groups.read(assignment.course)
    collected = Collected()
    with opened(downloads, collected) as entries:
        _sort_in(assignment, matcher, entries, collected)
    return collected


@contextmanager
def opened(downloads: Path, collected: Collected) -> Iterator[Iterator[Entry]]:
    """The files of a folder or a zip, to be read before it is closed; what can't be taken is named in `collected`."""
    if not downloads.exists():
        raise ValueError(
            f"There is no {downloads}. Give the folder or the zip that the learning platform lets you download."
        )
    if downloads.is_dir():
        yield _in_folder(downloads, collected)
    elif not zipfile.is_zipfile(downloads):
        raise ValueError(f"{downloads} is neither a folder nor a zip.")
    else:
        with zipfile.ZipFile(downloads) as archive:
            yield _in_zip(archive, collected)


def _sort_in(
    assignment: Assignment, matcher: Matcher, entries: Iterator[Entry], collected: Collected
) -> None:
    claims: dict[str, dict[str, list[Entry]]] = {}
    for entry in entries:
        claim = matcher.find(entry.name)
        if claim is None:
            collected.unmatched.append(harmless(entry.name))
        else:
            claims.setdefault(claim.student, {}).setdefault(claim.by, []).append(entry)
    for student, by in claims.items():
        if len(by) > 1:
            names = " and ".join(harmless(name) for name in by)
            collected.leave_out(student, f"two people could be meant: {names}; see --matching")
            continue
        [files] = by.values()
        _keep(assignment, student, files, collected)


def _in_folder(folder: Path, collected: Collected) -> Iterator[Entry]:
    """Ordinary files; links and devices are named and left out."""
    for path in sorted(folder.rglob("*")):
        name = PurePosixPath(path.relative_to(folder).as_posix())
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and not _through_link(path, folder):
            yield Entry(name, status.st_size, status.st_mtime, path.read_bytes)
        elif not stat.S_ISDIR(status.st_mode):
            collected.leave_out(name, "no ordinary file")


def _in_zip(archive: zipfile.ZipFile, collected: Collected) -> Iterator[Entry]:
    members = archive.infolist()
    if len(members) > MEMBERS:
        collected.leave_out(
            archive.filename, f"its last {len(members) - MEMBERS:,} files: too many"
        )
    for member in members[:MEMBERS]:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if member.is_dir():
            continue
        if name.is_absolute() or ".." in name.parts or stat.S_ISLNK(member.external_attr >> 16):
            collected.leave_out(name, "outside its folder, or a link")
        elif member.file_size > ALL_BYTES:
            collected.leave_out(name, f"{member.file_size / 2**20:.0f} MB")
        else:
            yield Entry(name, member.file_size, _changed(member), _reader(archive, member))


def _changed(member: zipfile.ZipInfo) -> float:
    """A zip has local times without a zone: taken as this machine's."""
    try:
        return datetime(*member.date_time).timestamp() if member.date_time[0] > 1980 else 0.0
    except (ValueError, OverflowError):
        return 0.0


def _reader(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        with archive.open(member) as packed:
            return packed.read(ALL_BYTES + 1)[:ALL_BYTES]

    return read


def _through_link(path: Path, top: Path) -> bool:
    return any(
        parent.is_symlink()
        for parent in path.parents
        if parent != top and parent.is_relative_to(top)
    )


def _keep(assignment: Assignment, student: str, files: list[Entry], collected: Collected) -> None:
    size = sum(entry.size for entry in files)
    if len(files) > FILES or size > ALL_BYTES:
        collected.leave_out(
            student, f"{len(files)} files of {size / 2**20:.0f} MB; see the guide's limits"
        )
        files = []
    target = assignment.course.folder_for("submitted", assignment.name, student)
    fresh = target.with_name(f".{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    newest = 0.0
    for entry in sorted(files, key=lambda entry: entry.changed):
        content = collected.read(entry)
        if content is None:
            continue
        file_name = _name(entry.name, student, assignment.name)
        (fresh / file_name).write_bytes(content)
        if entry.changed:
            os.utime(fresh / file_name, (entry.changed, entry.changed))
        newest = max(newest, entry.changed)
        collected.students.setdefault(student, []).append(file_name)
    if newest:
        moment = datetime.fromtimestamp(newest, UTC)
        write(fresh / "timestamp.txt", moment.strftime("%Y-%m-%d %H:%M:%S UTC"))
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


def _name(name: PurePosixPath, student: str, assignment: str) -> str:
    """Without what the platform put before it: `smith_123_456_A1_masks-1.ipynb` becomes `A1_masks-1.ipynb`."""
    start = name.name.lower().rfind(assignment.lower())
    cleaned = name.name[start:] if start >= 0 else name.name
    cleaned = f"{assignment}.ipynb" if cleaned == f"{student}.ipynb" else cleaned
    cleaned = re.sub(r"[^\w .()-]", "_", cleaned).lstrip(".")[:100]
    return "data-" + cleaned if cleaned == "timestamp.txt" or not cleaned else cleaned
