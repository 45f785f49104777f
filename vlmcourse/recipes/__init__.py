"""What the course trains, one file a paper.

    recipes.get("clip").train_or_load("laptop").model       trained now, found in the cache, or shipped with the course

A recipe is one object: name, sizes at each scale, data, optimisation, report. A new file here with a `Recipe` in it is found by
`recipes.get`, by the command line and by the tests.
"""

from importlib import import_module
from types import ModuleType

from vlmcourse.recipes.recipe import Recipe, Run, Sizes, get, names
from vlmcourse.recipes.runs import train

__all__ = ["get", "names", "Recipe", "Run", "Sizes", "train"]


def __getattr__(name: str) -> ModuleType:
    """Files of this folder as attributes: recipes.clip.noun_classes."""
    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError:
        raise AttributeError(f"module {__name__} has no attribute '{name}'") from None
