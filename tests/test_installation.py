"""Set-up without make: one module that needs Python alone, its decisions, and what it says when it can't go on."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vlmcourse import installation

ROOT = Path(__file__).parents[1]


def test_set_up_imports_nothing_but_the_standard_library():
    for path in ("vlmcourse/installation.py", "vlmcourse/__init__.py"):
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        run = tree.body if path.endswith("__init__.py") else list(ast.walk(tree))  # at import; ever
        names = {alias.name for node in run if isinstance(node, ast.Import) for alias in node.names}
        names |= {str(node.module) for node in run if isinstance(node, ast.ImportFrom)}
        assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


@pytest.mark.parametrize(
    "system, driver, index",
    [
        ("Linux", False, installation.CPU_WHEELS),
        ("Linux", True, None),
        ("Darwin", False, None),
        ("Windows", False, None),
    ],
)
def test_torch_comes_without_gpu_libraries_where_no_driver_could_use_them(
    monkeypatch, system, driver, index
):
    monkeypatch.delenv("VLMCOURSE_TORCH_INDEX", raising=False)
    assert installation.torch_index(system, driver) == index
    monkeypatch.setenv("VLMCOURSE_TORCH_INDEX", "https://example.org/simple")
    assert installation.torch_index(system, driver) == "https://example.org/simple"
    monkeypatch.setenv("VLMCOURSE_TORCH_INDEX", "")
    assert installation.torch_index(system, driver) is None


def test_an_old_python_and_one_without_venv_are_refused_in_words():
    assert "3.10 is too old: Python 3.11" in installation.obstacle((3, 10))
    assert "python3-venv" in installation.obstacle((3, 12), find=lambda name: name != "ensurepip")
    assert installation.obstacle((3, 12), find=lambda name: True) is None


def test_a_changed_lock_asks_for_set_up_again(tmp_path):
    (tmp_path / "requirements.lock").write_text(
        "torch==2.13.0 ; sys_platform == 'linux'\n", encoding="utf-8"
    )
    assert installation.locked("torch", tmp_path) == "torch==2.13.0 ; sys_platform == 'linux'"
    python = installation.environment_python(tmp_path)
    python.parent.mkdir(parents=True)
    python.write_text("")
    assert not installation.is_set_up(tmp_path)
    (tmp_path / ".venv" / ".installed").write_text(
        installation.fingerprint(tmp_path), encoding="utf-8"
    )
    assert installation.is_set_up(tmp_path)
    (tmp_path / "requirements.lock").write_text("torch==2.14.0\n", encoding="utf-8")
    assert not installation.is_set_up(tmp_path)


def test_outside_a_clone_set_up_says_where_it_runs(tmp_path, capsys):
    assert installation.start(["setup"], tmp_path) == 2
    assert "a clone of the course" in capsys.readouterr().err


def test_a_python_without_the_packages_starts_the_clone_s_own(tmp_path):
    """A copy of the course's three first files, whose environment is a script that says what it was asked."""
    course = tmp_path / "vlmcourse"
    course.mkdir()
    for name in ("__init__.py", "__main__.py", "installation.py"):
        (course / name).write_text(
            (ROOT / "vlmcourse" / name).read_text(encoding="utf-8"), encoding="utf-8"
        )
    (tmp_path / "requirements.lock").write_text("torch==2.13.0\n", encoding="utf-8")
    python = installation.environment_python(tmp_path)
    if os.name == "nt":
        pytest.skip("a script can't take the place of python.exe")
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "asked: $*"\nexit 3\n')
    python.chmod(0o755)
    (tmp_path / ".venv" / ".installed").write_text(
        installation.fingerprint(tmp_path), encoding="utf-8"
    )
    command = [
        sys.executable,
        "-S",
        "-m",
        "vlmcourse",
        "lab",
        "--no-browser",
    ]  # -S: no packages beside the library
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (3, "asked: -m vlmcourse lab --no-browser\n"), (
        done.stderr
    )
