"""Mutation tests: change the code at random places and see whether a test notices.

    python tests/mutants.py --count 150 --seed 0                 the packages named in PACKAGES
    python tests/mutants.py --count 40 vlmcourse/parts           some files or folders only

Lines are drawn at random, and for each line one of the changes that cosmic-ray (and three operators of
`mutation_operators.py`) can make there. Each mutant runs in a copy of the repository, first against the test files
whose names begin with the module's, then, if it lives, against those that import it (without tests marked slow). One that
lives through both is a survivor: write a test that fails with it, or delete the code that it changes.
Needs cosmic-ray (`pip install -e .[dev]`); writes build/mutants.json.
"""

import argparse
import ast
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cache
from pathlib import Path
from queue import SimpleQueue

from mutation_sampling import Mutant, sample

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "vlmcourse/parts",
    "vlmcourse/papers",
    "vlmcourse/evaluation",
    "vlmcourse/training",
    "grader/vlmgrader",
)
TEST_FOLDERS = ("tests", "grader/tests")
FAST = ("-m", "not slow")
COPIED = ("vlmcourse", "grader", "tests", "notebooks", "assignments", "benchmarks", "docs")


@cache
def imports(test: Path) -> frozenset[str]:
    """The modules that a test file names in its imports, with the names it takes from them."""
    found = set()
    for node in ast.walk(ast.parse(test.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def tests_of(path: str) -> tuple[list[str], list[str]]:
    """Test files that carry a module's name; other test files that import it (or its package, if there are none)."""
    module = Path(path)
    files = [file for folder in TEST_FOLDERS for file in sorted((ROOT / folder).rglob("test_*.py"))]
    named = [file for file in files if f"{file.stem}_".startswith(f"test_{module.stem}_")]
    dotted = (
        ".".join(module.with_suffix("").parts).removeprefix("grader.").removesuffix(".__init__")
    )
    importing = [file for file in files if dotted in imports(file) and file not in named]
    if not named and not importing:
        importing = [file for file in files if dotted.rpartition(".")[0] in imports(file)]
    return relative(named), relative(importing)


def relative(files: list[Path]) -> list[str]:
    """The files as paths from the repository's root."""
    return [file.relative_to(ROOT).as_posix() for file in files]


class Copy:
    """A copy of the repository in which one mutant at a time is tried."""

    def __init__(self, folder: Path):
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        unneeded = shutil.ignore_patterns("__pycache__", "runs")
        for name in [path.name for path in ROOT.iterdir() if path.name in COPIED or path.is_file()]:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=unneeded)
            else:
                shutil.copy(ROOT / name, folder / name)

    def failing(self, tests: list[str], timeout: float, *options: str) -> str:
        """The first test that fails ('timeout' if all of them take longer than that); '' if none does."""
        if not tests:
            return ""
        paths = os.pathsep.join([str(self.folder), str(self.folder / "grader")])
        settings = {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
        pytest = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=no", "-p", "no:cacheprovider"]
        try:
            done = subprocess.run(
                [*pytest, *options, *tests],
                cwd=self.folder,
                env={**os.environ, **settings, "HF_HUB_OFFLINE": "1"},
                capture_output=True,
                text=True,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            return "timeout"
        if done.returncode in (0, 5):  # 5: all tests were deselected
            return ""
        found = re.search(r"^(?:FAILED|ERROR) ([^\s\[]+)", done.stdout, re.M)
        return found[1] if found else "pytest itself"

    def killed_by(self, mutant: Mutant, text: str, timeout: float) -> str:
        """The test that notices a mutant; '' for none."""
        path = self.folder / mutant.path
        original = path.read_text(encoding="utf-8")
        named, importing = tests_of(mutant.path)
        try:
            path.write_text(text, encoding="utf-8")
            killer = self.failing(named, timeout, *FAST)
            return killer or self.failing(importing, timeout, *FAST)
        finally:
            path.write_text(original, encoding="utf-8")

    def passes(self, test: str) -> bool:
        """True if a test passes while nothing is changed: only then its failure says something."""
        return "::" not in test or not self.failing([test], 3600)


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", default=PACKAGES, help="files or folders to change")
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=600, help="seconds for a mutant's tests")
    return parser.parse_args()


def main() -> None:
    """Draw, try, report."""
    chosen = arguments()
    found = [sorted(ROOT.glob(f"{path}/**/*.py")) or [ROOT / path] for path in chosen.paths]
    mutants = sample(ROOT, relative(sum(found, [])), chosen.count, chosen.seed)
    folder = ROOT / "build" / "mutants"
    copies: SimpleQueue[Copy] = SimpleQueue()
    for number in range(chosen.workers):
        copies.put(Copy(folder / str(number)))
    healthy: dict[str, bool] = {}

    def judge(entry: tuple[Mutant, str]) -> dict:
        mutant, text = entry
        copy, start = copies.get(), time.monotonic()
        try:
            killer = copy.killed_by(mutant, text, chosen.timeout)
            if killer and killer not in healthy:
                healthy[killer] = copy.passes(killer)
        finally:
            copies.put(copy)
        outcome = "LIVED" if not killer else "killed" if healthy[killer] else "NOT JUDGED"
        where = f"{mutant.path}:{mutant.line} {mutant.operator}"
        print(f"{outcome:10} {time.monotonic() - start:5.0f} s  {where}  {killer}", flush=True)
        if outcome != "killed":
            print(f"    {mutant.before}\n    {mutant.after}", flush=True)
        return {**asdict(mutant), "outcome": outcome, "by": killer}

    with ThreadPoolExecutor(chosen.workers) as pool:
        judged = list(pool.map(judge, mutants))
    count = {
        word: sum(entry["outcome"] == word for entry in judged) for word in ("killed", "LIVED")
    }
    score = count["killed"] / max(1, sum(count.values()))
    report = {"seed": chosen.seed, "score": round(score, 3), **count, "mutants": judged}
    (ROOT / "build" / "mutants.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    shutil.rmtree(folder)
    print(
        f"score {score:.0%}: {count['killed']} killed, {count['LIVED']} lived, {len(judged)} tried"
    )


if __name__ == "__main__":
    main()
