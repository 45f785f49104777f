"""Devices, processes and random numbers of a training run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def processes():
    """accelerate's PartialState: which of how many processes this is, and its device.

    On a machine without GPU accelerate must be told so, or processes that torchrun started would not join.
    """
    from accelerate import PartialState

    gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    return PartialState(cpu=not gpu or os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true")


def new_accelerator():
    """accelerate's Accelerator on the device of `processes()`."""
    from accelerate import Accelerator

    return Accelerator(cpu=processes().device.type == "cpu")


@contextmanager
def rng_keyed_by(device: torch.device, *key: int) -> Iterator[None]:
    """Inside, random numbers depend on `key` alone; the caller's own generator is left as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:6], "big"))
        yield


def to_device(device: torch.device, batch: dict) -> dict:
    """The batch with its tensors, also those of nested dicts, on `device`."""

    def moved(value):
        if isinstance(value, Tensor):
            return value.to(device, non_blocking=True)
        return to_device(device, value) if isinstance(value, dict) else value

    return {name: moved(value) for name, value in batch.items()}
