"""The course's tests, as CI runs them: `python tests/run.py` (all) or `python tests/run.py --fast` (minutes).

All: every test, then every notebook at scale smoke. Fast: the tests that aren't marked `slow`.

Notebooks run as a user has them who has no clone: each a file by itself in an empty folder, beside the course as a wheel
installs it.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTEST = [sys.executable, "-m", "pytest", "-q", "-n", "2"]
TESTS = ["tests", "grader/tests"]
SETTINGS = {
    "VLMCOURSE_SCALE": "smoke",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}


def install(folder: Path) -> None:
    """Installs the course's wheel into a folder, without what it depends on. It is built from a copy: nothing old is in it."""
    of_the_root, anywhere = (
        {"build", "runs", "my_work"},
        shutil.ignore_patterns(".*", "__pycache__"),
    )

    def ignored(of: str, names: list[str]) -> set[str]:
        return anywhere(of, names) | (of_the_root & set(names) if Path(of) == ROOT else set())

    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(ROOT, Path(place, "course"), ignore=ignored)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        alone = ["--no-deps", "--target", str(folder)]
        if (
            importlib.util.find_spec("setuptools")
            and int(version("setuptools").split(".")[0]) >= 77
        ):
            alone.append("--no-build-isolation")  # then nothing is downloaded
        subprocess.run([*pip, *alone, str(Path(place, "course"))], check=True)


def run_tests(environment: dict[str, str], fast: bool, arguments: list[str]) -> int:
    """The tests, or only the fast ones; `arguments` go to pytest. Returns the exit status."""
    chosen = ["-m", "not slow"] if fast else []
    command = [*PYTEST, "--dist", "worksteal", *chosen, *(arguments or TESTS)]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


def run_notebooks(environment: dict[str, str]) -> int:
    """Every lesson and every assignment's solution, alone in a folder beside an installed wheel. Returns the exit status."""
    notebooks = [*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("assignments/*/solution/*.ipynb")]
    with tempfile.TemporaryDirectory() as wheel, tempfile.TemporaryDirectory() as folder:
        install(Path(wheel))
        names = sorted(shutil.copy(path, folder) for path in notebooks)
        nbval = ["--nbval-lax", "--nbval-cell-timeout=600", "--dist", "loadfile"]
        environment = {**environment, "PYTHONPATH": wheel}
        where = [sys.executable, "-c", "import vlmcourse; print(vlmcourse.__file__)"]
        found = subprocess.run(where, cwd=folder, env=environment, capture_output=True, text=True)
        if not found.stdout.startswith(wheel):
            print(f"The notebooks would import {found.stdout}{found.stderr}, not the wheel.")
            return 1
        return subprocess.run([*PYTEST, *nbval, *names], cwd=folder, env=environment).returncode


def main() -> int:
    """Run them; the exit status is the first one that isn't zero."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="only what isn't marked slow")
    known, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, **SETTINGS, "VLMCOURSE_CACHE": cache}
        status = run_tests(environment, known.fast, arguments)
        return status if status or known.fast else run_notebooks(environment)


if __name__ == "__main__":
    sys.exit(main())
