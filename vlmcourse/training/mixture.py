"""Several data sets at once: their gradients added in each step, or each in its turn (Flamingo, Sec. 2.4).

A data set is anything with `batch(indices)`. `WeightedLosses` is what `fit` trains: the model, the weight of each data set, and, for
who looks at it afterwards, how far each gate was open after each step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vlmcourse.introspection import gate_values


@dataclass(frozen=True)
class JointDatasets:
    """Each step takes a batch of every data set: {name: batch}. In the sum of their losses their gradients accumulate.

    sources  {name: (data set, pages for each unit of the batch)}
    """

    sources: Mapping[str, tuple[object, int]]

    def batch(self, indices: Sequence[int]) -> dict[str, dict]:
        return {
            name: source.batch([index * per + part for index in indices for part in range(per)])
            for name, (source, per) in self.sources.items()
        }


@dataclass(frozen=True)
class RoundRobinDatasets:
    """Each step takes a batch of one data set, in turns. units: size of the batch over all processes"""

    sources: Mapping[str, tuple[object, int]]
    batch_size: int

    def batch(self, indices: Sequence[int]) -> dict[str, dict]:
        step = indices[0] // self.batch_size
        name = list(self.sources)[step % len(self.sources)]
        return JointDatasets({name: self.sources[name]}).batch(
            [index - (step - step // len(self.sources)) * self.batch_size for index in indices]
        )


class WeightedLosses(nn.Module):
    """losses({name: batch}) -> {name: weight * loss}. `weights` must name every data set that comes."""

    def __init__(self, model: nn.Module, weights: Mapping[str, float], steps: int):
        super().__init__()
        self.model, self.weights = model, dict(weights)
        self.register_buffer(
            "trace", torch.zeros(steps, len(gate_values(model)))
        )  # of the gates, (steps, gates)
        self.register_buffer("done", torch.zeros((), dtype=torch.long))

    def losses(self, batch: Mapping[str, Mapping]) -> dict[str, Tensor]:
        if unknown := [name for name in batch if name not in self.weights]:
            raise ValueError(
                f"data sets {', '.join(unknown)} have no weight; expected some of {', '.join(self.weights)}."
            )
        device = self.done.device
        return {
            name: self.weights[name] * sum(self.model.losses(_to(device, part)).values())
            for name, part in batch.items()
        }

    @torch.no_grad()
    def after_step(self) -> None:
        """Notes the gates: they are few, and their way says when a layer began to look."""
        if self.trace.shape[1] and self.done < len(self.trace):
            self.trace[self.done] = torch.tensor(list(gate_values(self.model).values()))
        self.done += 1
        if hasattr(self.model, "after_step"):
            self.model.after_step()

    def gate_values(self) -> dict[str, list[float]]:
        """{name of a gate: how far open after each step}"""
        return dict(zip(gate_values(self.model), self.trace.T.tolist()))


def _to(device: torch.device, part: Mapping) -> dict:
    return {
        name: value.to(device) if isinstance(value, Tensor) else value
        for name, value in part.items()
    }
