"""The code is formatted, free of common mistakes, and its public packages fit their types: what `make lint` checks."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["ruff", "format", "--check", "."], id="format"),
        pytest.param(["ruff", "check", "."], id="check"),
        pytest.param(["mypy"], id="types", marks=pytest.mark.slow),
    ],
)
def test_the_code_passes(arguments):
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, f"run: make format, make lint\n{done.stdout[-3000:]}{done.stderr}"


def test_hooks_before_a_commit_run_the_same_tools():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for tool in ("ruff format", "ruff check", "mypy"):
        assert f"python -m {tool}" in hooks and f"python -m {tool}" in makefile
