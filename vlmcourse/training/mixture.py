"""Several data sets at once: their gradients added in each step, or each in its turn (Flamingo, Sec. 2.4).

A data set is anything with `batch(indices)`. `WeightedLosses` is what `fit` trains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vlmcourse.introspection import gate_values


@dataclass(frozen=True)
class JointDatasets:
    """Each step takes a batch of every data set, {name: batch}; their gradients add up.

    sources  {name: (data set, its examples for each index of the batch)}
    """

    sources: Mapping[str, tuple[Any, int]]

    def batch(self, indices: Sequence[int]) -> dict[str, dict]:
        return {
            name: source.batch([index * per + part for index in indices for part in range(per)])
            for name, (source, per) in self.sources.items()
        }


@dataclass(frozen=True)
class RoundRobinDatasets:
    """Each step takes a batch of one data set, in turns. batch_size: over all processes."""

    sources: Mapping[str, tuple[object, int]]
    batch_size: int

    def batch(self, indices: Sequence[int]) -> dict[str, dict]:
        step = indices[0] // self.batch_size
        name = list(self.sources)[step % len(self.sources)]
        return JointDatasets({name: self.sources[name]}).batch(
            [index - (step - step // len(self.sources)) * self.batch_size for index in indices]
        )


class WeightedLosses(nn.Module):
    """losses({name: batch}) -> {name: weight * loss}, and the gates' values after each step.

    weights  one for every data set that comes, else ValueError
    """

    def __init__(self, model: nn.Module, weights: Mapping[str, float], steps: int):
        super().__init__()
        self.model, self.weights = model, dict(weights)
        self.register_buffer("gate_history", torch.zeros(steps, len(gate_values(model))))
        self.register_buffer("steps_done", torch.zeros((), dtype=torch.long))

    def losses(self, batch: Mapping[str, Mapping]) -> dict[str, Tensor]:
        if unknown := [name for name in batch if name not in self.weights]:
            raise ValueError(
                f"data sets {', '.join(unknown)} have no weight; expected some of {', '.join(self.weights)}."
            )
        return {
            name: self.weights[name] * sum(self.model.losses(part).values())
            for name, part in batch.items()
        }

    @torch.no_grad()
    def after_step(self) -> None:
        """Records the gates; then the model's own `after_step`, if it has one."""
        if self.gate_history.shape[1] and self.steps_done < len(self.gate_history):
            values = list(gate_values(self.model).values())
            self.gate_history[self.steps_done] = torch.tensor(
                values, device=self.gate_history.device
            )
        self.steps_done += 1
        if hasattr(self.model, "after_step"):
            self.model.after_step()

    def gates_by_step(self) -> dict[str, list[float]]:
        """{name of a gate: its value in (-1, 1) after each step}."""
        return dict(zip(gate_values(self.model), self.gate_history.T.tolist()))
