"""Measured results in benchmarks/results, with the machines they were measured on."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from vlmcourse.evaluation.controls import Spread, spread


def spread_over_seeds(rows: Sequence[Mapping], name: str, *path: str | tuple[str, ...]) -> Spread:
    """Spread over seeds of one measurement: of the rows whose "row" is `name`, one for each seed.

    path  keys into a row; a tuple of keys is their mean: over_seeds(rows, "Frozen", "questions", ("what", "colour"))

    Raises ValueError, with what is there, if no row has this name or a key is missing.
    """
    if not (measured := [row for row in rows if row["row"] == name]):
        raise ValueError(
            f"no row '{name}' was measured; expected one of: {', '.join(sorted({row['row'] for row in rows}))}."
        )
    return spread([measurement(row, path) for row in measured])


def measurement(values: Mapping | float, path: Sequence[str | tuple[str, ...]]) -> float:
    """A number inside a row; a tuple of keys is the mean over them. Raises ValueError, with what is there, for a missing key."""
    if not isinstance(values, Mapping):
        if path:
            raise ValueError(f"no measurement '{path[0]}': there is a number, {values}, already.")
        return values
    keys = path[0] if isinstance(path[0], tuple) else path[:1]
    if missing := [key for key in keys if key not in values]:
        raise ValueError(f"no measurement '{missing[0]}'; expected one of: {', '.join(values)}.")
    return statistics.fmean(measurement(values[key], path[1:]) for key in keys)


def _results_folder() -> Path:
    package = Path(__file__).parents[1]  # of an installed wheel, which carries the results
    for folder in (Path.cwd(), *Path.cwd().parents, package.parent, package / "material"):
        if (folder / "benchmarks" / "results").is_dir():
            return folder / "benchmarks" / "results"
    raise FileNotFoundError(
        f"no folder benchmarks/results in {Path.cwd()} or above it. "
        "Run this from a clone of the course's repository."
    )


def save_results(name: str, rows: list[dict], **facts) -> Path:
    """Keeps measured rows in benchmarks/results/NAME.json, with the command that measures them (default: that of this name) and
    the machines they were measured on: this one, and those of the rows that were there before."""
    path = _results_folder() / f"{name}.json"
    before = (
        json.loads(path.read_text(encoding="utf-8"))
        if path.exists()
        else {"machines": [], "rows": []}
    )
    machines = before["machines"] if any(row in rows for row in before["rows"]) else []
    machine = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processor": _processor(),
    }
    machines += [machine] * (machine not in machines)
    named = {"command": f"python -m benchmarks.{name.removesuffix('_smoke')}", "machines": machines}
    path.write_text(json.dumps({**named, **facts, "rows": rows}, indent=1) + "\n")
    return path


def load_results(name: str) -> dict:
    """What `save_results` kept: {'machines': [...], 'rows': [...]}."""
    path = _results_folder() / f"{name}.json"
    if not path.exists():
        raise FileNotFoundError(
            f"no results {path.name}. Measure them with the command of that name in benchmarks/: "
            f"{', '.join(sorted(file.stem for file in _results_folder().parent.glob('[a-z]*.py')))}."
        )
    return json.loads(path.read_text(encoding="utf-8"))


def load_matching_results(name: str, **facts) -> dict:
    """`load_results(name)` if they were measured under these very facts (scale, steps, count, ...); else {}: start anew."""
    try:
        before = load_results(name)
    except FileNotFoundError:
        return {}
    facts = json.loads(json.dumps(facts))  # a file knows neither tuples nor keys that are numbers
    return before if all(before.get(key) == value for key, value in facts.items()) else {}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = (
        [
            line.split(":")[1].strip()
            for line in cpuinfo.read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ]
        if cpuinfo.exists()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()
