"""In a real browser: formgrader with a hostile answer, a student's feedback page, and a student's notebook in JupyterLab.

Needs chromium (apt-get install chromium) and playwright (pip install playwright); without them these tests are skipped.
"""

import os
import sys
import time
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("nbgrader", reason="grading needs nbgrader: pip install 'vlmgrader[grading]'")
sync = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
sys.path.insert(0, str(Path(__file__).parent))
import small_course as small  # noqa: E402
from browser import CHROMIUM, PATIENCE, serving  # noqa: E402

from vlmgrader import batch, sandbox  # noqa: E402
from vlmgrader.feedback import feedback  # noqa: E402
from vlmgrader.report import report  # noqa: E402

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no browser: apt-get install chromium"),
    pytest.mark.skipif(
        sandbox.trouble() is not None, reason=f"no sandbox can be made here: {sandbox.trouble()}"
    ),
]
EVIL = (
    "<script>document.title='HARMED'</script>because $a<b$ <img src=x onerror=\"document.title='HARMED'\"> "
    "[link](javascript:document.title='HARMED')"
)
SHOWS = (
    "from IPython.display import HTML, Javascript, display\n"
    "display(HTML('<b>bold</b><script>document.title=\"HARMED\"</script>'), Javascript('document.title=\"HARMED\"'))\n"
)


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    assignment = small.course(tmp_path_factory.mktemp("class"), ["anna"], seconds=30)
    small.hand_in(
        assignment,
        "anna",
        small.notebook({**small.ANSWERS, "plus": SHOWS + small.ANSWERS["plus"]}, why=EVIL),
    )
    [outcome] = batch.run(batch.Plan(assignment), ["anna"])
    assert outcome["score"] == 6
    return assignment


@pytest.fixture(scope="module")
def page():
    with sync.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        made = browser.new_page(extra_http_headers={"Authorization": "token letmein"})
        made.set_default_timeout(PATIENCE)
        made.alerts = []
        made.on("dialog", lambda dialog: (made.alerts.append(dialog.message), dialog.dismiss()))
        yield made
        browser.close()


ROOT = ["--allow-root"] if os.geteuid() == 0 else []


def jupyter(folder: Path, *command: str):
    """A Jupyter server in this folder. Gives its address."""
    return serving(
        [sys.executable, "-m", *command],
        folder,
        JUPYTER_TOKEN="letmein",
        JUPYTER_DATA_DIR=str(folder / ".data"),
        PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    )


def formgrader(folder: Path):
    """As `vlmgrader manual` starts it."""
    manual = ("vlmgrader", "manual", "--no-browser", "--port", "PORT", "--course", str(folder))
    return jupyter(folder, *manual, "--assignments", str(folder.parent / "assignments"))


def unharmed(page) -> bool:
    page.wait_for_timeout(500)
    return page.title() != "HARMED" and not page.alerts


def test_a_human_grades_in_formgrader_and_a_hostile_answer_does_nothing(graded, page):
    from vlmgrader.gradebook import scores

    with formgrader(graded.course.folder) as address:
        page.goto(f"{address}/formgrader/gradebook/{small.NAME}/{small.NAME}?token=letmein")
        page.get_by_role("link", name="Submission #1").click()
        page.wait_for_selector("input.score")
        assert unharmed(page) and "because" in page.content()
        assert page.locator("text=right.").count() >= 1, "the grader's findings"
        box = page.locator("input.score#why")
        box.fill("2.5")
        box.press("Tab")
        until = time.monotonic() + PATIENCE / 1000
        while scores(graded, "anna")["score"] != 8.5 and time.monotonic() < until:
            page.wait_for_timeout(200)
    assert scores(graded, "anna") == {
        "score": 8.5,
        "max_score": 9.0,
        "late_penalty": 0,
        "needs_manual_grade": False,
    }


def test_formgraders_autograde_button_runs_in_our_sandbox(graded, page):
    """Clicked in a real browser for a failed submission: nothing of it runs with the instructor's rights."""
    harm = graded.course.folder.parent / "HARM"
    small.hand_in(graded, "anna", small.notebook({"plus": f"open({str(harm)!r}, 'w')"}))
    with formgrader(graded.course.folder) as address:
        page.goto(f"{address}/formgrader/manage_submissions/{small.NAME}?token=letmein")
        page.locator(".autograde a").first.click()
        page.get_by_text("Success").first.wait_for()
    assert not harm.exists()
    small.hand_in(
        graded,
        "anna",
        small.notebook({**small.ANSWERS, "plus": SHOWS + small.ANSWERS["plus"]}, why=EVIL),
    )
    [outcome] = batch.run(batch.Plan(graded), ["anna"])
    assert outcome["status"] == "graded"


def test_feedback_and_class_report_show_scores_and_do_nothing(graded, page):
    assert feedback(graded) == {"anna": ""}
    page.goto(
        (graded.course.folder_for("feedback", small.NAME, "anna") / f"{small.NAME}.html").as_uri()
    )
    assert unharmed(page)
    text = page.inner_text("body")
    assert (
        "PASS  1 of 1  adds one: right." in text
        and "because" in text
        and page.locator("b", has_text="bold").count() == 1
    )
    page.goto(report(graded).as_uri())
    assert unharmed(page) and page.locator("img").count() >= 2
    assert all(page.evaluate("[...document.images].map(image => image.naturalWidth > 100)"))


def test_a_students_notebook_opens_and_checks_itself_in_jupyterlab(graded, page):
    folder = graded.course.folder
    handout = nbformat.read(
        graded.course.folder_for("release", small.NAME) / f"{small.NAME}.ipynb", 4
    )
    nbformat.write(handout, folder / "mine.ipynb")
    with jupyter(folder, "jupyterlab", "--no-browser", "--port=PORT", *ROOT) as address:
        page.goto(f"{address}/lab/tree/mine.ipynb?reset&token=letmein")
        page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell")
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        assert "yours to write" in page.inner_text(
            ".jp-NotebookPanel"
        ) or "YOUR CODE HERE" in page.inner_text(".jp-NotebookPanel")
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.locator(".jp-OutputArea-output", has_text="check").first.wait_for()
