"""One list of packages: pyproject.toml. The lock fits its ranges, and conda installs the same package."""

import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib; CI runs 3.11")
ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKED = {
    canonicalize_name(name): version
    for name, version in re.findall(
        r"^([\w.-]+)==([\w.+]+)", (ROOT / "requirements.lock").read_text(), re.M
    )
}


def test_the_lock_holds_a_fitting_version_of_every_package():
    for line in [
        *PROJECT["dependencies"],
        *(line for extra in PROJECT["optional-dependencies"].values() for line in extra),
    ]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(LOCKED[canonicalize_name(wanted.name)]), line
    assert LOCKED["torch"] == "2.13.0" and "torchvision" not in LOCKED


def test_ranges_are_loose_and_the_lock_is_exact():
    assert all(
        ">=" in line and "==" not in line and "<" not in line for line in PROJECT["dependencies"]
    )
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert all("==" in line for line in lines if line.strip() and not line.startswith(("#", "-")))


def test_conda_installs_this_package_with_its_tests_and_nothing_else():
    text = (ROOT / "environment.yml").read_text()
    assert re.findall(r"^ +- (.*)$", text, re.M) == [
        f"python{PROJECT['requires-python']}",
        "pip",
        "pip:",
        "--editable .[test]",
    ]


def test_this_python_is_one_we_claim():
    assert sys.version_info >= tuple(
        map(int, PROJECT["requires-python"].removeprefix(">=").split("."))
    )
