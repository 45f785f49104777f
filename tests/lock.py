"""requirements.lock: `python tests/lock.py` makes it from pyproject.toml, `--check` resolves it for each system.

Both need uv and the network, because the lock holds for other systems and Pythons than the one that runs this.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
HEAD = """\
# The exact set that CI runs: pip install -r requirements.lock. `make lock` makes it from pyproject.toml for all systems.
# torch's own packages for NVIDIA GPUs are left out: torch pins them itself, and its CPU build needs none.
"""
LEFT_OUT = re.compile(r"(nvidia|cuda|triton|setuptools)\b|.*sys_platform == 'emscripten'")
SYSTEMS = ("x86_64-manylinux_2_28", "aarch64-apple-darwin", "x86_64-pc-windows-msvc")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
COMPILE = ["uv", "pip", "compile", "--quiet", "--no-annotate", "--no-header"]


def uv(*arguments: str) -> subprocess.CompletedProcess:
    """uv, on any system; torch's wheels for Apple silicon need macOS 14."""
    environment = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"}
    command = [sys.executable, "-m", *COMPILE, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def make() -> str:
    """The text of a new lock: torch as now, everything else the newest that fits."""
    torch = re.search(r"^torch==\S+", LOCK.read_text(encoding="utf-8"), re.M)
    assert torch, "requirements.lock has no line for torch"
    constraint = ROOT / "build" / "constraint.txt"
    constraint.parent.mkdir(exist_ok=True)
    constraint.write_text(torch[0] + "\n", encoding="utf-8")
    extras = [
        "--extra",
        "test",
        "--extra",
        "docs",
        "--extra",
        "pretrained",
        "--universal",
        "--python-version",
        "3.11",
    ]
    done = uv("pyproject.toml", *extras, "--constraint", str(constraint))
    if done.returncode:
        sys.exit(done.stderr)
    lines = [line for line in done.stdout.splitlines() if not LEFT_OUT.match(line)]
    return HEAD + "\n".join(lines) + "\n"


def failures() -> list[str]:
    """The systems and Pythons for which the lock has no wheels, each with uv's reason."""
    found = []
    for system in SYSTEMS:
        for python in PYTHONS:
            where = ["--python-platform", system, "--python-version", python]
            done = uv("requirements.lock", *where, "--only-binary", ":all:")
            print(system, python, "fails" if done.returncode else "resolves", flush=True)
            if done.returncode:
                found.append(f"{system} {python}: {done.stderr}")
    return found


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit("\n".join(failures()) or None)
    LOCK.write_text(make(), encoding="utf-8")
