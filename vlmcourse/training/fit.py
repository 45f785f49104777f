"""Training: a loop that yields.

    for step in fit(model, batches, steps=1000):
        plot(step.losses)                       # the notebook is the consumer: it plots, evaluates, breaks

A model is anything with `losses(batch) -> dict of scalars`, summed here; `after_step()` is called if it has one.
Accelerate underneath brings device and data parallelism: `accelerate launch` runs the same code in many processes.
Step n draws its data and its randomness from (seed, n) alone, so a run that was killed resumes to the very same weights.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from vlmcourse.training.batches import prefetch
from vlmcourse.training.devices import processes, rng_keyed_by, to_device
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.precision import device_precision, faster_precision
from vlmcourse.training.resume import restore_state, save_state


@dataclass(frozen=True)
class Step:
    """What one step of training did. `step` counts from 1; seconds are since the start of this run."""

    step: int
    steps: int
    losses: dict[str, float]
    learning_rate: float
    gradient_norm: float
    seconds: float
    left: float  # seconds still to go, at the speed so far

    @property
    def loss(self) -> float:
        return sum(self.losses.values())


class _Losses(nn.Module):
    """Data parallelism wraps a forward; this one is `model.losses`."""

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
    """Trains `model` in place, yielding a `Step` after each step; at the end it is back on the device it came from.

    batches     has `from_step(step, part)`: see Batches
    precision   torch.float32 or torch.bfloat16 (autocast); None: that in which this model's first step takes less time here
    checkpoint_path  a file: training is saved there every `checkpoint_every` steps and at the end; if it exists, training goes on from it.
                `fingerprint` (anything JSON can hold) must be what the file was made of, else ValueError.
    Raises FloatingPointError, naming the step, if the loss is no longer finite.
    """
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=processes().device.type == "cpu")
    home, device = next(model.parameters()).device, accelerator.device
    model.to(device)
    optimiser = optimisation.optimiser(model, device)
    first, fingerprint = 0, json.loads(json.dumps({"steps": steps, **(fingerprint or {})}))
    if checkpoint_path and checkpoint_path.exists():
        first, precision = restore_state(checkpoint_path, model, optimiser, fingerprint)
    precision = precision or _precision(model, batches, steps, accelerator)
    prepared = (
        accelerator.prepare(_Losses(model)) if accelerator.num_processes > 1 else _Losses(model)
    )
    parameters = [p for p in model.parameters() if p.requires_grad]
    model.train()
    start = time.perf_counter()
    upcoming = batches.from_step(first, (accelerator.process_index, accelerator.num_processes))
    for step, batch in zip(
        range(first, steps), prefetch(upcoming) if device.type == "cuda" else upcoming
    ):
        for group in optimiser.param_groups:
            group["lr"] = optimisation.at(step, steps)
        with rng_keyed_by(device, seed, step, accelerator.process_index):
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
                losses = prepared(to_device(device, batch))
            shown = {
                name: float(accelerator.reduce(value.detach(), "mean"))
                for name, value in losses.items()
            }
            if not math.isfinite(sum(shown.values())):
                raise FloatingPointError(
                    f"the loss is {sum(shown.values())} at step {step + 1}. Lower the learning rate "
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
        done, seconds = step + 1, time.perf_counter() - start
        if (
            checkpoint_path
            and accelerator.is_main_process
            and (done % checkpoint_every == 0 or done == steps)
        ):
            save_state(
                checkpoint_path,
                model,
                optimiser,
                {"step": done, "precision": str(precision), "fingerprint": fingerprint},
            )
        yield Step(
            done,
            steps,
            shown,
            optimiser.param_groups[0]["lr"],
            float(norm),
            seconds,
            seconds / (done - first) * (steps - done),
        )
    model.eval().to(home)


def _precision(model: nn.Module, batches, steps: int, accelerator) -> torch.dtype:
    """What this model trains faster in. Not measured in short runs, which don't pay for it, nor in several processes, whose
    losses wait for each other: these take what the first one's products are faster in."""
    device = accelerator.device
    if accelerator.num_processes > 1:
        vote = torch.tensor(
            float(accelerator.is_main_process and device_precision(device) == torch.bfloat16),
            device=device,
        )
        return torch.bfloat16 if accelerator.reduce(vote, "sum") > 0 else torch.float32
    if steps < 100 and not os.environ.get("VLMCOURSE_PRECISION"):
        return torch.float32

    @cache  # made when it is first asked for: where nothing is measured, nothing is copied
    def trial() -> tuple[nn.Module, dict]:
        return deepcopy(model).train(), to_device(
            device, next(iter(batches.from_step(0)))
        )  # losses may keep something, such as a queue

    def step() -> Tensor:
        copy, batch = trial()
        return sum(copy.losses(batch).values())

    with rng_keyed_by(device):
        return faster_precision(step, device)
