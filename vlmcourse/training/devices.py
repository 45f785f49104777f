"""Training: a loop that yields.

    for step in fit(model, batches, steps=1000):
        plot(step.losses)                       # the notebook is the consumer: it plots, evaluates, breaks

A model is anything with `losses(batch) -> dict of scalars`, summed here; `after_step()` is called if it has one.
Accelerate underneath brings device and data parallelism: `accelerate launch` runs the same code in many processes.
Step n draws its data and its randomness from (seed, n) alone, so a run that was killed resumes to the very same weights.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def processes():
    """accelerate's PartialState: which of how many processes is this, on which device?

    On a machine without GPU accelerate must be told so, or processes that torchrun started would not join.
    """
    from accelerate import PartialState

    gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    return PartialState(cpu=not gpu or os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true")


@contextmanager
def rng_keyed_by(device: torch.device, *of: int) -> Iterator[None]:
    """Random numbers that depend on nothing but `of`; the notebook's own are left alone."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int.from_bytes(hashlib.sha256(repr(of).encode()).digest()[:6], "big"))
        yield


def to_device(device: torch.device, batch: dict) -> dict:
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in batch.items()
    }
