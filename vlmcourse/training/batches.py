"""Training: a loop that yields.

    for step in fit(model, batches, steps=1000):
        plot(step.losses)                       # the notebook is the consumer: it plots, evaluates, breaks

A model is anything with `losses(batch) -> dict of scalars`, summed here; `after_step()` is called if it has one.
Accelerate underneath brings device and data parallelism: `accelerate launch` runs the same code in many processes.
Step n draws its data and its randomness from (seed, n) alone, so a run that was killed resumes to the very same weights.
"""

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
        epoch, place = divmod(step, per_epoch)
        order = torch.randperm(
            self.examples, generator=torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        )
        return order[place * self.size : (place + 1) * self.size].tolist()

    def __getitem__(self, step: int) -> dict:
        return self.make(self.indices(step))

    def from_step(self, step: int, part: tuple[int, int] = (0, 1)) -> Iterator[dict]:
        """Batches from `step` on; process `part[0]` of `part[1]` gets its slice of each."""
        rank, processes = part
        if self.size % processes:
            raise ValueError(
                f"a batch of {self.size} cannot be shared by {processes} processes: expected a multiple."
            )
        mine = self.size // processes
        for number in count(step):
            yield self.make(self.indices(number)[rank * mine : (rank + 1) * mine])


def prefetch(batches: Iterator[dict]) -> Iterator[dict]:
    """The same batches, each made while the one before is used. For GPUs: on a CPU the thread would compete for the cores
    that train (measured on two: 118 ms a step instead of 78)."""
    with ThreadPoolExecutor(1, "batches") as worker:
        coming = worker.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = worker.submit(next, batches, None)
            yield batch
