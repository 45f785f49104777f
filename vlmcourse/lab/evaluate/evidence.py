"""The controls that could refute a score, the spread over seeds, and the files in which measurements are kept."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn


@contextmanager
def looking(model: nn.Module):
    """Evaluation mode without gradients; training mode comes back afterwards."""
    was = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was)


@dataclass(frozen=True)
class Controls:
    """A score beside what it would be without seeing: one grey image for all, other pairs' images, and chance."""

    model: float
    blind: float
    shuffled: float
    chance: float

    def __str__(self) -> str:
        return f"{self.model:.3f} (blind {self.blind:.3f}, shuffled images {self.shuffled:.3f}, chance {self.chance:.3f})"


def controls(score: Callable[[Tensor], float], pixels: Tensor, chance: float) -> Controls:
    """score(pixels) with the right images, with grey ones, and with each image replaced by another pair's.

    The shuffle is one big cycle in random order, so no image stays where it belongs.
    """
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    other = torch.empty_like(order)
    other[order] = order.roll(1)
    return Controls(score(pixels), score(torch.zeros_like(pixels)), score(pixels[other]), chance)


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of the same measurement over seeds (or draws)."""

    mean: float
    std: float
    values: tuple[float, ...]

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.std:.3f} ({len(self.values)} runs)"


def spread(values: Sequence[float]) -> Spread:
    values = tuple(map(float, values))
    if not values:
        raise ValueError("a spread of no values; expected at least one.")
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0, values)


def over_seeds(rows: Sequence[Mapping], name: str, *path: str | tuple[str, ...]) -> Spread:
    """Spread over seeds of one measurement: of the kept rows whose "row" is `name`, one for each seed.

    path  keys into a row; a tuple of keys is their mean: over_seeds(rows, "Frozen", "questions", ("what", "colour"))

    Raises ValueError, with what is there, if no row has this name or a key is missing.
    """
    if not (mine := [row for row in rows if row["row"] == name]):
        raise ValueError(f"no row '{name}' was measured; expected one of: {', '.join(sorted({row['row'] for row in rows}))}.")
    return spread([_inside(row, path) for row in mine])


def _inside(values: Mapping | float, path: Sequence[str | tuple[str, ...]]) -> float:
    if not path:
        return values
    keys = path[0] if isinstance(path[0], tuple) else path[:1]
    if missing := [key for key in keys if key not in values]:
        raise ValueError(f"no measurement '{missing[0]}'; expected one of: {', '.join(values)}.")
    return statistics.fmean(_inside(values[key], path[1:]) for key in keys)


def _results_folder() -> Path:
    for place in (Path.cwd(), *Path.cwd().parents, Path(__file__).parents[3]):
        if (place / "benchmarks" / "results").is_dir():
            return place / "benchmarks" / "results"
    raise FileNotFoundError(f"no folder benchmarks/results in {Path.cwd()} or above it. "
                            "Run this from a clone of the course's repository.")


def write_results(name: str, rows: list[dict], **facts) -> Path:
    """Keeps measured rows in benchmarks/results/NAME.json, with the machines they were measured on: this one, and those of
    the rows that were there before."""
    path = _results_folder() / f"{name}.json"
    before = json.loads(path.read_text()) if path.exists() else {"machines": [], "rows": []}
    machines = before["machines"] if any(row in rows for row in before["rows"]) else []
    machine = {"python": platform.python_version(), "torch": torch.__version__, "threads": torch.get_num_threads(),
               "processor": _processor()}
    machines += [machine] * (machine not in machines)
    path.write_text(json.dumps({"machines": machines, **facts, "rows": rows}, indent=1) + "\n")
    return path


def results(name: str) -> dict:
    """What `write_results` kept: {'machines': [...], 'rows': [...]}."""
    path = _results_folder() / f"{name}.json"
    if not path.exists():
        raise FileNotFoundError(f"no results {path.name}. Measure them with the command of that name in benchmarks/: "
                                f"{', '.join(sorted(file.stem for file in _results_folder().parent.glob('[a-z]*.py')))}.")
    return json.loads(path.read_text())


def measured_before(name: str, **facts) -> dict:
    """`results(name)` if they were measured under these very facts (scale, steps, count, ...); else {}: start anew."""
    try:
        before = results(name)
    except FileNotFoundError:
        return {}
    facts = json.loads(json.dumps(facts))  # a file knows neither tuples nor keys that are numbers
    return before if all(before.get(key) == value for key, value in facts.items()) else {}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")] \
        if cpuinfo.exists() else []
    return names[0] if names else platform.processor() or platform.machine()
