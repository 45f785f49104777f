"""Examples that are made once and visited several times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class InMemory:
    """The first `size` examples of a data set, made once, when first used: for training that visits them several times.

    data  has `batch(indices)`, a dictionary of tensors and lists
    """

    data: Any
    size: int

    @cached_property
    def whole(self) -> dict:
        """All of them as one batch."""
        return self.data.batch(range(self.size))

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor | list]:
        """These examples, modulo the size. Texts are padded to the longest of all."""
        rows = [index % self.size for index in indices]
        return {
            name: value[rows] if isinstance(value, Tensor) else [value[row] for row in rows]
            for name, value in self.whole.items()
        }
