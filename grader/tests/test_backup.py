"""A damaged gradebook stops a run before it begins, with what to do; copies are kept."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from vlmgrader import backup, batch


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "gradebook.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE grade (student TEXT, score REAL)")
        database.executemany("INSERT INTO grade VALUES (?, ?)", [(f"s{n}", n) for n in range(5000)])
        database.commit()
    return path


def test_a_damaged_gradebook_is_named_with_what_to_do(book):
    backup.check(book)
    copy = backup.keep(book)
    content = bytearray(book.read_bytes())
    content[4096 * 3 : 4096 * 5] = b"\xff" * 8192
    book.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=f"damaged.*copy {copy} over it"):
        backup.check(book)
    book.write_bytes(b"no database at all" * 100)
    with pytest.raises(ValueError, match="damaged"):
        backup.check(book)
    book.write_bytes(copy.read_bytes())
    backup.check(book)


def test_the_last_copies_are_kept(book):
    made = [backup.keep(book) for _ in range(backup.KEEP + 2)]
    assert sorted(book.parent.joinpath("backups").iterdir()) == made[2:]


def test_no_gradebook_is_no_damage(tmp_path):
    backup.check(tmp_path / "gradebook.db")


def test_earlier_gradings_are_remembered():
    first = {"state": "a", "status": "graded", "seed": "1", "score": 3, "marks": {}}
    second = {
        "state": "b",
        "status": "graded",
        "seed": "2",
        "score": 5,
        "earlier": batch._earlier(first),
    }
    assert [(one["seed"], one["score"]) for one in batch._earlier(second)] == [("1", 3), ("2", 5)]
    assert batch._earlier(None) == []
