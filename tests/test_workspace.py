"""Students work on copies: nothing of the course changes, and nothing of theirs is lost."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

from vlmcourse import workspace

ROOT = Path(__file__).parents[1]


def write(path: Path, *texts: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [nbformat.v4.new_code_cell(text, id=f"c{place}") for place, text in enumerate(texts)]
    heading = nbformat.v4.new_markdown_cell(f"# {path.stem} · a title", id="head")
    nbformat.write(nbformat.v4.new_notebook(cells=[heading, *cells]), path)


@pytest.fixture
def course(tmp_path):
    write(tmp_path / "notebooks" / "01_masks.ipynb", "1 + 1")
    write(tmp_path / "notebooks" / "02_clip.ipynb", "2 + 2")
    write(tmp_path / "assignments" / "A1_masks" / "student" / "A1_masks.ipynb", "3 + 3")
    return tmp_path


def outcome(course: Path, update: bool = False) -> dict[str, str]:
    return {
        copied.path.name: copied.what
        for copied in workspace.prepare(course, course / "my_work", update=update)
    }


def test_the_first_time_everything_is_copied_and_the_start_page_links_it(course):
    assert set(outcome(course).values()) == {"new"}
    assert set(outcome(course).values()) == {"same"}
    text = nbformat.read(course / "my_work" / workspace.START, 4).cells[0].source
    for link in (
        "[01_masks · a title](01_masks.ipynb)",
        "(02_clip.ipynb)",
        "(assignments/A1_masks/A1_masks.ipynb)",
    ):
        assert link in text


def test_an_update_replaces_what_was_only_opened_and_keeps_what_was_changed(course):
    outcome(course)
    opened, changed = (course / "my_work" / name for name in ("01_masks.ipynb", "02_clip.ipynb"))
    notebook = nbformat.read(opened, 4)
    notebook.metadata["language_info"] = {
        "name": "python",
        "version": "3.12.0",
    }  # what JupyterLab adds
    nbformat.write(notebook, opened)
    write(changed, "2 + 2", "my_answer = 4")
    write(course / "notebooks" / "01_masks.ipynb", "1 + 1 + 1")
    write(course / "notebooks" / "02_clip.ipynb", "2 + 2 + 2")
    assert outcome(course) == {
        "01_masks.ipynb": "same",
        "02_clip.ipynb": "same",
        "A1_masks.ipynb": "same",
    }
    assert outcome(course, update=True)["01_masks.ipynb"] == "updated"
    assert "my_answer" in changed.read_text(encoding="utf-8")
    assert "2 + 2 + 2" in changed.with_suffix(".new.ipynb").read_text(encoding="utf-8")
    assert outcome(course, update=True) == {
        "01_masks.ipynb": "same",
        "02_clip.ipynb": "same",
        "A1_masks.ipynb": "same",
    }


def test_a_new_lesson_comes_with_an_update(course):
    outcome(course)
    write(course / "notebooks" / "03_more.ipynb", "4")
    assert outcome(course, update=True)["03_more.ipynb"] == "new"


def test_every_lesson_and_assignment_of_this_course_is_copied():
    names = set(workspace.originals(ROOT))
    assert {path.name for path in ROOT.glob("notebooks/[0-9]*.ipynb")} <= names
    assert "assignments/A1_masks/A1_masks.ipynb" in names
    assert "my_work" in (ROOT / ".gitignore").read_text(encoding="utf-8")


def test_the_kernel_finds_the_lessons_modules_and_jupyterlab_our_settings(monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "elsewhere")
    told = workspace.environment(ROOT)
    assert told["PYTHONPATH"] == str(ROOT / "notebooks")
    settings, other = told["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    assert other == "elsewhere"
    overrides = json.loads(
        (Path(settings) / "labconfig" / "default_setting_overrides.json").read_text(
            encoding="utf-8"
        )
    )
    assert overrides["@jupyter-widgets/jupyterlab-manager:plugin"] == {"saveState": True}


@pytest.mark.slow
def test_jupyterlab_serves_lessons_and_assignments_with_our_settings(tmp_path):
    """A real server, asked as a browser asks it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port, token = free.getsockname()[1], "test"
    command = [
        *workspace.jupyterlab(ROOT / "my_work", workspace.START, port, browser=False),
        f"--IdentityProvider.token={token}",
    ]
    settings = {**os.environ, **workspace.environment(ROOT), "HOME": str(tmp_path)}
    assert command[0] == sys.executable
    server = subprocess.Popen(
        command, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def ask(address: str) -> str:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{address}", headers={"Authorization": f"token {token}"}
        )
        return urllib.request.urlopen(request, timeout=60).read().decode()

    try:
        for _ in range(600):
            try:
                ask("/api/status")
                break
            except OSError:
                assert server.poll() is None
                time.sleep(0.2)
        assert "A1_masks.ipynb" in ask("/api/contents/assignments/A1_masks/student")
        widgets = json.loads(ask("/lab/api/settings/@jupyter-widgets/jupyterlab-manager:plugin"))
        assert widgets["schema"]["properties"]["saveState"]["default"] is True
        news = json.loads(ask("/lab/api/settings/@jupyterlab/apputils-extension:notification"))
        assert news["schema"]["properties"]["fetchNews"]["default"] == "false"
        disabled = re.search(r'"disabledExtensions": \[([^]]*)\]', ask("/lab"))
        assert disabled and '"@jupyter/nbgrader"' in disabled[1]
    finally:
        server.terminate()
        server.wait(60)
