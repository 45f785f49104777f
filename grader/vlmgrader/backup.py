"""The gradebook is one SQLite file: it is checked before each run, and copied after it."""

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

KEEP = 5


def check(gradebook: Path) -> None:
    """Raises ValueError, with what to do, for a gradebook that can't be read."""
    if not gradebook.exists():
        return
    try:
        with closing(
            sqlite3.connect(f"file:{gradebook}?mode=ro", uri=True, timeout=60)
        ) as database:
            [(problem,)] = database.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.DatabaseError as error:
        problem = str(error)
    if problem != "ok":
        problem = " ".join(problem.split())
        copies = sorted((gradebook.parent / "backups").glob("gradebook-*.db"))
        advice = (
            f"copy {copies[-1]} over it"
            if copies
            else "remove it and run: vlmgrader release, then run --force"
        )
        raise ValueError(
            f"{gradebook} is damaged ({problem}). Nothing was graded. To go on, {advice}."
        )


def keep(gradebook: Path) -> Path:
    """A copy in backups/, whole or not there; of older ones the last few stay."""
    folder = gradebook.parent / "backups"
    folder.mkdir(exist_ok=True)
    target = folder / f"gradebook-{datetime.now():%Y%m%d-%H%M%S-%f}.db"
    half = target.with_suffix(".half")
    with closing(sqlite3.connect(gradebook, timeout=60)) as database:
        with closing(sqlite3.connect(half)) as copy:
            database.backup(copy)
    half.replace(target)
    for old in sorted(folder.glob("gradebook-*.db"))[:-KEEP]:
        old.unlink()
    return target
