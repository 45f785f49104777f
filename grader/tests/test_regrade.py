"""Regrade requests: from the page's form to the instructor's list; nobody asks in another's name, nothing in a file acts."""

import csv
import html
import json
import re
import shutil
import subprocess
import sys
import urllib.parse
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("nbgrader", reason="grading needs nbgrader: pip install 'vlmgrader[grading]'")
sys.path.insert(0, str(Path(__file__).parent))
import small_course as small  # noqa: E402
from browser import CHROMIUM  # noqa: E402
from test_late import record  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from vlmgrader import batch, regrade, report  # noqa: E402
from vlmgrader.cli import app  # noqa: E402
from vlmgrader.course import write  # noqa: E402
from vlmgrader.feedback import feedback, page  # noqa: E402

EVIL = '=cmd|" /C calc"!A0 <script>alert(1)</script>\x1b[31m\u202eevil\x00'


def graded(assignment, student, points, **more):
    """As `run` would leave it."""
    total = record(assignment, student, "2026-09-14 10:00:00", points)
    marks = {task: [{"points": points / 3, "of": 2.0}] for task in assignment.tasks}
    outcome = {"student": student, "status": "graded", "state": "files checks", "marks": marks}
    outcome |= {"reason": "", "notes": [], **total, **more}
    write(batch.outcome_file(assignment, student), json.dumps(outcome))
    return outcome


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    made = small.course(tmp_path_factory.mktemp("class"), ["anna", "bob"])
    graded(made, "anna", 3.0)
    graded(made, "bob", 6.0)
    return made


@pytest.fixture
def assignment(course, tmp_path):
    """Nobody has asked yet."""
    shutil.rmtree(course.course.folder / "requests", ignore_errors=True)
    (tmp_path / "files").mkdir()
    return course


def saved(assignment, owner, /, task="plus-test", why="it adds", **fields):
    """The text that the owner's page saves."""
    values = {"assignment": small.NAME, "student": owner, "task": task, **fields}
    values.setdefault("code", regrade.code(assignment, owner))
    return "\n".join(
        [regrade.TITLE, *(f"{name}: {value}" for name, value in values.items()), f"why:\n{why}\n"]
    )


def command(assignment, *arguments):
    folders = ["--course", assignment.course.folder, "--assignments", assignment.course.assignments]
    return CliRunner().invoke(app, [*map(str, ["requests", "A0", *arguments, *folders])])


def test_the_page_has_a_form_and_the_saved_file_is_understood_without_its_script(assignment):
    assert feedback(assignment) == {"anna": "", "bob": ""}
    path = assignment.course.folder_for("feedback", small.NAME, "anna") / f"{small.NAME}.html"
    text = path.read_text()
    shown = text[text.index('<form id="regrade"') :]
    assert "plus-test: 1 of 2</option>" in shown and "why: still to be read" in shown
    assert 'method="dialog"' in shown and "action" not in shown and "fetch" not in shown
    [address] = re.findall(r'<a download="regrade_A0_small_anna.txt" href="data:([^"]+)"', text)
    content = urllib.parse.unquote(html.unescape(address).partition(",")[2])
    filled = content.replace("task: \nwhy:", "task: plus-test\nwhy: it adds")
    fields = regrade.parse(filled.encode())
    assert fields["student"] == "anna" and fields["why"] == "it adds"
    assert regrade._refused(assignment, fields) == ""
    assert regrade._refused(assignment, regrade.parse(content.encode())), "nothing is filled in"


