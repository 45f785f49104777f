"""Trained stages on disk: each lesson loads what earlier ones trained, or trains it itself.

Stages that take long to train come with the course, in the package's folder `shipped`.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from vlmcourse.training import checkpoint
from vlmcourse.training.fit import Step, fit
from vlmcourse.training.optimisation import Optimisation

PACKAGE = Path(__file__).parents[1]
SHIPPED = PACKAGE / "shipped"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, random numbers depend on the seed alone; the caller's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@dataclass(frozen=True)
class TrainedStage:
    """A trained model, its training steps, whether it was loaded (from the cache, or shipped), and its file."""

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
    prepare: Callable[[], None] | None = None,
) -> TrainedStage:
    """The trained model from the cache, or trained now and put there, so that each lesson starts alone.

    fingerprint  what makes the stage, beside its name, steps, optimisation and seed (JSON)
    on_step      called with each Step, also with those of a loaded stage
    retrain      train although it is there
    prepare      called before training, and only then: for a stage that goes on from another one

    The cache's key is a hash of all that and of the code; a shipped stage needs the same recipe, whatever the code. A
    damaged file is reported and trained anew. If the cache cannot be written, it warns and returns the trained model.
    """
    recipe = {
        **fingerprint,
        "name": name,
        "steps": steps,
        "seed": seed,
        "optimisation": astuple(optimisation),
    }
    ingredients = {
        **recipe,
        "code": _code(*model.modules(), batches.make),
        "torch": torch.__version__,
    }
    path, key = cache_folder() / f"{name}-{_digest(ingredients)}.safetensors", _digest(recipe)
    on_step = on_step or (lambda step: None)
    for candidate in () if retrain else (path, SHIPPED / f"{name}.safetensors"):
        if not candidate.exists():
            continue
        try:
            tensors, notes = checkpoint.load(candidate)
        except checkpoint.DamagedCheckpoint as error:
            print(f"{error} It is trained again.")
            continue
        if candidate == path or notes["recipe"] == key:
            _load_weights(model, tensors)
            history = [Step(*values) for values in notes["history"]]
            for step in history:
                on_step(step)
            return TrainedStage(model.eval(), history, True, candidate)
    if prepare:
        prepare()
    history = []
    for step in fit(model, batches, steps, optimisation, seed=seed):
        history.append(step)
        on_step(step)
    notes = {"history": [astuple(step) for step in history], "recipe": key}
    try:
        checkpoint.save(path, model.state_dict(), notes)
    except OSError as error:
        warnings.warn(f"the trained stage '{name}' is not kept: {error}", stacklevel=2)
    return TrainedStage(model, history, False, path)


def _digest(of: dict) -> str:
    return hashlib.sha256(json.dumps(of, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _frozen(model: nn.Module) -> set[str]:
    """Names of the weights that don't learn: they come from another stage, on which this one is built."""
    weights = model.named_parameters(remove_duplicate=False)
    return {name for name, weight in weights if not weight.requires_grad}


def _second_names(model: nn.Module) -> dict[str, str]:
    """Of weights that a model holds under several names, each further name with the first one."""
    first: dict[int, str] = {}
    weights = model.named_parameters(remove_duplicate=False)
    names = ((name, first.setdefault(id(weight), name)) for name, weight in weights)
    return {name: earliest for name, earliest in names if name != earliest}


def _load_weights(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """In place; weights that don't learn, and second names, may be missing, see `ship`. Raises RuntimeError for any others."""
    own = {name: tensor for name, tensor in model.state_dict().items() if name in _frozen(model)}
    second = {
        name: tensors[first] for name, first in _second_names(model).items() if first in tensors
    }
    model.load_state_dict(own | second | tensors)


def ship(name: str, trained: TrainedStage, dtype: torch.dtype = torch.float32) -> Path:
    """Writes a trained stage into the package, for everyone who uses the same recipe: each weight once, and none of those
    that it takes from another stage and doesn't change, since the recipe's key holds their checksum.

    dtype  of the file; float16 halves it, and its numbers become float32 again when they are loaded
    """
    tensors, notes = checkpoint.load(trained.path)
    left_out = _frozen(trained.model) | set(_second_names(trained.model))
    learnt = {
        key: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for key, tensor in tensors.items()
        if key not in left_out
    }
    path = SHIPPED / f"{name}.safetensors"
    checkpoint.save(path, learnt, notes)
    return path


def _code(*things: object) -> str:
    """Hash of the package's sources that decide what a stage is: the modules that define these things, what those import
    from the package, and the data beside them. A change elsewhere leaves trained stages valid.

    Imports are read from the source: a module's namespace also holds submodules that somebody else imported.
    """
    todo = {__name__, *(thing.__module__ for thing in things)}
    files: dict[str, Path] = {}
    while todo:
        if (name := todo.pop()) not in files and (file := _source(name)):
            files[name] = file
            todo |= _imports(file)
    tables = {table for file in files.values() for table in file.parent.glob("*.csv")}
    return hashlib.sha256(
        b"".join(file.read_bytes() for file in sorted({*files.values(), *tables}))
    ).hexdigest()


def _source(name: str) -> Path | None:
    """The file of a module of this package, else None."""
    package, *path = name.split(".")
    if package != PACKAGE.name:
        return None
    base = PACKAGE.joinpath(*path)
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)


@cache
def _imports(file: Path) -> frozenset[str]:
    """Names of imported modules: of `from a import b` a.b where that is a module, else a."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if _source(name) else node.module for name in inner}
    return frozenset(names)
