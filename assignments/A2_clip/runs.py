"""Training runs to be diagnosed in assignments. Don't read on if you are asked to diagnose them: the faults are written below."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize


def clip_run(run: str, steps: int = 200, batch: int = 32, seed: int = 0) -> dict:
    """One of the runs 'healthy', 'A', 'B', 'C', 'D' of two linear towers on noisy pairs: its loss and scale at each step, its
    R@1 among 64 pairs of the training data and among 64 held-out ones, and its batch."""
    if run not in ("healthy", "A", "B", "C", "D"):
        raise ValueError(f"no run {run!r}; there are healthy, A, B, C, D.")
    generator = torch.Generator().manual_seed(seed)
    to_image, to_text = (
        torch.randn(12, 24, generator=generator),
        torch.randn(12, 20, generator=generator),
    )

    def pairs(number: int) -> tuple[Tensor, Tensor]:
        meaning = torch.randn(number, 12, generator=generator)
        return (
            meaning @ to_image + torch.randn(number, 24, generator=generator),
            meaning @ to_text + torch.randn(number, 20, generator=generator),
        )

    images, texts = pairs(512)
    if run == "A":
        texts = texts[torch.randperm(512, generator=generator)]
    size = 1 if run == "B" else batch
    vision, language = nn.Linear(24, 16, bias=False), nn.Linear(20, 16, bias=False)
    for tower in (vision, language):
        nn.init.normal_(tower.weight, std=0.2, generator=generator)
    logit_scale = nn.Parameter(torch.tensor(6.0 if run == "C" else math.log(1 / 0.07)))
    optimiser = torch.optim.Adam(
        [*vision.parameters(), *language.parameters(), logit_scale], lr=0.01
    )
    losses, scales = [], []
    for _ in range(steps):
        chosen = torch.randperm(512, generator=generator)[:size]
        bounded = logit_scale.clamp(0, math.log(100)) if run == "C" else logit_scale
        logits = (
            bounded.exp()
            * normalize(vision(images[chosen]), dim=-1)
            @ normalize(language(texts[chosen]), dim=-1).T
        )
        right = torch.arange(size)
        loss = (cross_entropy(logits, right) + cross_entropy(logits.T, right)) / 2
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if run != "C":
            with torch.no_grad():
                logit_scale.clamp_(0, math.log(100))
        losses.append(loss.item())
        scales.append(logit_scale.exp().item())
    new_images, new_texts = pairs(64)
    if run == "D":
        new_images = (
            new_images.abs()
        )  # read in another way than in training, as with another normalisation of pixels
    with torch.no_grad():
        return {
            "batch": size,
            "loss": losses,
            "scale": scales,
            "R@1, training pairs": _recall(vision(images[:64]), language(texts[:64])),
            "R@1, held-out pairs": _recall(vision(new_images), language(new_texts)),
        }


def _recall(images: Tensor, texts: Tensor) -> float:
    cosines = normalize(images, dim=-1) @ normalize(texts, dim=-1).T
    return (cosines.argmax(1) == torch.arange(len(images))).float().mean().item()
