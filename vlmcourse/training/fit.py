"""Training: a loop that yields.

    for step in fit(model, batches, steps=1000):
        plot(step.losses)                       # the caller plots, evaluates, breaks

A model is anything with `losses(batch) -> dict of scalars`, which are summed; `after_step()` is called if it has one.
`accelerate launch` runs the same code in several processes. Step n draws its data and its random numbers from (seed, n)
alone, so a run that was killed resumes to the very same weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from vlmcourse.training.batches import prefetch
from vlmcourse.training.devices import new_accelerator, rng_keyed_by, to_device
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.precision import choose_precision
from vlmcourse.training.resume import RunFile


@dataclass(frozen=True)
class Step:
    """One training step. `step` counts from 1; `seconds` since the start of this run; `seconds_left` at the speed so far."""

    step: int
    steps: int
    losses: dict[str, float]
    learning_rate: float
    gradient_norm: float
    seconds: float
    seconds_left: float

    @property
    def loss(self) -> float:
        return sum(self.losses.values())


class _Losses(nn.Module):
    """`model.losses` as the forward that data parallelism wraps."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, batch: dict) -> dict[str, Tensor]:
        return self.model.losses(batch)


def fit(
    model: nn.Module,
    batches,
    steps: int,
    optimisation: Optimisation = Optimisation(),
    *,
    seed: int = 0,
    precision: torch.dtype | None = None,
    checkpoint_path: Path | None = None,
    checkpoint_every: int = 100,
    fingerprint: dict | None = None,
) -> Iterator[Step]:
    """Trains `model` in place and yields a `Step` after each step; at the end the model is back on its own device.

    batches          has `from_step(step, (rank, processes))`: see Batches
    precision        torch.float32 or torch.bfloat16 (autocast); None: the faster one for this model on this machine
    checkpoint_path  the run is saved here every `checkpoint_every` steps and at the end, and resumed from here
    fingerprint      what the run is made of (JSON); a checkpoint with another one is refused

    Raises FloatingPointError (the loss is not finite; names the step), ValueError (a checkpoint of another run),
    RunLocked (another process trains there), OSError (the last checkpoint could not be written).
    """
    accelerator = new_accelerator()
    home, device = next(model.parameters()).device, accelerator.device
    model.to(device)
    optimiser = optimisation.optimiser(model, device)
    ranks = accelerator.process_index, accelerator.num_processes
    with RunFile(checkpoint_path, {"steps": steps, **(fingerprint or {})}, ranks[0] == 0) as run:
        start, precision = run.restore(model, optimiser, precision)
        precision = precision or choose_precision(model, batches, steps, accelerator)
        parallel = accelerator.prepare(_Losses(model)) if ranks[1] > 1 else _Losses(model)
        parameters = [p for p in model.parameters() if p.requires_grad]
        upcoming = batches.from_step(start, ranks)
        upcoming = prefetch(upcoming) if device.type == "cuda" else upcoming
        model.train()
        began = time.perf_counter()
        for step, batch in zip(range(start, steps), upcoming):
            rate = optimisation.set_learning_rate(optimiser, step, steps)
            with rng_keyed_by(device, seed, step, ranks[0]):
                with torch.autocast(device.type, torch.bfloat16, precision == torch.bfloat16):
                    losses = parallel(to_device(device, batch))
                values = {
                    name: float(accelerator.reduce(value.detach(), "mean"))
                    for name, value in losses.items()
                }
                if not math.isfinite(sum(values.values())):
                    raise FloatingPointError(
                        f"the loss is {sum(values.values())} at step {step + 1}. Lower the learning rate "
                        f"({optimisation.learning_rate:g}) or look at that batch: batches[{step}]."
                    )
                sum(losses.values()).backward()
            norm = nn.utils.clip_grad_norm_(
                parameters, optimisation.max_norm, foreach=device.type == "cuda"
            )
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            if hasattr(model, "after_step"):
                model.after_step()
            done, seconds = step + 1, time.perf_counter() - began
            if done % checkpoint_every == 0 or done == steps:
                run.save(model, optimiser, done, precision)
            seconds_left = seconds / (done - start) * (steps - done)
            yield Step(done, steps, values, rate, float(norm), seconds, seconds_left)
    model.eval().to(home)
