"""Notebooks in a real JupyterLab and a real browser.

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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
PATIENCE = 60_000 * float(os.environ.get("VLMCOURSE_PATIENCE", 1))  # milliseconds
TOKEN = "letmein"
NOISE = ("favicon", "webpack", "ResizeObserver")
"""What JupyterLab itself says on the console, with or without us."""
RAN = """() => {
  const prompts = [...document.querySelectorAll('.jp-CodeCell')].filter(one => one.querySelector('.cm-content')?.innerText.trim())
    .map(one => one.querySelector('.jp-InputPrompt').innerText);
  return [prompts.filter(one => /\\[\\d+\\]/.test(one)).length, prompts.length];
}"""
DONE = f"() => {{ const [ran, all] = ({RAN})(); return ran === all || !!document.querySelector('[data-mime-type$=\"jupyter.error\"]') }}"
ERROR = '[data-mime-type$="jupyter.error"]'


@contextmanager
def serving(command: Sequence[str], folder: Path, **environment: str) -> Iterator[str]:
    """A Jupyter server in a process of its own, from its first answer on. Gives its address.

    command  starts the server, but for its port: that goes where it says PORT
    """
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(folder / ".jupyter"),
        "PYTHONPATH": str(ROOT),
        **environment,
    }
    server = subprocess.Popen(
        [part.replace("PORT", str(port)) for part in command],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address, until = f"http://127.0.0.1:{port}", time.monotonic() + 3 * PATIENCE / 1000
    try:
        while True:
            try:
                urllib.request.urlopen(address + "/api", timeout=5).read()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(
                        "Jupyter did not start; try: vlmcourse lab --no-browser"
                    ) from None
                time.sleep(0.3)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def settings(folder: Path) -> dict[str, str]:
    """Environment of a JupyterLab for tests, with its settings in a folder: every cell is drawn and stays, and no news."""
    # By default cells out of sight are taken off the page, and their pictures with them.
    for name, text in {
        "notebook-extension/tracker": '{"windowingMode": "none"}',
        "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
    }.items():
        file = folder / ".settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    return {
        "JUPYTERLAB_SETTINGS_DIR": str(folder / ".settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / ".spaces"),
    }


@contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """JupyterLab on a folder, on this machine alone. Gives its address."""
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--port=PORT",
        f"--notebook-dir={folder}",
        f"--IdentityProvider.token={TOKEN}",
        "--LabApp.news_url=None",
    ]
    with serving(command, folder, **settings(folder)) as address:
        yield address


@contextmanager
def page_of(address: str, path: str) -> Iterator:
    """A notebook of a server in a browser, ready to run. `page.said` holds the console's errors from then on."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1280, "height": 1400})
        page.set_default_timeout(PATIENCE)
        page.said = []
        page.on(
            "console",
            lambda one: (
                page.said.append(one.text)
                if one.type == "error"
                and not any(word in one.text + str(one.location) for word in NOISE)
                else None
            ),
        )
        page.on("pageerror", lambda one: page.said.append(str(one)))
        page.goto(f"{address}/lab/tree/{path}?reset&token={TOKEN}")
        page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell")
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        page.said.clear()  # what is said while JupyterLab starts is not ours
        yield page
        chromium.close()


def run_all(page, rounds: float = 5) -> None:
    """Runs all cells. rounds: how long they may take, in units of PATIENCE."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    until = time.monotonic() + rounds * PATIENCE / 1000
    while not page.evaluate(DONE) and time.monotonic() < until:
        page.wait_for_timeout(500)


def put_bare(notebook: Path, folder: Path) -> None:
    """Copies a notebook into a folder, without outputs: nothing that ran before may look like what runs now."""
    import nbformat

    bare = nbformat.read(notebook, as_version=4)
    for cell in bare.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(bare, folder / notebook.name)


@contextmanager
def opened(notebook: Path = ROOT / "notebooks" / "explorers.ipynb", rounds: float = 5):
    """The notebook in a browser with all cells run. Gives the page; see page_of and run_all."""
    with TemporaryDirectory() as place, jupyterlab(Path(place)) as address:
        put_bare(notebook, Path(place))
        with page_of(address, notebook.name) as page:
            run_all(page, rounds)
            yield page


def end_kernels(page, address: str) -> None:
    """Ends all kernels of a server, so that the next notebook has the memory."""
    sessions, token = f"{address}/api/sessions", {"token": TOKEN}
    for one in page.request.get(sessions, params=token).json():
        page.request.delete(f"{sessions}/{one['id']}", params=token)


def finished(page) -> tuple[int, int, list[str]]:
    """(cells that ran, cells with code, what cells raised)."""
    ran, all_ = page.evaluate(RAN)
    return ran, all_, [one.inner_text()[-300:] for one in page.locator(ERROR).all()]
