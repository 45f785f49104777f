"""Training runs to be diagnosed: their curves alone, as `assignments/A2_clip/runs.py` made them. The causes aren't here."""

import json
from functools import cache
from pathlib import Path

CURVES = Path(__file__).parent / "shown" / "runs" / "clip.json"


@cache
def _curves() -> dict[str, dict]:
    return json.loads(CURVES.read_text(encoding="utf-8"))


def clip_run(run: str) -> dict:
    """One of the runs 'healthy', 'A', 'B', 'C', 'D' of two linear towers on noisy pairs: its loss and scale at each step, its
    R@1 among 64 pairs of the training data and among 64 held-out ones, and its batch."""
    if run not in _curves():
        raise ValueError(f"no run {run!r}; there are {', '.join(_curves())}.")
    return dict(_curves()[run])
