"""Writes what the documents take from the code: `python docs/generate.py`, or `--check` to compare only.

README.md            the table of lessons, from the heads of notebooks/masters/
docs/ARCHITECTURE.md the tree of packages, from the first line of each package's docstring
docs/RESULTS.md      the lecture's directions with our verdicts, and times of training, from benchmarks/results/
"""

import ast
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("vlmcourse", "notebooks/teaching", "grader/vlmgrader")


def lesson_table(root: Path = ROOT) -> str:
    """A row for each lesson: its number, its title with a link, the time to work through it."""
    rows = ["| | lesson | time to work through |", "|---|---|---|"]
    for master in sorted((root / "notebooks" / "masters").glob("[0-9][0-9]_*.py")):
        head = master.read_text(encoding="utf-8")[:4000]
        title = re.search(r"^# # \d\d · (.+)$", head, re.M)
        minutes = re.search(r"^# \| Time \|.*?(\d+) minutes", head, re.M)
        if title is None or minutes is None:
            raise ValueError(
                f"{master.name}: expected '# # {master.stem[:2]} · TITLE' and a row '# | Time | about 60 minutes ...'"
            )
        link = f"[{title[1]}](notebooks/{master.stem}.ipynb)"
        rows.append(f"| {master.stem[:2]} | {link} | {minutes[1]} minutes |")
    return "\n".join(rows)


def package_tree(root: Path = ROOT) -> str:
    """A line for each package: its path, and the first line of its docstring."""
    lines = []
    for package in PACKAGES:
        for module in sorted((root / package).rglob("__init__.py")):
            folder = module.parent
            docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
            clause = docstring.splitlines()[0].rstrip(".") if docstring else ""
            lines.append((f"{folder.relative_to(root).as_posix()}/", clause))
    width = max((len(name) for name, _ in lines), default=0) + 2
    return "\n".join(
        ["```", *(f"{name:{width}}{clause}".rstrip() for name, clause in lines), "```"]
    )


def verdicts(root: Path = ROOT) -> str:
    """The tables of the lecture's directions."""
    from vlmcourse.evaluation.directions import as_markdown, directions

    return as_markdown(directions())


def training_times(root: Path = ROOT) -> str:
    """A row for each stage that ships: its steps, seconds of a step, minutes in all."""
    path = root / "benchmarks" / "results" / "training_times.json"
    stages = json.loads(path.read_text(encoding="utf-8"))["rows"]
    rows = ["| stage | steps | seconds a step | minutes |", "|---|---|---|---|"]
    rows += [
        f"| {stage['row']} | {stage['steps']:,} | {stage['step']:.2f} | {stage['minutes']:.1f} |"
        for stage in stages
    ]
    together = sum(stage["minutes"] for stage in stages)
    return "\n".join([*rows, f"| together | | | {together:.0f} |"])


MADE = {
    "README.md": {"lessons": lesson_table},
    "docs/ARCHITECTURE.md": {"packages": package_tree},
    "docs/RESULTS.md": {"directions": verdicts, "times": training_times},
}


def updated(text: str, name: str, content: str) -> str:
    """`text` with `content` between the comments `<!-- name -->` and `<!-- /name -->`."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if text.count(start) != 1 or text.count(end) != 1:
        raise ValueError(f"expected {start} and {end} once each")
    before, rest = text.split(start)
    return f"{before}{start}\n{content}\n{end}{rest.split(end)[1]}"


def stale(root: Path = ROOT, write: bool = False) -> list[str]:
    """The documents that differ from the code; with `write`, they are brought up to date."""
    found = []
    for name, parts in MADE.items():
        path = root / name
        before = text = path.read_text(encoding="utf-8")
        for part, content in parts.items():
            text = updated(text, part, content(root))
        if text != before:
            found.append(name)
            if write:
                path.write_text(text, encoding="utf-8")
    return found


if __name__ == "__main__":
    differing = stale(write="--check" not in sys.argv[1:])
    print("\n".join(differing) or "up to date")
    sys.exit(bool(differing) and "--check" in sys.argv[1:])
