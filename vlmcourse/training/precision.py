"""float32 or bfloat16: what trains faster here. Products of bfloat16 can be several times as fast, and a model that makes few
of them, or small ones, still lose more to the casts than it gains: only the model itself can tell."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor


@cache
def device_precision(device: torch.device | str = "cpu") -> torch.dtype:
    """bfloat16 where it multiplies matrices at least 1.5 times as fast as float32, measured once; else float32.

    VLMCOURSE_PRECISION=float32 (or bfloat16) says which instead, so that several machines train alike.
    """
    if said := os.environ.get("VLMCOURSE_PRECISION"):
        if said not in ("float32", "bfloat16"):
            raise ValueError(
                f"VLMCOURSE_PRECISION is '{said}'; expected float32 or bfloat16 (or nothing: what is faster here)."
            )
        return getattr(torch, said)
    device = torch.device(device)
    if device.type == "mps":
        return torch.float32
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        x, w = (torch.randn(shape, device=device).to(dtype) for shape in ((2048, 256), (256, 1024)))
        times = []
        for _ in range(8):
            start = time.perf_counter()
            (x @ w).sum().item()  # item() waits for the device
            times.append(time.perf_counter() - start)
            if len(times) > 1 and min(times) > 4 * seconds.get(torch.float32, math.inf):
                break  # a processor that only imitates bfloat16 takes seconds for all eight
        seconds[dtype] = min(times)
    return (
        torch.bfloat16 if seconds[torch.float32] > 1.5 * seconds[torch.bfloat16] else torch.float32
    )


def faster_precision(step: Callable[[], Tensor], device: torch.device) -> torch.dtype:
    """float32 or bfloat16: that in which this very step (a loss, and its gradients) takes less time, the best of three in turns.

    It is float32, unmeasured, where `device_precision` is; and what VLMCOURSE_PRECISION says, if it says anything.
    """
    promising = device_precision(device)
    if promising == torch.float32 or os.environ.get("VLMCOURSE_PRECISION"):
        return promising
    seconds = {torch.float32: math.inf, torch.bfloat16: math.inf}
    for _ in range(3):
        for dtype in seconds:
            start = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
                loss = step()
            loss.backward()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds[dtype] = min(seconds[dtype], time.perf_counter() - start)
    return min(seconds, key=seconds.get)
