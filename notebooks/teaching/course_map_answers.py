"""Lesson 00's table of systems, and its own answers to its exercises."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

FLAVOURS = (
    "aligned encoders",
    "image generation",
    "image-conditioned text",
    "task-specific",
    "any input to text",
    "any to any",
)


@cache
def systems() -> tuple[dict, ...]:
    """The systems of the table, oldest first: name, year, arxiv, flavour, inputs, outputs, frozen, trained, meet, data, objective."""
    read = tomllib.loads(Path(__file__).with_name("course_map.toml").read_text("utf-8"))
    return tuple(sorted(read["systems"], key=lambda system: system["year"]))


def cosine_similarity(a: Tensor, b: Tensor) -> Tensor:
    """a (N, E), b (M, E) -> cosines of all pairs (N, M)."""
    return normalize(a, dim=-1) @ normalize(b, dim=-1).T


def class_probabilities(cosines: Tensor, temperature: float) -> Tensor:
    """softmax(cosines / temperature) over the classes: (N, C) -> (N, C)."""
    return (cosines / temperature).softmax(dim=-1)


def zero_shot(image_vectors: Tensor, class_vectors: Tensor, names: Sequence[str]) -> list[str]:
    """The name of the class whose vector has the highest cosine with each image: N names."""
    best = cosine_similarity(image_vectors, class_vectors).argmax(dim=-1)
    return [names[index] for index in best.tolist()]


def ranks_of_matches(similarity: Tensor) -> Tensor:
    """similarity (N, N), text n belongs to image n -> rank of each image's own text among all texts, 1 = best: (N,)."""
    own = similarity.diagonal()[:, None]
    return 1 + (similarity > own).sum(dim=1)


def recall_at(ranks: Tensor, ks: Sequence[int]) -> dict[int, float]:
    """Share of ranks (N,) up to each k: {k: 0 to 1}."""
    return {k: (ranks <= k).float().mean().item() for k in ks}


def compare_with_controls(
    accuracy: Callable[[Tensor], float], pixel_values: Tensor
) -> dict[str, float]:
    """The score with the right images, with blank ones (zeros), and with each image replaced by the next one of the batch."""
    return {
        "model": accuracy(pixel_values),
        "blank": accuracy(torch.zeros_like(pixel_values)),
        "shuffled": accuracy(pixel_values.roll(1, dims=0)),
    }


def count_parameters(model: nn.Module) -> dict[str, int]:
    """{"trained": numbers that receive gradients, "frozen": those that don't}; a shared tensor counts once."""
    counts = {"trained": 0, "frozen": 0}
    for parameter in model.parameters():
        counts["trained" if parameter.requires_grad else "frozen"] += parameter.numel()
    return counts


def systems_for(systems: Sequence[dict], inputs: set[str], outputs: set[str]) -> list[str]:
    """Names of the systems that accept at least these inputs and can produce at least these outputs, in the given order."""
    return [
        system["name"]
        for system in systems
        if inputs <= set(system["inputs"]) and outputs <= set(system["outputs"])
    ]


def flavour_of(name: str) -> str:
    """Which of FLAVOURS a system of the table is."""
    flavour = next(system["flavour"] for system in systems() if system["name"] == name)
    return flavour.split(" (")[0]
