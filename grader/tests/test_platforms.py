"""Grades into Canvas', Moodle's and Blackboard's own tables, read by their rules; nothing else changes."""

import csv
import io
import sys
from pathlib import Path

import pytest

pytest.importorskip("nbgrader", reason="grading needs nbgrader: pip install 'vlmgrader[grading]'")
sys.path.insert(0, str(Path(__file__).parent))
import small_course as small  # noqa: E402

from vlmgrader import export, platforms  # noqa: E402

PEOPLE = {
    "anna": ("Anna", "Aalto", "Anna@example.org", "101"),
    "bob": ("Bob", "O'Neil", "bob@example.org", ""),
    "cleo": ("Cleo", "Cay", "", ""),
}


@pytest.fixture
def assignment(tmp_path, monkeypatch):
    made = small.course(tmp_path, PEOPLE)
    lines = [",".join([name, *parts]) for name, parts in PEOPLE.items()]
    roster = made.course.folder / "roster.csv"
    roster.write_text("id,first_name,last_name,email,platform_id\n" + "\n".join(lines) + "\n")
    scores = {"anna": ("graded", "7.5", 0), "bob": ("graded", "5", 1), "cleo": ("missing", "", "")}
    made_rows = [
        {
            "id": name,
            "status": status,
            "score": score,
            "needs_manual_grade": waits,
            "comments": "=well done",
        }
        for name, (status, score, waits) in scores.items()
    ]
    monkeypatch.setattr(platforms, "rows", lambda assignment: made_rows)
    return made


def filled(assignment, platform, text, tmp_path, encoding="utf-8", **options):
    template, target = tmp_path / "in.csv", tmp_path / "out.csv"
    template.write_bytes(text.encode(encoding))
    _, notes = platforms.fill(assignment, platform, template, target, **options)
    written = target.read_bytes().decode(encoding)
    delimiter = max(",;\t", key=written.partition("\n")[0].count)
    return list(csv.reader(io.StringIO(written, newline=""), delimiter=delimiter)), notes


CANVAS = """Student,ID,SIS User ID,SIS Login ID,Section,A0_small (98765),Essay (1),Final Score
,,,,,Manual Posting,,(read only)
    Points Possible,,,,,9,10,(read only)
"Aalto, Anna",101,x1,ANNA@example.org,S,,8,80
"O'Neil, Bob",102,bob,,S,,,
"Cay, Cleo",103,,cleo,S,2,,
"Twin, Anna",104,anna,,S,1,,
"Zett, Zoe",105,,zoe,S,1,,
"""


def test_canvas(assignment, tmp_path):
    lines, notes = filled(assignment, platforms.CANVAS, CANVAS, tmp_path)
    before = list(csv.reader(io.StringIO(CANVAS)))
    assert [line[:5] for line in lines] == [line[:5] for line in before]
    assert lines[:3] == before[:3], "the rows of posting and points"
    assert [line[5] for line in lines[3:]] == ["7.5", "", "2", "1", "1"]
    assert [line[6:] for line in lines] == [line[6:] for line in before]
    text = "\n".join(notes)
    assert "bob: answers still to be read" in text and "cleo: missing" in text
    assert (
        "anna would fill a second line (Twin, Anna)" in text
        and "Zett, Zoe is not on the roster" in text
    )


def test_canvas_with_semicolons_has_decimal_commas(assignment, tmp_path):
    lines, _ = filled(
        assignment, platforms.CANVAS, "Student;ID;SIS Login ID;A0_small (5)\nA;1;anna;\n", tmp_path
    )
    assert lines[1][3] == "7,5"


MOODLE = """Identifier,Full name,ID number,Email address,Status,Grade,Maximum Grade,Grade can be changed,Last modified (grade),Feedback comments
Participant 4711,Anna Aalto,,anna@EXAMPLE.org,Submitted,,9.00,Yes,-,
Participant 4712,Bob O'Neil,,bob@example.org,Submitted,,9.00,Yes,-,
Participant 4713,Zoe Zett,,zoe@example.org,No submission,,9.00,Yes,-,
"""


def test_moodle(assignment, tmp_path):
    lines, notes = filled(assignment, platforms.MOODLE, MOODLE, tmp_path)
    anna = dict(zip(lines[0], lines[1], strict=True))
    assert anna["Grade"] == "7.5" and anna["Feedback comments"] == "'=well done"
    assert anna["Identifier"] == "Participant 4711" and anna["Maximum Grade"] == "9.00"
    assert lines[2][5] == lines[3][5] == "" and "Zoe Zett is not on the roster" in "\n".join(notes)


BLACKBOARD = (
    "Last Name\tFirst Name\tUsername\tStudent ID\tAvailability\tA0_small [Total Pts: 9 Score] |123\n"
    "Aalto\tAnna\tanna\t101\tYes\t\nO'Neil\tBob\tbob\t102\tYes\t\n"
)


def test_blackboard(assignment, tmp_path):
    lines, _ = filled(assignment, platforms.BLACKBOARD, BLACKBOARD, tmp_path, "utf-16")
    assert lines[1][5] == "7.5" and lines[2][5] == ""


@pytest.mark.parametrize(
    "text, said",
    [
        ("a,b\n1,2\n", "no export of Canvas"),
        (CANVAS.replace("A0_small", "Other"), "0 columns.*the headings are"),
    ],
)
def test_what_is_no_such_table_is_said(assignment, tmp_path, text, said):
    with pytest.raises(ValueError, match=said):
        filled(assignment, platforms.CANVAS, text, tmp_path)


@pytest.mark.parametrize("text", ["=cmd|x", "+1", "-1", "@x", "\t=x"])
def test_no_text_becomes_a_formula(text):
    assert export.plain(text).startswith("'")
