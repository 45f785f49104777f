"""Training: a loop that yields.

    for step in fit(model, batches, steps=1000):
        plot(step.losses)                       # the notebook is the consumer: it plots, evaluates, breaks

A model is anything with `losses(batch) -> dict of scalars`, summed here; `after_step()` is called if it has one.
Accelerate underneath brings device and data parallelism: `accelerate launch` runs the same code in many processes.
Step n draws its data and its randomness from (seed, n) alone, so a run that was killed resumes to the very same weights.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from vlmcourse.training import checkpoint


def save_state(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, notes: dict) -> None:
    state = optimiser.state_dict()["state"]
    checkpoint.save(
        path,
        {
            **{f"model.{name}": value for name, value in model.state_dict().items()},
            **{
                f"optimiser.{index}.{name}": value
                for index, values in state.items()
                for name, value in values.items()
            },
        },
        notes,
    )


def restore_state(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, fingerprint: dict
) -> tuple[int, torch.dtype]:
    tensors, notes = checkpoint.load(path)
    if differing := [
        name
        for name in {**fingerprint, **notes["fingerprint"]}
        if fingerprint.get(name) != notes["fingerprint"].get(name)
    ]:
        was, now = (
            {name: side.get(name) for name in sorted(differing)}
            for side in (notes["fingerprint"], fingerprint)
        )
        raise ValueError(
            f"{path} holds another run: it was made with {was}, this run asks for {now}. "
            "Use the same settings, or another place for the new run."
        )
    model.load_state_dict(
        {
            name.removeprefix("model."): value
            for name, value in tensors.items()
            if name.startswith("model.")
        }
    )
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, index, entry = name.split(".")
            state.setdefault(int(index), {})[entry] = value
    optimiser.load_state_dict(
        {"state": state, "param_groups": optimiser.state_dict()["param_groups"]}
    )
    return notes["step"], getattr(torch, notes["precision"].removeprefix("torch."))
