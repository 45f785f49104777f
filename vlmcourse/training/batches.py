"""Batches by number, so that every step can be made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count

import torch


@dataclass(frozen=True)
class Batches:
    """Batch n, made from the indices n*size ... (n+1)*size - 1.

    make       indices -> batch (a dict of tensors and lists)
    size       examples in a batch, over all processes
    examples   how many there are; None: endless. With a number, each epoch visits them in another order.
    """

    make: Callable[[list[int]], dict]
    size: int
    examples: int | None = None
    seed: int = 0

    def __post_init__(self):
        if self.examples is not None and self.examples < self.size:
            raise ValueError(
                f"a batch of {self.size} from {self.examples} examples: "
                f"expected at least one full batch. Add data or use a batch of at most {self.examples}."
            )

    def indices(self, step: int) -> list[int]:
        if self.examples is None:
            return list(range(step * self.size, (step + 1) * self.size))
        per_epoch = self.examples // self.size
        epoch, position = divmod(step, per_epoch)
        order = torch.randperm(
            self.examples, generator=torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        )
        return order[position * self.size : (position + 1) * self.size].tolist()

    def __getitem__(self, step: int) -> dict:
        return self.make(self.indices(step))

    def from_step(self, step: int, part: tuple[int, int] = (0, 1)) -> Iterator[dict]:
        """Batches from `step` on, of each the slice that process `part[0]` of `part[1]` takes.

        Raises ValueError if the batch cannot be divided among the processes.
        """
        rank, processes = part
        if self.size % processes:
            raise ValueError(
                f"a batch of {self.size} cannot be shared by {processes} processes: expected a multiple."
            )
        per_process = self.size // processes
        for number in count(step):
            yield self.make(self.indices(number)[rank * per_process : (rank + 1) * per_process])


def prefetch(batches: Iterator[dict]) -> Iterator[dict]:
    """The same batches, each made in a thread while the one before is used. For GPUs: on a CPU the thread competes for the
    cores that train (measured on two cores: 118 ms a step instead of 78)."""
    with ThreadPoolExecutor(1, "batches") as worker:
        pending = worker.submit(next, batches, None)
        while (batch := pending.result()) is not None:
            pending = worker.submit(next, batches, None)
            yield batch
