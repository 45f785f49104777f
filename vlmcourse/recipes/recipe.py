"""What a recipe is, and how one is found: each file of this folder that holds a `Recipe` adds it to the course."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vlmcourse.training import checkpoint, stages
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import TrainedStage

Stage = Callable[..., nn.Module]
"""(name of another recipe, seed, **options) -> its model: trained, to build on, or untrained, where saved weights follow."""


class Dataset(Protocol):
    """Examples number 0, 1, 2, ...: `batch(indices)` is a dictionary of tensors and lists."""

    def batch(self, indices: Sequence[int]) -> dict: ...


@dataclass(frozen=True)
class Sizes:
    """What a scale means for a recipe: examples in a batch, steps. Recipes with more sizes have a class of their own."""

    batch: int
    steps: int


@dataclass(frozen=True)
class Run:
    """An untrained model with its data.

    config    the model's configuration
    parts     trained models and whatever else the model is made of
    examples  how many different ones the data have; None: endless
    before    (on_step, retrain): called before training, and only then, for a model that goes on from another stage
    """

    model: nn.Module
    data: Dataset
    config: Any = None
    parts: tuple = ()
    examples: int | None = None
    before: Callable[..., None] | None = None

    @property
    def fingerprint(self) -> dict:
        """What distinguishes this run from others, as JSON."""
        return {
            "config": describe(self.config),
            "data": describe(self.data),
            "parts": describe(self.parts),
        }


@dataclass(frozen=True)
class Recipe:
    """How a paper's model is trained here.

    name          of its stage, and in `vlmcourse train NAME`
    sizes         {name of a scale: Sizes}
    setup         (scale, sizes, seed, stage, **options) -> Run; see Stage. Options replace the data, a part, or a field of
                  the model's configuration
    optimisation  AdamW's settings
    report        (model, scale, examples) -> {name: score} on held-out data, with that many examples
    own_pictures  (pictures with captions, tokens of the longest, scale) -> options of `setup` for them; None: it cannot
                  train on them
    own_report    (model, held-out pictures with captions) -> {name: score}
    shipped_dtype of the file that comes with the course; float16 for stages on which no other one is built
    """

    name: str
    sizes: Mapping[str, Sizes]
    setup: Callable[..., Run]
    optimisation: Optimisation
    report: Callable[[nn.Module, Scale, int], dict]
    own_pictures: Callable[..., dict] | None = field(default=None, kw_only=True)
    own_report: Callable[..., dict] | None = field(default=None, kw_only=True)
    shipped_dtype: torch.dtype = field(default=torch.float32, kw_only=True)

    def prepare(
        self,
        scale: Scale,
        seed: int = 0,
        trained: bool = True,
        sizes: Sizes | None = None,
        **options,
    ) -> Run:
        """The run of this recipe. trained: on trained parts; otherwise on untrained ones, for weights that are loaded."""

        def stage(name: str, seed: int = 0, **options) -> nn.Module:
            if trained:
                return get(name).train_or_load(scale, seed, **options).model
            return get(name).prepare(scale, seed, False, **options).model

        return self.setup(scale, sizes or self.sizes[scale.name], seed, stage, **options)

    def train_or_load(
        self,
        scale: Scale | str | None = None,
        seed: int = 0,
        *,
        steps: int | None = None,
        batch: int | None = None,
        on_step: Callable[[Step], None] | None = None,
        retrain: bool = False,
        **options,
    ) -> TrainedStage:
        """The trained stage: from the cache, shipped with the course, or trained now (see training.stages).

        steps, batch  default: the recipe's at this scale
        options       of the recipe's `setup`
        """
        scale = Scale.of(scale)
        sizes = self.sizes[scale.name]
        sizes = replace(sizes, batch=batch or sizes.batch, steps=steps or sizes.steps)
        run = self.prepare(scale, seed, sizes=sizes, **options)
        return stages.train_or_load(
            self.name,
            run.model,
            Batches(run.data.batch, sizes.batch, run.examples, seed),
            sizes.steps,
            self.optimisation,
            fingerprint=run.fingerprint | {"batch": sizes.batch},
            seed=seed,
            on_step=on_step,
            retrain=retrain,
            prepare=run.before and partial(run.before, on_step=on_step, retrain=retrain),
        )

    def evaluate(self, model: nn.Module, scale: Scale | str | None = None) -> dict:
        """The report on 256 held-out examples; on 16 at scale smoke."""
        scale = Scale.of(scale)
        return self.report(model, scale, 16 if scale.name == "smoke" else 256)


def describe(value: Any) -> Any:
    """What a value consists of, as JSON and without names of fields: numbers and texts as they are, models by a checksum."""
    if isinstance(value, nn.Module):
        learns = [name for name, tensor in value.named_parameters() if tensor.requires_grad]
        return [checkpoint.checksum(value.state_dict()), len(learns)]
    if hasattr(value, "fingerprint"):
        return value.fingerprint()
    if isinstance(value, Tensor):
        return checkpoint.checksum({"": value})
    if is_dataclass(value) and not isinstance(value, type):
        return [describe(getattr(value, field.name)) for field in fields(value) if field.compare]
    if isinstance(value, Mapping):
        return {str(key): describe(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [describe(part) for part in value]
    if isinstance(value, partial):
        return describe([value.func, value.args, value.keywords])
    if isinstance(value, type) or isinstance(value, (FunctionType, MethodType)):
        owner = getattr(value, "__self__", None)  # of a method
        return [describe(owner), value.__name__] if owner is not None else value.__qualname__
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise TypeError(
        f"{value!r} has no fingerprint; expected numbers, texts, models, functions, dataclasses."
    )


@cache
def _all() -> dict[str, Recipe]:
    """Every recipe by its name, in the order of the files."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    modules = [
        import_module(f"{__package__}.{file.stem}") for file in files if file.stem != "__init__"
    ]
    recipes = [
        value for module in modules for value in vars(module).values() if isinstance(value, Recipe)
    ]
    return {recipe.name: recipe for recipe in recipes}


def names() -> list[str]:
    """Names of all recipes."""
    return list(_all())


def get(name: str) -> Recipe:
    """The recipe of that name. Raises ValueError, with all names, if there is none."""
    if name not in _all():
        raise ValueError(f"no recipe '{name}'; there are {', '.join(_all())}.")
    return _all()[name]
