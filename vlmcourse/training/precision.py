"""float32 or bfloat16: which trains faster here. Only the model itself can tell: one with few or small products loses
more to the casts than it gains."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from copy import deepcopy
from functools import cache

import torch
from torch import Tensor, nn

from vlmcourse.training.devices import rng_keyed_by, to_device


def _from_environment() -> torch.dtype | None:
    """VLMCOURSE_PRECISION, so that several machines train alike."""
    if name := os.environ.get("VLMCOURSE_PRECISION"):
        if name not in ("float32", "bfloat16"):
            raise ValueError(
                f"VLMCOURSE_PRECISION is '{name}'; expected float32 or bfloat16 (or nothing: what is faster here)."
            )
        return getattr(torch, name)
    return None


@cache
def device_precision(device: torch.device | str = "cpu") -> torch.dtype:
    """bfloat16 where it multiplies matrices at least 1.5 times as fast as float32, measured once; else float32.

    VLMCOURSE_PRECISION (float32 or bfloat16) decides instead, if set; ValueError for anything else.
    """
    if chosen := _from_environment():
        return chosen
    device = torch.device(device)
    if device.type == "mps":
        return torch.float32
    seconds: dict[torch.dtype, float] = {}
    for dtype in (torch.float32, torch.bfloat16):
        x, w = (torch.randn(shape, device=device).to(dtype) for shape in ((2048, 256), (256, 1024)))
        times = []
        for _ in range(8):
            start = time.perf_counter()
            (x @ w).sum().item()  # item() waits for the device
            times.append(time.perf_counter() - start)
            if len(times) > 1 and min(times) > 4 * seconds.get(torch.float32, math.inf):
                break  # a processor that only emulates bfloat16 takes seconds for all eight
        seconds[dtype] = min(times)
    faster = seconds[torch.float32] > 1.5 * seconds[torch.bfloat16]
    return torch.bfloat16 if faster else torch.float32


def faster_precision(step: Callable[[], Tensor], device: torch.device) -> torch.dtype:
    """float32 or bfloat16: in which this step (a loss, and its gradients) takes less time; the best of three each.

    Not measured where `device_precision` is float32 or VLMCOURSE_PRECISION decides.
    """
    promising = device_precision(device)
    if promising == torch.float32 or _from_environment():
        return promising
    seconds = {torch.float32: math.inf, torch.bfloat16: math.inf}
    for _ in range(3):
        for dtype in seconds:
            start = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, dtype == torch.bfloat16):
                loss = step()
            loss.backward()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds[dtype] = min(seconds[dtype], time.perf_counter() - start)
    return min(seconds, key=lambda dtype: seconds[dtype])


def choose_precision(model: nn.Module, batches, steps: int, accelerator) -> torch.dtype:
    """What this model trains faster in. Not measured in runs under 100 steps, which don't pay for it, nor in several
    processes, whose losses wait for each other: these take what the first one's `device_precision` says."""
    device = accelerator.device
    if accelerator.num_processes > 1:
        fast = accelerator.is_main_process and device_precision(device) == torch.bfloat16
        vote = accelerator.reduce(torch.tensor(float(fast), device=device), "sum")
        return torch.bfloat16 if vote > 0 else torch.float32
    if steps < 100 and not _from_environment():
        return torch.float32

    @cache  # made at the first call: where nothing is measured, nothing is copied
    def trial() -> tuple[nn.Module, dict]:
        batch = next(iter(batches.from_step(0)))
        return deepcopy(model).train(), to_device(device, batch)  # losses may change a queue

    def step() -> Tensor:
        copy, batch = trial()
        return sum(copy.losses(batch).values())

    with rng_keyed_by(device):
        return faster_precision(step, device)
