"""Trained stages, kept: each lesson finds what earlier ones trained, or trains it itself.

A stage that many lessons need and that takes long to train comes with the course, in the folder `shipped` beside this file.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import torch
from torch import nn

from vlmcourse.training import checkpoint
from vlmcourse.training.fit import Step, fit
from vlmcourse.training.optimisation import Optimisation

PACKAGE = Path(__file__).parents[1]
SHIPPED = PACKAGE / "shipped"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """What is made in here depends on the seed alone, and the caller's own random numbers go on as if it had not been."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@dataclass(frozen=True)
class TrainedStage:
    """A trained stage: the model, the losses on the way, and whether it was found (in the cache, or shipped)."""

    model: nn.Module
    history: list[Step] = field(repr=False)
    loaded: bool
    path: Path


def cache_folder() -> Path:
    return Path(os.environ.get("VLMCOURSE_CACHE", Path.home() / ".cache" / "vlmcourse"))


def train_or_load(
    name: str,
    model: nn.Module,
    batches,
    steps: int,
    optimisation: Optimisation = Optimisation(),
    *,
    fingerprint: dict,
    seed: int = 0,
    on_step: Callable[[Step], None] | None = None,
    retrain: bool = False,
) -> TrainedStage:
    """The trained model from the cache, or trained now and put there, so that each lesson starts alone.

    The file's name carries a hash of everything that made it: `fingerprint`, the step count, the optimisation, the seed and
    the code. A shipped stage of the same recipe (all of these but the code) is as good. A damaged file is reported and
    trained anew. `on_step` sees each Step, also those replayed from a file. `retrain`: train although it is there.
    """
    recipe = {
        **fingerprint,
        "name": name,
        "steps": steps,
        "seed": seed,
        "optimisation": asdict(optimisation),
    }
    ingredients = {
        **recipe,
        "code": _code(*model.modules(), batches.make),
        "torch": torch.__version__,
    }
    path, recipe = cache_folder() / f"{name}-{_digest(ingredients)}.safetensors", _digest(recipe)
    on_step = on_step or (lambda step: None)
    for found in () if retrain else (path, SHIPPED / f"{name}.safetensors"):
        if not found.exists():
            continue
        try:
            tensors, notes = checkpoint.load(found)
        except checkpoint.DamagedCheckpoint as error:
            print(f"{error} It is trained again.")
            continue
        if found == path or notes["recipe"] == recipe:
            model.load_state_dict(tensors)
            history = [Step(**step) for step in notes["history"]]
            for step in history:
                on_step(step)
            return TrainedStage(model.eval(), history, True, found)
    history = []
    for step in fit(model, batches, steps, optimisation, seed=seed):
        history.append(step)
        on_step(step)
    checkpoint.save(
        path, model.state_dict(), {"history": [asdict(step) for step in history], "recipe": recipe}
    )
    return TrainedStage(model, history, False, path)


def _digest(of: dict) -> str:
    return hashlib.sha256(json.dumps(of, sort_keys=True, default=str).encode()).hexdigest()[:16]


def ship(name: str, trained: TrainedStage) -> Path:
    """Puts a trained stage into the package, for everyone who uses the same recipe."""
    SHIPPED.mkdir(exist_ok=True)
    return Path(shutil.copyfile(trained.path, SHIPPED / f"{name}.safetensors"))


def _code(*things: object) -> str:
    """Hash of the package's sources that decide what a stage is: the modules that define these things, whatever those
    import from the package, and the data beside them. A change elsewhere leaves trained stages valid.

    What a module imports is read in its source: its namespace also holds submodules that somebody else imported.
    """
    todo = {__name__, *(thing.__module__ for thing in things)}
    files: dict[str, Path] = {}
    while todo:
        if (name := todo.pop()) not in files and (file := _source(name)):
            files[name] = file
            todo |= _imports(file)
    found = {
        *files.values(),
        *(data for file in files.values() for data in file.parent.glob("*.csv")),
    }
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(found))).hexdigest()


def _source(name: str) -> Path | None:
    """The file of a module of this package; None for what is no module of it."""
    package, *path = name.split(".")
    if package != PACKAGE.name:
        return None
    base = PACKAGE.joinpath(*path)
    return next(
        (file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None
    )


@cache
def _imports(file: Path) -> frozenset[str]:
    """Names of modules: of `from a import b` a.b where that is a module, else a."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for one in node.names:
                inner = f"{node.module}.{one.name}"
                found.add(inner if _source(inner) else node.module)
    return frozenset(found)
