"""Which tests run when: slow ones are left out of the fast tier, and in CI nothing is skipped that should run."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import run

CONFTEST = Path(__file__).with_name("conftest.py")
specification = importlib.util.spec_from_file_location(
    "rules", CONFTEST
)  # the grader has another conftest
rules = importlib.util.module_from_spec(specification)
specification.loader.exec_module(rules)
TESTS = """import pytest


def test_quick():
    pass


@pytest.mark.skip(reason="{reason}")
def test_skipped():
    pass
"""


def session(
    folder: Path, reason: str, *options: str, **settings: str
) -> subprocess.CompletedProcess:
    """pytest on a small folder of tests with this folder's conftest."""
    (folder / "slow").mkdir(parents=True, exist_ok=True)
    (folder / "conftest.py").write_text(CONFTEST.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = slow: minutes\n")
    (folder / "test_one.py").write_text(TESTS.format(reason=reason))
    (folder / "slow" / "test_two.py").write_text("def test_slow():\n    pass\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *options,
        str(folder),
    ]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("VLMCOURSE_")
    }
    return subprocess.run(
        command, capture_output=True, text=True, env={**environment, **settings}, cwd=folder
    )


@pytest.mark.parametrize(
    "reason, settings, fails",
    [
        ("no sandbox can be made here: none", {}, True),
        ("needs open-flamingo: make bench", {}, False),
        ("no browser: apt-get install chromium", {}, False),
        ("no browser: apt-get install chromium", {"VLMCOURSE_BROWSER": "1"}, True),
    ],
)
def test_only_listed_reasons_for_skipping_are_expected(reason, settings, fails):
    assert rules.unexpected([reason, reason], settings) == [reason] * fails


@pytest.mark.slow
def test_the_fast_tier_leaves_out_what_is_slow_and_ci_fails_where_something_is_skipped(tmp_path):
    reason = "no sandbox can be made here"
    assert "2 passed, 1 skipped" in session(tmp_path, reason).stdout
    done = session(tmp_path, reason, "-m", "not slow", VLMCOURSE_NO_SKIPS="1")
    assert "1 passed, 1 skipped, 1 deselected" in done.stdout
    assert done.returncode == 1 and f"it should have run: {reason}\n" in done.stdout


@pytest.fixture
def called(monkeypatch):
    """Commands that were to be run; asked where the course is, Python says: in the folder of the wheel."""
    commands = []

    def record(command, **options):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, options.get("env", {}).get("PYTHONPATH"), "")

    monkeypatch.setattr(subprocess, "run", record)
    return commands


def test_all_tests_are_run_and_the_fast_tier_leaves_out_slow_ones(called):
    assert run.run_tests({}, fast=True, arguments=[]) == 0
    assert run.run_tests({}, fast=False, arguments=[]) == 0
    fast, everything = called
    assert "not slow" in fast and "not slow" not in everything
    assert {"tests", "grader/tests"} <= set(fast) & set(everything)


def test_all_notebooks_are_run_by_themselves_beside_the_wheel(called, monkeypatch):
    monkeypatch.setattr(run, "install", lambda folder: called.append(folder))
    assert run.run_notebooks({}) == 0
    names = {Path(name).name for name in called[-1] if name.endswith(".ipynb")}
    assert {path.name for path in (run.ROOT / "notebooks").glob("*.ipynb")} <= names
    assert {path.name for path in run.ROOT.glob("assignments/*/solution/*.ipynb")} <= names
    assert not any(str(run.ROOT) in name for name in called[-1] if name.endswith(".ipynb"))


def test_notebooks_that_would_import_the_clone_are_not_run(called, monkeypatch, capsys):
    monkeypatch.setattr(run, "install", lambda folder: None)
    clone = subprocess.CompletedProcess([], 0, "clone/vlmcourse/__init__.py", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: clone)
    assert run.run_notebooks({}) == 1
    assert "would import clone/vlmcourse" in capsys.readouterr().out


@pytest.mark.slow
def test_the_wheel_carries_the_lessons_and_no_answer(tmp_path):
    run.install(tmp_path / "wheel")
    settings = {**os.environ, "PYTHONPATH": str(tmp_path / "wheel")}
    command = [sys.executable, "-m", "vlmcourse"]
    (tmp_path / "student").mkdir()

    def output(*arguments):
        done = subprocess.run(
            [*command, *arguments],
            cwd=tmp_path / "student",
            env=settings,
            capture_output=True,
            text=True,
        )
        return done.stdout + done.stderr

    assert "new " in output("update") and "01_attention" in output("run", "no such lesson")
    work = tmp_path / "student" / "my_work"
    lessons = {path.name for path in (run.ROOT / "notebooks").glob("*.ipynb")}
    assert lessons <= {path.name for path in work.glob("*.ipynb")}
    assert (work / "assignments" / "A1_masks" / "A1_masks.ipynb").exists()
    wheel = tmp_path / "wheel" / "vlmcourse"
    assert (wheel / "assignments" / "shown" / "runs" / "clip.json").exists()
    assert list(wheel.glob("shipped/*.safetensors")) and list(wheel.glob("jupyter/**/*.json"))
    material = {path.name for path in (wheel / "material" / "assignments").rglob("*")}
    assert not material & {"master.py", "checks.py", "mutants.py", "solution", "source"}
    size = sum(path.stat().st_size for path in (tmp_path / "wheel").rglob("*") if path.is_file())
    assert size < 60e6
