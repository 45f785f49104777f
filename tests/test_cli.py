"""The command line answers at once, reads well, and never shows a traceback for a learner's mistake."""

import subprocess
import sys

import pytest

import vlmcourse
from vlmcourse import doctor, lessons

VLMCOURSE = [sys.executable, "-m", "vlmcourse"]


HEAVY = {"torch", "transformers", "matplotlib", "numpy", "IPython", "nbformat"}
LOADED = """
import sys
sys.argv = ["vlmcourse", "--help"]
from vlmcourse.cli import main
try:
    main()
except SystemExit:
    print(sorted(sys.modules))
"""


def test_help_names_the_commands_and_loads_nothing_heavy():
    """How long that takes is measured by `python -m benchmarks.startup`."""
    output = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, timeout=6000, check=True
    ).stdout
    for name in ("setup", "doctor", "lab", "run", "test", "build", "train"):
        assert name in output
    assert "'vlmcourse.cli'" in output and not [name for name in HEAVY if f"'{name}'" in output]


def test_it_says_its_version():
    output = subprocess.run(
        [*VLMCOURSE, "--version"], capture_output=True, text=True, timeout=6000, check=True
    ).stdout
    assert output == f"vlmcourse {vlmcourse.__version__}\n"


@pytest.mark.parametrize(
    "name, words",
    [
        ("doctor", ["missing"]),
        ("lab", ["--no-browser"]),
        ("run", ["clip", "laptop"]),
        ("build", ["--check"]),
        ("train", ["clip", "language"]),
        ("start", ["folder", "test"]),
    ],
)
def test_each_command_explains_itself(name, words):
    output = subprocess.run(
        [*VLMCOURSE, name, "--help"], capture_output=True, text=True, timeout=600, check=True
    ).stdout
    assert all(word in output for word in words)


def test_mistakes_get_one_message(tmp_path):
    done = subprocess.run(
        [*VLMCOURSE, "run", "nothing"], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 2
    known = ", ".join(path.stem for path in lessons.notebooks())
    assert done.stderr == f"vlmcourse: no lesson 'nothing'; there are {known}.\n"
    done = subprocess.run(
        [*VLMCOURSE, "train", "clip", "--scale", "huge"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 2 and "laptop" in done.stderr and "Traceback" not in done.stderr


def test_the_doctor_is_content_here_and_knows_what_to_do_elsewhere(monkeypatch):
    found = {check.name: check for check in doctor.checks()}
    assert {
        "python",
        "torch",
        "device",
        "cores",
        "bfloat16",
        "compiler",
        "memory",
        "disk",
        "jupyterlab_widgets",
        "artwork",
    } <= set(found)
    assert all(check.fine for check in found.values() if check.needed), [
        check for check in found.values() if not check.fine
    ]
    monkeypatch.setattr(doctor, "version", lambda name: None)
    missing = doctor.package("ipywidgets")
    assert not missing.fine and missing.advice == "Install it: pip install ipywidgets"
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert not doctor.compiler().fine and not doctor.compiler().needed


def test_a_compiler_without_pythons_header_is_no_compiler(monkeypatch, tmp_path):
    """As on Ubuntu with g++ and without python3-dev: torch.compile would fail with a page of C++."""
    if doctor.compiler_trouble():
        pytest.skip(f"there is no compiler here: {doctor.compiler_trouble()}")
    monkeypatch.setattr(doctor.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    check = doctor.compiler()
    assert not check.fine and "Python.h" in check.advice and "python3-dev" in check.advice
    assert "\n" not in check.advice
