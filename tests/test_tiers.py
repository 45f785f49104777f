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


def test_all_tests_and_all_notebooks_are_run_and_the_fast_tier_runs_neither_slow_ones_nor_notebooks():
    (fast,) = run.commands(fast=True, arguments=[])
    everything, notebooks = run.commands(fast=False, arguments=[])
    assert "not slow" in fast and "not slow" not in everything
    assert {"tests", "grader/tests"} <= set(fast) & set(everything)
    assert {f"notebooks/{path.name}" for path in (run.ROOT / "notebooks").glob("*.ipynb")} <= set(
        notebooks
    )
