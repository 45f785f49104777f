"""Training: a loop that yields.

    for step in fit(model, batches, steps=1000):
        plot(step.losses)                       # the notebook is the consumer: it plots, evaluates, breaks

A model is anything with `losses(batch) -> dict of scalars`, summed here; `after_step()` is called if it has one.
Accelerate underneath brings device and data parallelism: `accelerate launch` runs the same code in many processes.
Step n draws its data and its randomness from (seed, n) alone, so a run that was killed resumes to the very same weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Optimisation:
    """AdamW with decoupled weight decay on matrices only, linear warm-up, cosine to zero."""

    learning_rate: float = 2e-3  # CLIP: 5e-4 at batch 32,768
    weight_decay: float = 0.1  # CLIP: 0.2
    betas: tuple[float, float] = (0.9, 0.98)
    warmup: float = 0.05  # part of all steps. CLIP: 2,000 of about 400,000
    max_norm: float = 1.0  # of the gradient

    def at(self, step: int, steps: int) -> float:
        """Learning rate of step 0 ... steps - 1."""
        warm = max(1, round(self.warmup * steps))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        return (
            self.learning_rate * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2
        )

    def optimiser(self, model: nn.Module, device: torch.device) -> torch.optim.AdamW:
        trainable = [p for p in model.parameters() if p.requires_grad]
        return torch.optim.AdamW(
            [
                {
                    "params": [p for p in trainable if p.dim() >= 2],
                    "weight_decay": self.weight_decay,
                },
                {"params": [p for p in trainable if p.dim() < 2], "weight_decay": 0.0},
            ],
            lr=self.learning_rate,
            betas=self.betas,
            fused=device.type in ("cpu", "cuda"),
        )
