"""Which number format trains fastest here."""

from __future__ import annotations

import math
import os
import time
from functools import cache

import torch


@cache
def fast_precision(device: torch.device | str = "cpu") -> torch.dtype:
    """bfloat16 where it multiplies matrices at least 1.5 times faster than float32, measured once; else float32.

    VLMCOURSE_PRECISION=float32 (or bfloat16) says which instead, so that several machines train alike.
    """
    if said := os.environ.get("VLMCOURSE_PRECISION"):
        if said not in ("float32", "bfloat16"):
            raise ValueError(f"VLMCOURSE_PRECISION is '{said}'; expected float32 or bfloat16 (or nothing: what is faster here).")
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
    return torch.bfloat16 if seconds[torch.float32] > 1.5 * seconds[torch.bfloat16] else torch.float32
