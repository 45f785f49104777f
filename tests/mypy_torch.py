"""For mypy: parts of a module that were registered by name may be used as what they are.

torch says that `module.anything` is a Tensor or a Module, so that every call of a layer in a ModuleList would be an error.
"""

from collections.abc import Callable

from mypy.plugin import AttributeContext, Plugin
from mypy.types import AnyType, Type, TypeOfAny

MODULE = "torch.nn.modules.module.Module."


def anything(context: AttributeContext) -> Type:
    """No statement about the type."""
    return AnyType(TypeOfAny.special_form)


class RegisteredParts(Plugin):
    """Answers for attributes that only `Module.__getattr__` knows."""

    def get_attribute_hook(self, fullname: str) -> Callable[[AttributeContext], Type] | None:
        """For names that no class declares, a hook that says nothing; None for all others."""
        declared = dir(_module())
        if fullname.startswith(MODULE) and fullname.removeprefix(MODULE) not in declared:
            return anything
        return None


def _module() -> type:
    from torch.nn import Module

    return Module


def plugin(version: str) -> type[Plugin]:
    """What mypy calls."""
    return RegisteredParts
