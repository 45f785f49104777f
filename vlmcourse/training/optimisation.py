"""AdamW with warm-up and a cosine schedule."""

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
        progress = (step - warm) / max(1, steps - warm)
        return self.learning_rate * (1 + math.cos(math.pi * progress)) / 2

    def set_learning_rate(self, optimiser: torch.optim.Optimizer, step: int, steps: int) -> float:
        """Sets and returns the learning rate of step 0 ... steps - 1."""
        for group in optimiser.param_groups:
            group["lr"] = self.at(step, steps)
        return self.at(step, steps)

    def optimiser(self, model: nn.Module, device: torch.device) -> torch.optim.AdamW:
        """AdamW over the parameters that learn; vectors and scalars are not decayed."""
        trainable = [p for p in model.parameters() if p.requires_grad]
        decayed = [p for p in trainable if p.dim() >= 2]
        others = [p for p in trainable if p.dim() < 2]
        return torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": self.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=self.learning_rate,
            betas=self.betas,
            fused=device.type in ("cpu", "cuda"),
        )


@dataclass(frozen=True)
class HeldOptimisation(Optimisation):
    """As Optimisation, but the learning rate stays constant up to `hold` of all steps before the cosine begins."""

    hold: float = 0.5

    def at(self, step: int, steps: int) -> float:
        held = round(self.hold * steps)
        if step < held:
            return self.learning_rate * min(1.0, (step + 1) / max(1, round(self.warmup * steps)))
        return self.learning_rate * (1 + math.cos(math.pi * (step - held) / (steps - held))) / 2
