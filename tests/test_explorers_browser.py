"""In a real browser: every explorer answers keys and typing in JupyterLab, the console stays silent; axe looks at the site.

Needs chromium (apt-get install chromium) and playwright (pip install playwright); without them these tests are skipped.
"""

import importlib.util
import subprocess
import sys
import time

import pytest

pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")

from benchmarks import browser, gestures  # noqa: E402
from docs.site import build  # noqa: E402
from vlmcourse import lessons  # noqa: E402

pytestmark = pytest.mark.skipif(
    browser.CHROMIUM is None, reason="no browser: apt-get install chromium"
)


def test_every_explorer_answers_in_jupyterlab_and_the_console_is_silent():
    with browser.opened() as page:
        for module, acts in gestures.GESTURES.items():
            explorer = page.locator(f".explorer[data-module={module}]")
            for name, act in acts.items():
                assert gestures.reaction(explorer, act) is not None, f"{module}: {name}"
            for name, act in gestures.KERNEL_GESTURES.get(module, {}).items():
                ms = gestures.reaction(explorer, act, quiet=gestures.QUIET)
                said = explorer.locator(".message").all_inner_texts()
                assert ms is not None and not any(said), f"{module}: {name}: {said}"
        assert browser.finished(page)[2] == page.said == []


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    """A folder and the address of the JupyterLab that shows it."""
    folder = tmp_path_factory.mktemp("laboratory")
    with browser.jupyterlab(folder) as address:
        yield folder, address


@pytest.mark.parametrize("lesson", lessons.notebooks(), ids=lambda path: path.stem)
def test_every_lesson_runs_in_jupyterlab_and_the_console_is_silent(lesson, laboratory):
    folder, address = laboratory
    browser.put_bare(lesson, folder)
    with browser.page_of(address, lesson.name) as page:
        browser.run_all(page, rounds=10)
        ran, all_, raised = browser.finished(page)
        browser.end_kernels(page, address)
        assert not raised and ran == all_ > 10
        assert page.said == []


def test_a_saved_lesson_opens_again_on_a_new_server_and_the_clone_stays_clean(tmp_path):
    clone, path = tmp_path / "clone", "my_work/01_attention_and_masks.ipynb"
    subprocess.run(["git", "clone", "--quiet", lessons.repository(), clone], check=True)
    lab = "from vlmcourse.cli import main; main()", "lab", "01", "--no-browser", "--port", "PORT"
    command = [sys.executable, "-c", *lab]
    settings = {"PYTHONPATH": str(clone), "JUPYTER_TOKEN": browser.TOKEN}
    settings |= browser.settings(tmp_path) | {"JUPYTER_CONFIG_DIR": str(tmp_path / ".jupyter")}
    player = ".jp-CodeCell:has-text('mask_player()') img"

    with (
        browser.serving(command, clone, **settings) as address,
        browser.page_of(address, path) as page,
    ):
        browser.run_all(page, rounds=10)
        assert not browser.finished(page)[2]
        before = (clone / path).stat().st_mtime
        page.keyboard.press("Control+s")
        until = time.monotonic() + browser.PATIENCE / 1000
        while (clone / path).stat().st_mtime == before and time.monotonic() < until:
            page.wait_for_timeout(200)
        assert (clone / path).stat().st_mtime > before, "it was not saved"
        assert page.locator(player).count() == 1
    with (
        browser.serving(command, clone, **settings) as address,
        browser.page_of(address, path) as page,
    ):
        page.wait_for_timeout(2000)
        assert page.locator(player).count() == 1  # its still
        assert not page.get_by_text("Error displaying widget").count()
        assert not page.get_by_text("model not found").count()
        assert page.said == []
    status = ["git", "-C", clone, "status", "--porcelain"]
    assert subprocess.run(status, capture_output=True, text=True, check=True).stdout == ""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    from playwright.sync_api import sync_playwright

    out = tmp_path_factory.mktemp("site")
    build(lessons.repository(), out)
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=browser.CHROMIUM, args=["--no-sandbox"])
        yield out, chromium
        chromium.close()


SHOWN = (
    "index.html",
    "SYLLABUS.html",
    "docs/INSTRUCTORS.html",
    "notebooks/01_attention_and_masks.html",
    "notebooks/explorers.html",
    "reference/vlmcourse.training.html",
    "reference/vlmcourse.parts.html",
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_load_nothing_and_fit_a_phone(pages, scheme):
    out, chromium = pages
    context = chromium.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page, asked = context.new_page(), []
    page.on("request", lambda one: asked.append(one.url))
    for name in SHOWN:
        page.goto((out / name).as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
        assert page.evaluate("[...document.images].every(one => one.naturalWidth > 0)"), name
    assert all(url.startswith(("file:", "data:")) for url in asked)
    context.close()


@pytest.mark.skipif(
    importlib.util.find_spec("axe_playwright_python") is None,
    reason="no axe: pip install axe-playwright-python",
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(pages, scheme):
    from axe_playwright_python.sync_playwright import Axe

    out, chromium = pages
    context = chromium.new_context(color_scheme=scheme)
    page = context.new_page()
    for name in SHOWN:
        page.goto((out / name).as_uri())
        found = [
            (one["id"], one["nodes"][0]["html"][:120])
            for one in Axe().run(page).response["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        assert not found, (name, found)
    context.close()
