"""Downloads of learning platforms, with the names they really have: everybody gets their own, and all else is named."""

import sys
import zipfile
from pathlib import Path, PurePosixPath

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import small_course as small

from vlmgrader.collect import collect
from vlmgrader.course import Course, Student
from vlmgrader.matching import Matcher

GOOD = nbformat.writes(small.notebook(small.ANSWERS))
PEOPLE = [
    ("anna", "Anna", "Aalto", "101"),
    ("bob", "Bob", "O'Neil", ""),
    ("ann", "Ann", "Lee", ""),
    ("ann-marie", "Ann-Marie", "Lee", ""),
    ("jue", "Jürgen", "Groß", ""),
    ("rgen", "Rene", "Gen", ""),
    ("eve", "Eve", "Twin", ""),
    ("eva", "Eve", "Twin", ""),
]
ROSTER = {name: Student(name, first, last, "", number) for name, first, last, number in PEOPLE}


@pytest.mark.parametrize(
    "path, student",
    [
        ("aaltoanna_101_9001_A0_small.ipynb", "anna"),  # Canvas: by its own id of the user
        ("aaltoanna_LATE_7_9001_A0_small-1.ipynb", "anna"),  # by name
        ("oneilbob_9_9002_anna.ipynb", "bob"),  # what the student called the file doesn't count
        ("großjürgen_78_9003_A0_small.ipynb", "jue"),
        ("twineve_5_9004_A0_small.ipynb", None),  # two students of this name
        ("Anna Aalto_4711_assignsubmission_file_/bob.ipynb", "anna"),  # Moodle
        ("Groß Jürgen_4712_assignsubmission_file/A0_small.ipynb", "jue"),
        ("Nobody Here_4713_assignsubmission_file_/anna.ipynb", None),
        ("Nobody Here_4713_assignsubmission_file_/anna/A0_small.ipynb", None),
        ("anna/A0_small.ipynb", "anna"),
        ("class/ann-marie/deep/ann.ipynb", "ann-marie"),
        ("somebody/anna.ipynb", None),  # a file's name in a stranger's folder
        ("ann-marie_A0_small.ipynb", "ann-marie"),
        ("ann_A0_small.ipynb", "ann"),
        ("annabel.ipynb", None),
    ],
)
def test_whose_submission_it_is(path, student):
    claim = Matcher(ROSTER).find(PurePosixPath(path))
    assert (claim.student if claim else None) == student


def test_a_regular_expression_decides_alone_and_is_checked():
    matcher = Matcher(ROSTER, r"user-(?P<student>\w+)")
    assert matcher.find(PurePosixPath("anna/user-bob.ipynb")).student == "bob"
    assert matcher.find(PurePosixPath("anna/x.ipynb")) is None
    with pytest.raises(ValueError, match="no regular expression"):
        Matcher(ROSTER, "(")
    with pytest.raises(ValueError, match="a group named student"):
        Matcher(ROSTER, "x")


@pytest.fixture
def assignment(tmp_path):
    made = Course(tmp_path / "course", small.write(tmp_path))
    made.folder.mkdir()
    lines = [",".join([name, first, last, "", number]) for name, first, last, number in PEOPLE]
    heading = "id,first_name,last_name,email,platform_id"
    (made.folder / "roster.csv").write_text("\n".join([heading, *lines]) + "\n", encoding="utf-8")
    return made.find("A0")


def submitted(assignment, student):
    return assignment.course.folder_for("submitted", small.NAME, student)


def test_nobody_hands_in_as_another_and_two_who_could_be_one_are_reported(assignment, tmp_path):
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("Anna Aalto_4711_assignsubmission_file_/bob.ipynb", "hers")
        archive.writestr("Bob O'Neil_4712_assignsubmission_file_/A0_small.ipynb", GOOD)
        archive.writestr("Ann Lee_1_assignsubmission_file_/A0_small.ipynb", GOOD)
        archive.writestr("Lee Ann_2_assignsubmission_file_/A0_small.ipynb", "somebody else's")
    found = collect(assignment, tmp_path / "d.zip")
    assert set(found.students) == {"anna", "bob"}
    assert (submitted(assignment, "bob") / "A0_small.ipynb").read_text() == GOOD
    assert "two people could be meant" in found.left_out[0] and found.left_out[0].startswith("ann ")
    assert not submitted(assignment, "ann").exists()


def test_one_damaged_or_encrypted_file_stops_nothing(assignment, tmp_path):
    path = tmp_path / "d.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("anna/A0_small.ipynb", "x" * 1000)
        archive.writestr("bob/A0_small.ipynb", GOOD)
    content = bytearray(path.read_bytes())
    start = content.index(b"x" * 1000)
    content[start : start + 10] = b"y" * 10  # the checksum is wrong now
    path.write_bytes(bytes(content))
    found = collect(assignment, path)
    assert set(found.students) == {"bob"}
    assert "can't be read: BadZipFile" in found.left_out[0]


def test_too_many_files_are_said_and_names_are_made_harmless(assignment, tmp_path, monkeypatch):
    monkeypatch.setattr("vlmgrader.collect.MEMBERS", 2)
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("evil\x1b]0;title\x07.ipynb", GOOD)
        archive.writestr("bob/A0_small.ipynb", GOOD)
        archive.writestr("anna/A0_small.ipynb", GOOD)
    found = collect(assignment, tmp_path / "d.zip")
    assert "its last 1 files" in found.left_out[0]
    assert "\x1b" not in found.unmatched[0] and set(found.students) == {"bob"}


def test_a_flood_of_large_files_is_refused_before_it_is_unpacked(assignment, tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "d.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"bob/{number}.bin", bytes(20 * 2**20))
    opened = []
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *a, **k: opened.append(a))
    found = collect(assignment, tmp_path / "d.zip")
    assert not opened and "3 files of 60 MB" in found.left_out[0]
