"""The explorers' notebook in a real JupyterLab and a real browser: run, moved, typed into, measured.

Needs chromium and playwright.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 60_000 * float(os.environ.get("VLMCOURSE_PATIENCE", 1))  # milliseconds
NOISE = ("favicon", "webpack", "ResizeObserver")
"""What JupyterLab itself says on the console, with or without us."""
WAIT = """async ([cell, before, patience]) => {
  const start = performance.now(), now = () => cell.querySelector('.widget-html img').src;
  while (now() === before && performance.now() - start < patience) await new Promise(requestAnimationFrame);
  return now() !== before;
}"""
PICTURE = ".widget-html img"


@contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """JupyterLab on a folder, without token, on this machine alone. Gives its address."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(folder / ".jupyter"), "PYTHONPATH": str(ROOT),
                   "JUPYTERLAB_SETTINGS_DIR": str(folder / ".settings"), "JUPYTERLAB_WORKSPACES_DIR": str(folder / ".spaces")}
    # Every cell is drawn, and stays: by default those out of sight are taken off the page, and their pictures with them.
    settings = folder / ".settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"windowingMode": "none"}')
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", f"--notebook-dir={folder}",
               "--IdentityProvider.token=letmein", "--LabApp.news_url=None"]
    server = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              start_new_session=True)
    address, until = f"http://127.0.0.1:{port}", time.monotonic() + 3 * PATIENCE / 1000
    try:
        while True:
            try:
                urllib.request.urlopen(address + "/api", timeout=5).read()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("JupyterLab did not start; try: vlmcourse lab --no-browser") from None
                time.sleep(0.3)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


@contextmanager
def opened(notebook: Path = ROOT / "notebooks" / "explorers.ipynb"):
    """The notebook in a browser with all cells run. Gives the page; `page.said` holds the console's errors."""
    from playwright.sync_api import sync_playwright

    with TemporaryDirectory() as place, jupyterlab(Path(place)) as address, sync_playwright() as play:
        shutil.copyfile(notebook, Path(place) / "explorers.ipynb")
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1280, "height": 1400})
        page.set_default_timeout(PATIENCE)
        page.said = []
        page.on("console", lambda one: page.said.append(one.text) if one.type == "error"
                and not any(word in one.text + str(one.location) for word in NOISE) else None)
        page.on("pageerror", lambda one: page.said.append(str(one)))
        page.goto(f"{address}/lab/tree/explorers.ipynb?reset&token=letmein")
        page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell")
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        page.said.clear()  # what is said while JupyterLab starts is not ours
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        until = time.monotonic() + 5 * PATIENCE / 1000
        while len(explorers(page)) < 8 and time.monotonic() < until:
            page.wait_for_timeout(500)
        yield page
        chromium.close()


def explorers(page) -> dict:
    """{name: the cell's locator} of the explorers that are on the page, by the function that the cell calls."""
    found = {}
    for cell in page.locator(f".jp-CodeCell:has({PICTURE})").all():
        text = cell.locator(".jp-InputArea-editor").inner_text()
        names = [word.split("(")[0] for word in text.replace("\n", " ").split("explorers.")[1:]]
        if names:
            found[[name for name in names if name != "gallery"][-1]] = cell
    return found


def pressed(page, cell, handle, key: str = "ArrowRight") -> float | None:
    """Milliseconds from a key press on a slider's handle to another picture; None if the picture stays the same."""
    before = cell.locator(PICTURE).get_attribute("src")
    handle.focus()
    start = time.perf_counter()
    page.keyboard.press(key)
    return 1000 * (time.perf_counter() - start) if page.evaluate(WAIT, [cell.element_handle(), before, 2000]) else None


def sliders(cell) -> list[tuple[str, object]]:
    """(description, handle) of each slider of a cell."""
    return [(one.locator(".widget-label").first.inner_text(), one.locator(".noUi-handle").first)
            for one in cell.locator(".widget-slider").all()]


def measured() -> dict[str, dict[str, float]]:
    """{explorer: {slider: milliseconds to a new picture}}, of the sliders that change it in the view that is shown first."""
    with opened() as page:
        return {name: {label: ms for label, handle in sliders(cell) if (ms := pressed(page, cell, handle)) is not None}
                for name, cell in explorers(page).items()}
