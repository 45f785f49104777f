"""The command line answers at once, reads well, and never shows a traceback for a learner's mistake."""

import subprocess
import sys
import time

import pytest

from vlmcourse import doctor

VLMCOURSE = [sys.executable, "-m", "vlmcourse"]


def seconds(command: list[str]) -> tuple[float, str]:
    """The best of three, as a busy machine makes any single one slow."""
    best, output = 60.0, ""
    for _ in range(3):
        start = time.perf_counter()
        output = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=True
        ).stdout
        best = min(best, time.perf_counter() - start)
    return best, output


def test_help_and_import_take_less_than_a_second():
    assert seconds([sys.executable, "-c", "import vlmcourse"])[0] < 1
    took, output = seconds([*VLMCOURSE, "--help"])
    assert took < 1
    for name in ("doctor", "lab", "run", "build", "train"):
        assert name in output


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
        [*VLMCOURSE, name, "--help"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert all(word in output for word in words)


def test_mistakes_get_one_message(tmp_path):
    done = subprocess.run(
        [*VLMCOURSE, "run", "nothing"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert (
        done.stderr
        == "vlmcourse: no lesson 'nothing'; there are 01_attention_and_masks, 02_clip, 03_vilbert, 04_language_model, 05_frozen, 06_blip, 07_blip2, 08_flamingo, 09_side_by_side, 10_real_weights.\n"
    )
    done = subprocess.run(
        [*VLMCOURSE, "train", "clip", "--scale", "huge"], capture_output=True, text=True, timeout=60
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
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert not doctor.compiler().fine and not doctor.compiler().needed
