"""The tests of parts and papers with the newest and the lowest versions that pyproject.toml allows: `python tests/matrix.py`.

For each Python that this machine has, and each end of the ranges, an environment of its own in build/matrix. Needs uv and the
package index; half an hour and 3 GB.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
ENDS = {"newest": "highest", "lowest": "lowest-direct"}
TESTS = [
    f"tests/test_{name}.py"
    for name in (
        "attention bert blip blip2 blip_tasks checkpoints clip flamingo frozen generation language layers llava losses "
        "masks momentum perceiver tuning vilbert vision vlbert"
    ).split()
]


def interpreter(version: str) -> str | None:
    """A Python of that version on this machine."""
    found = subprocess.run(
        [sys.executable, "-m", "uv", "python", "find", "--no-python-downloads", version],
        capture_output=True,
        text=True,
    )
    return found.stdout.strip() or None


def run(version: str, end: str, torch: str | None) -> str:
    """What became of one environment: 'passed', or where it stopped."""
    folder = ROOT / "build" / "matrix" / f"{version}-{end}"
    shutil.rmtree(folder, ignore_errors=True)
    uv = [sys.executable, "-m", "uv"]
    made = subprocess.run([*uv, "venv", "--quiet", "--python", interpreter(version), folder])
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    what = [f"{ROOT}[test]", *([f"torch=={torch}"] if torch else [])]
    install = [*uv, "pip", "install", "--quiet", "--python", python, "--resolution", ENDS[end]]
    if made.returncode or subprocess.run([*install, *what], cwd=ROOT).returncode:
        return "could not be installed"
    pytest = [python, "-m", "pytest", "-q", "-n", "1", "-p", "no:cacheprovider", *TESTS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return "failed" if subprocess.run(pytest, cwd=ROOT, env=environment).returncode else "passed"


def main() -> int:
    """Run all; prints one line for each; the exit status is 1 if one did not pass."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", action="append", help="one version; may be given again")
    parser.add_argument("--end", choices=ENDS, action="append", help="one end of the ranges")
    parser.add_argument("--torch", help="a version of torch, for an index that has no other")
    chosen = parser.parse_args()
    results = {}
    found = {version: interpreter(version) for version in chosen.python or PYTHONS}
    if missing := [version for version in chosen.python or () if not found[version]]:
        parser.error(f"no Python {', '.join(missing)} on this machine's search path")
    for version in filter(found.get, found):
        for end in chosen.end or ENDS:
            results[f"{version} {end}"] = run(version, end, chosen.torch)
    print("\n".join(f"{name}: {result}" for name, result in results.items()))
    return int(set(results.values()) != {"passed"})


if __name__ == "__main__":
    sys.exit(main())