@pytest.mark.skipif(CHROMIUM is None, reason="no browser: apt-get install chromium")
def test_in_a_browser_the_form_saves_what_was_written(assignment, tmp_path):
    press = """<script>const [task, why] = document.getElementById("regrade").elements;
        task.value = "softmax-test"; why.value = "50 % of <b>ä</b> & more\\nsecond line";
        task.dispatchEvent(new Event("input", {bubbles: true}));</script>"""
    path = tmp_path / "page.html"
    path.write_text(page("x", regrade.form(assignment, "anna") + press))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", path.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    [address] = re.findall(r'href="data:text/plain;charset=utf-8,([^"]+)"', shown)
    fields = regrade.parse(urllib.parse.unquote(html.unescape(address)).encode())
    assert regrade._refused(assignment, fields) == "" and fields["task"] == "softmax-test"
    assert fields["why"] == "50 % of <b>ä</b> & more\nsecond line"


def test_requests_are_listed_by_task_marked_done_and_show_what_a_regrade_changed(
    assignment, tmp_path
):
    graded(assignment, "anna", 3.0)
    with zipfile.ZipFile(tmp_path / "files.zip", "w") as archive:
        archive.writestr("bob.txt", saved(assignment, "anna", "softmax-test"))
        archive.writestr("x/regrade.txt", saved(assignment, "bob", "plus-test"))
        archive.writestr("y/regrade.txt", saved(assignment, "anna", "plus-test"))
    ran = command(assignment, tmp_path / "files.zip")
    assert ran.exit_code == 0, ran.output + str(ran.exception)
    order = ["anna", "bob", "anna"]
    assert [line.split()[0] for line in ran.output.splitlines()[:3]] == order
    assert "softmax-test: 1 of 2; open" in ran.output and "3 new, 3 open, 3 in all" in ran.output
    ran = command(assignment, tmp_path / "files.zip", "--done", "anna:softmax-test")
    assert "0 new, 2 open, 3 in all" in ran.output and "softmax-test: 1 of 2; done" in ran.output
    with pytest.raises(ValueError, match="found 'bob:total-test'; expected .*anna:softmax-test"):
        regrade.mark_done(assignment, ["bob:total-test"])

    [earlier] = batch._earlier(graded(assignment, "anna", 3.0, state="files old"))
    graded(assignment, "anna", 6.0, earlier=[earlier])
    ran = command(assignment)
    assert "softmax-test: 1 of 2, now 2 of 2; done" in ran.output
    assert "plus-test: changed by the last grading: 1, now 2" in ran.output
    text = report.requests(assignment).read_text()
    assert "<td>softmax-test</td><td>anna</td><td>1 of 2</td><td>2 of 2</td><td>done</td>" in text
    assert "<td>anna</td><td>plus-test</td><td>1</td><td>2</td>" in text
    assert "softmax-test: 1 of 2, now 2 of 2; done" in regrade.form(assignment, "anna")
    assert "softmax-test: 1 of 2, now" not in regrade.form(assignment, "bob")
    graded(assignment, "anna", 6.0, earlier=[{**earlier, "state": "other files"}])
    assert not report.regraded(assignment), "another submission is no regrade"
    # Other words about a task that was done: open again.
    (tmp_path / "files" / "a.txt").write_text(saved(assignment, "anna", "softmax-test", "still"))
    assert regrade.gather(assignment, tmp_path / "files")[0] == 1
    assert "softmax-test: 2 of 2; open" in regrade.form(assignment, "anna")


@pytest.mark.parametrize(
    "change, why",
    [
        ({"code": "0" * 32}, "its code isn't that of anna"),
        ({"code": "ä"}, "its code isn't that of anna"),
        ({"student": "bob"}, "its code isn't that of bob"),
        ({"student": "bob", "code": ""}, "its code isn't that of bob"),
        ({"student": "zoe"}, "zoe is not on the roster"),
        ({"student": "../anna"}, "not on the roster"),
        ({"assignment": "A1"}, "for A1, not for A0_small"),
        ({"task": "<b>"}, "names the task '?b?'; expected one of plus-test"),
        ({"why": " \n "}, "anna gives no reason"),
    ],
)
def test_nobody_asks_in_anothers_name_or_about_nothing(assignment, tmp_path, change, why):
    text = saved(assignment, "anna", **change)
    (tmp_path / "files" / "anna.txt").write_text(text, encoding="utf-8")
    new, left_out = regrade.gather(assignment, tmp_path / "files")
    assert new == 0 and why in left_out[0] and not regrade.rows(assignment)


def test_a_code_is_of_one_course_assignment_and_student(assignment, tmp_path):
    secret = assignment.course.folder / "requests" / "secret"
    own = regrade.code(assignment, "anna")
    assert own == regrade.code(assignment, "anna") != regrade.code(assignment, "bob")
    assert secret.stat().st_mode & 0o777 == 0o600 and own not in secret.read_text()
    secret.write_text("another course's")
    assert regrade.code(assignment, "anna") != own


def test_hostile_text_does_nothing_wherever_it_is_shown(assignment, tmp_path):
    files = tmp_path / "files"
    (files / "a.txt").write_text(saved(assignment, "anna", why=EVIL))
    (files / "large.txt").write_text(saved(assignment, "bob", why="x" * regrade.FILE_BYTES))
    (files / "link.txt").symlink_to("/etc/passwd")
    (files / "bad\x1b[31m.bin").write_bytes(bytes(range(256)))
    (files / "empty").write_bytes(b"")
    ran = command(assignment, files)
    assert ran.exit_code == 0, ran.output + str(ran.exception)
    for reason in ("more than 64,000 bytes", "no ordinary file", "no request: expected"):
        assert reason in ran.output
    assert "1 new" in ran.output and "\x1b" not in ran.output
    shown = (assignment.course.folder / "reports" / small.NAME / "requests.html").read_text()
    assert "<script>" not in shown and "&lt;script&gt;" in shown
    assert not set("\x1b\u202e\x00") & set(shown)
    with open(assignment.course.folder / "reports" / small.NAME / "requests.csv") as file:
        [row] = csv.DictReader(file)
    assert row["why"].startswith("'=cmd|") and row["task"] == "plus-test"
    (files / "a.txt").write_text(saved(assignment, "anna", why="long " * 2_000))
    regrade.gather(assignment, files)
    [request] = regrade.rows(assignment)
    assert len(request["why"]) < regrade.REASON + 10 and request["why"].endswith("[cut]")


def test_a_member_of_a_group_asks_about_the_groups_points(assignment, tmp_path):
    graded(assignment, "anna", 3.0)
    graded(assignment, "bob", 6.0, submitted_by="anna", group="g", members=["anna", "bob"])
    (tmp_path / "files" / "b.txt").write_text(saved(assignment, "bob"))
    regrade.gather(assignment, tmp_path / "files")
    assert regrade.summary(regrade.rows(assignment)[0]) == "plus-test: 1 of 2; open"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_encoding_and_any_ends_of_lines(assignment, tmp_path, encoding, end):
    text = saved(assignment, "anna", why="größer\nzweite Zeile").replace("\n", end)
    (tmp_path / "files" / "a.txt").write_bytes(text.encode(encoding))
    assert regrade.gather(assignment, tmp_path / "files") == (1, [])
    assert regrade.rows(assignment)[0]["why"] == "größer\nzweite Zeile"
