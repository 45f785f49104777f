"""`vlmgrader demo`: a class of twelve, graded, with all that an instructor looks at."""

import csv
import sys
from pathlib import Path

import pytest

pytest.importorskip("nbgrader", reason="grading needs nbgrader: pip install 'vlmgrader[grading]'")
sys.path.insert(0, str(Path(__file__).parent))
import small_course as small  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from vlmgrader import demo, sandbox  # noqa: E402
from vlmgrader.cli import app  # noqa: E402


@pytest.mark.skipif(sandbox.trouble() is not None, reason="no sandbox can be made here")
def test_a_class_of_twelve(tmp_path):
    assignments = small.write(tmp_path, 20)
    folder = tmp_path / "demo"
    told = CliRunner().invoke(app, ["demo", str(folder), "--assignments", str(assignments)])
    assert told.exit_code == 0, told.output + str(told.exception)
    with open(folder / "grades.csv", newline="") as file:
        table = {row["id"]: row for row in csv.DictReader(file)}
    assert len(table) == 12 and table["lena"]["status"] == "missing"
    assert table["anna"]["score"] == "6" and table["fatima"]["score"] == "0"
    assert table["kofi"]["status"] == "failed" and "no JSON" in table["kofi"]["reason"]
    assert table["ines"]["score"] == "4", "its kernel ended in one task only"
    reports = folder / "reports" / small.NAME
    assert "goran" in (reports / "similar.html").read_text()
    assert "diff" in (reports / "similar-1.html").read_text()
    page = (reports / "class.html").read_text()
    assert "discrimination" in page and "10 graded, 1 failed, 1 missing" in page
    with pytest.raises(ValueError, match="isn't empty"):
        demo.make(folder, assignments)
