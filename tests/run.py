"""The course's tests, as CI runs them: `python tests/run.py` (all) or `python tests/run.py --fast` (minutes).

All: every test, then every notebook at scale smoke. Fast: the tests that aren't marked `slow`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
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


def commands(fast: bool, arguments: list[str]) -> list[list[str]]:
    """What is run, one after the other; `arguments` go to pytest."""
    if fast:
        return [[*PYTEST, "--dist", "worksteal", "-m", "not slow", *(arguments or TESTS)]]
    notebooks = [*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("assignments/*/solution/*.ipynb")]
    names = sorted(str(path.relative_to(ROOT)) for path in notebooks)
    nbval = ["--nbval-lax", "--nbval-cell-timeout=600", "--dist", "loadfile"]
    return [
        [*PYTEST, "--dist", "worksteal", *(arguments or TESTS)],
        [*PYTEST, *nbval, *names],
    ]


def main() -> int:
    """Run them; the exit status is the first one that isn't zero."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="only what isn't marked slow")
    known, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, **SETTINGS, "VLMCOURSE_CACHE": cache}
        for command in commands(known.fast, arguments):
            status = subprocess.run(command, cwd=ROOT, env=environment).returncode
            if status:
                return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
