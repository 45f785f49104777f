"""What was handed in is looked at before it runs: refused with a reason, or repaired and said so. Nothing behind a link is read."""

import json
import os
import sys
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("nbgrader", reason="grading needs nbgrader: pip install 'vlmgrader[grading]'")
sys.path.insert(0, str(Path(__file__).parent))
import small_course as small  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from vlmgrader import preflight  # noqa: E402
from vlmgrader.cli import app  # noqa: E402

RELEASE = small.notebook()


def looked(folder, made=None, name=f"{small.NAME}.ipynb"):
    if made is not None:
        (folder / name).write_text(made if isinstance(made, str) else nbformat.writes(made))
    return preflight.inspect_submission(folder, RELEASE, small.NAME)


def test_an_honest_notebook_passes_without_a_word(tmp_path):
    found = looked(tmp_path, small.notebook(small.ANSWERS))
    assert found.refused is None and found.notes == []
    assert [cell.source for cell in found.notebook.cells if cell.id == "plus"] == [
        small.ANSWERS["plus"]
    ]


@pytest.mark.parametrize(
    "made, said",
    [
        ("", "empty (0 bytes)"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "no notebook of format 4"),
        ('{"nbformat": 3, "worksheets": []}', "no notebook of format 4"),
        (
            '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code", "source": 7, "metadata": {}}]}',
            "a cell isn't",
        ),
        (
            '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}',
            "none of the assignment's cells",
        ),
        ('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": ["x"]}', "a cell isn't"),
        ("\x00\x01binary", "no JSON"),
    ],
)
def test_broken_files_are_refused_with_a_reason(made, said, tmp_path):
    assert said in looked(tmp_path, made).refused


def test_links_are_not_followed(tmp_path):
    (tmp_path / "in").mkdir()
    outside = tmp_path / "secret.ipynb"
    outside.write_text(nbformat.writes(small.notebook(small.ANSWERS)))
    (tmp_path / "in" / f"{small.NAME}.ipynb").symlink_to(outside)
    (tmp_path / "in" / "folder").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "in" / "pipe")
    found = looked(tmp_path / "in")
    assert (
        "there is no A0_small.ipynb" in found.refused and len(found.notes) == 3 and not found.files
    )


def test_a_second_downloads_name_and_too_much_of_everything(tmp_path):
    assert (
        "taken as A0_small.ipynb"
        in looked(tmp_path, small.notebook(small.ANSWERS), "A0_small (1).ipynb").notes[0]
    )
    for number in range(preflight.FILES):
        (tmp_path / f"{number}.txt").write_text("x")
    assert "101 files" in looked(tmp_path).refused
    long = small.notebook({**small.ANSWERS, "plus": "#" * (preflight.CELL_CHARACTERS + 1)})
    (tmp_path / "one").mkdir()
    assert "characters" in looked(tmp_path / "one", long).refused


def test_cells_of_the_course_come_from_the_release(tmp_path):
    """Changed tests, points and flags, a copied cell, a deleted test and a deleted set-up: as handed out again, and noted."""
    made = small.notebook(small.ANSWERS)
    by_id = {cell.id: cell for cell in made.cells}
    by_id["plus-test"].source = "1000.0"
    by_id["plus-test"].metadata.nbgrader.points = 100
    by_id["total"].metadata.nbgrader.grade = True
    copy = nbformat.from_dict(json.loads(json.dumps(by_id["softmax"])))
    copy.source = "def softmax(x):\n    return x"
    copy.id = "again"
    made.cells = [cell for cell in made.cells if cell.id not in ("softmax-test", "setup")]
    made.cells.insert(2, copy)
    found = looked(tmp_path, made)
    kept = {cell.id: cell for cell in found.notebook.cells}
    assert (
        kept["plus-test"].source == 'print("check", plus)'
        and kept["plus-test"].metadata.nbgrader.points == 2
    )
    assert not kept["total"].metadata.nbgrader.grade
    assert [cell.id for cell in found.notebook.cells][:1] == ["setup"] and "softmax-test" in kept
    ids = [
        cell.metadata.nbgrader.grade_id
        for cell in found.notebook.cells
        if "nbgrader" in cell.metadata
    ]
    assert len(ids) == len(set(ids))
    assert {note.split(" was")[0].split(" is")[0] for note in found.notes} == {
        "the cell softmax",
        "the cell plus-test",
        "the cell softmax-test",
        "the cell setup",
    }


def test_students_run_the_same_look(tmp_path):
    assignments = small.write(tmp_path)
    mine = tmp_path / f"{small.NAME}.ipynb"
    options = ["--assignments", str(assignments)]
    mine.write_text(nbformat.writes(small.notebook(small.ANSWERS)))
    told = CliRunner().invoke(app, ["check", str(mine), *options])
    assert told.exit_code == 0 and "can be graded" in told.output
    mine.write_text("{")
    told = CliRunner().invoke(app, ["check", str(mine), *options])
    assert told.exit_code == 1 and "can't be graded: the notebook is no JSON" in told.output
    other = mine.rename(tmp_path / "Mine.ipynb")
    told = CliRunner().invoke(app, ["check", str(other), *options])
    assert isinstance(told.exception, ValueError) and "assignments here: A0_small" in str(
        told.exception
    )


@pytest.mark.parametrize(
    "roster, said",
    [("name\nx\n", "heading with id"), ("id\n../up\n", "is no id"), ("id\na\na\n", "twice")],
)
def test_a_wrong_roster_is_named_by_its_line(roster, said, tmp_path):
    from vlmgrader.course import Course

    (tmp_path / "roster.csv").write_text(roster)
    with pytest.raises(ValueError, match=said):
        Course(tmp_path, tmp_path).roster()
