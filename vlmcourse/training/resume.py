"""The file of a training run: saved on the way, resumed after a break, written by one process at a time."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vlmcourse.training import checkpoint

if TYPE_CHECKING:
    from filelock import BaseFileLock


class RunLocked(RuntimeError):
    """Another process is training into this file."""


class RunFile:
    """A context manager around one run's checkpoint; with path None it does nothing.

    path         the file: weights, optimiser state and step
    fingerprint  what the run is made of (JSON): a file with another one is refused
    writes       whether this process saves (of several, the first)

    Entering raises RunLocked if another process has entered it. The lock ends with its process, also if that is killed.
    """

    def __init__(self, path: Path | None, fingerprint: dict, writes: bool = True):
        self.path, self.writes = path, writes
        self.fingerprint = json.loads(json.dumps(fingerprint))
        self.lock: BaseFileLock | None = None

    def __enter__(self) -> RunFile:
        from filelock import FileLock, Timeout

        if self.path and self.writes:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(f"{self.path}.lock", is_singleton=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise RunLocked(
                    f"another process is training into {self.path}. Wait for it, or choose another folder."
                ) from None
            self.lock = lock
            checkpoint.remove_unfinished(self.path)
        return self

    def __exit__(self, *_) -> None:
        if self.lock:
            self.lock.release()

    def restore(
        self, model: nn.Module, optimiser: torch.optim.Optimizer, precision: torch.dtype | None
    ) -> tuple[int, torch.dtype | None]:
        """Loads the file into model and optimiser, if it exists: (steps done, its precision), else (0, `precision`).

        Raises ValueError, naming what differs, for the file of another run; DamagedCheckpoint for a damaged one.
        """
        if not self.path or not self.path.exists():
            return 0, precision
        tensors, notes = checkpoint.load(self.path)
        saved = notes["fingerprint"]
        names = sorted({**self.fingerprint, **saved})
        if differing := [name for name in names if self.fingerprint.get(name) != saved.get(name)]:
            was, now = (
                {name: side.get(name) for name in differing} for side in (saved, self.fingerprint)
            )
            raise ValueError(
                f"{self.path} holds another run: it was made with {was}, this run asks for {now}. "
                "Use the same settings, or another place for the new run."
            )
        model.load_state_dict(_with_prefix(tensors, "model."))
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _with_prefix(tensors, "optimiser.").items():
            index, entry = name.split(".")
            state.setdefault(int(index), {})[entry] = value
        param_groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": state, "param_groups": param_groups})
        return notes["step"], getattr(torch, notes["precision"].removeprefix("torch."))

    def save(
        self,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        step: int,
        precision: torch.dtype,
    ) -> None:
        """Saves the run after `step` steps. If the disk is full on the way, it warns, and the older checkpoint stays;
        after the last step it raises OSError."""
        if not self.path or not self.writes:
            return
        tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
        for index, values in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in values.items()}
        notes = {"step": step, "precision": str(precision), "fingerprint": self.fingerprint}
        try:
            checkpoint.save(self.path, tensors, notes)
        except OSError as error:
            if step == self.fingerprint.get("steps"):
                raise
            warnings.warn(f"step {step} is not saved: {error}", stacklevel=2)


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
