"""Lesson 13: the course's own answers to the exercises, which its comparison uses, too."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random

import torch
from torch import Tensor, nn

HIGHER, LOWER, OPEN = "higher", "lower", "no difference shown"


def differing(settings: Mapping[str, Mapping]) -> list[str]:
    names = dict.fromkeys(name for system in settings.values() for name in system)
    different = []
    for name in names:
        values = [system.get(name) for system in settings.values()]
        lacking = any(name not in system for system in settings.values())
        if lacking or any(value != values[0] for value in values):
            different.append(name)
    return different


def ridge_map(features: Tensor, targets: Tensor, penalty: float) -> Tensor:
    X = torch.cat([features, torch.ones(len(features), 1)], 1)
    ridge = penalty * torch.eye(X.shape[1])
    ridge[-1, -1] = 0  # the bias isn't penalised
    return torch.linalg.solve(X.T @ X + ridge, X.T @ targets)


class MappedPrefix(nn.Module):
    """ClipCap's MLP: features (M, 1, C) -> vectors (M, n, D) near `start` (n, D)."""

    start: Tensor

    def __init__(self, width: int, start: Tensor, size: float):
        super().__init__()
        self.size = size
        self.register_buffer("start", start)
        n, D = start.shape
        self.first = nn.Linear(width, n * D // 2)
        self.second = nn.Linear(n * D // 2, n * D)

    def forward(self, features: Tensor) -> Tensor:
        moved = self.second(torch.tanh(self.first(features)))
        return self.start + self.size * moved.reshape(len(features), *self.start.shape)


def compare(first: Sequence[float], second: Sequence[float]) -> str:
    if len(first) < 2:
        return OPEN
    gaps = [a - b for a, b in zip(first, second)]
    pooled = ((statistics.variance(first) + statistics.variance(second)) / 2) ** 0.5
    mean = sum(gaps) / len(gaps)
    if abs(mean) <= 2 * pooled:
        return OPEN
    if all(gap > 0 for gap in gaps):
        return HIGHER
    return LOWER if all(gap < 0 for gap in gaps) else OPEN


def leaders(scores: Mapping[str, Sequence[float]], compare: Callable[..., str]) -> list[str]:
    best = max(scores, key=lambda name: sum(scores[name]) / len(scores[name]))
    return [
        name for name in scores if compare(scores[best], scores[name]) != HIGHER or name == best
    ]


def chair(
    captions: Sequence[str], present: Sequence[Collection[str]], nouns: Collection[str]
) -> tuple[float, float]:
    mentions = invented = with_one = 0
    for caption, there in zip(captions, present):
        named = [word for word in caption.split() if word in nouns]
        wrong = [word for word in named if word not in there]
        mentions += len(named)
        invented += len(wrong)
        with_one += bool(wrong)
    return invented / max(1, mentions), with_one / len(captions)


def absent_nouns(
    shown: Sequence[Collection[str]], present: Collection[str], k: int, adversarial: bool
) -> list[str]:
    counts: Counter[str] = Counter()
    for words in shown:
        weight = sum(word in words for word in present) if adversarial else 1
        for word in words:
            counts[word] += weight
    absent = [word for word in counts if word not in present]
    return sorted(absent, key=lambda word: (-counts[word], word))[:k]


def raised(log_probs: Tensor) -> Tensor:
    mean = log_probs.logsumexp(0) - torch.tensor(len(log_probs)).log()
    return log_probs > mean


def pope_scores(said: Sequence[str], answers: Sequence[str]) -> dict[str, float]:
    both = sum(a == b == "yes" for a, b in zip(said, answers))
    claimed, true = said.count("yes"), answers.count("yes")
    precision = both / claimed if claimed else 0.0
    recall = both / true
    return {
        "accuracy": sum(a == b for a, b in zip(said, answers)) / len(said),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if both else 0.0,
        "yes": claimed / len(said),
    }


def occlusion(score: Callable[[Tensor], Tensor], picture: Tensor, side: int) -> Tensor:
    rows, columns = (length // side for length in picture.shape[1:])
    whole = score(picture[None])[0]
    drops = torch.zeros(rows, columns)
    for r in range(rows):
        for c in range(columns):
            covered = picture.clone()
            covered[:, r * side : (r + 1) * side, c * side : (c + 1) * side] = 0
            drops[r, c] = whole - score(covered[None])[0]
    return drops


def wrong_answers(examples: Sequence[tuple], options: Sequence[str], rng: Random) -> list[tuple]:
    changed = []
    for picture, sentence in examples:
        *before, answer, stop = sentence.split()
        others = [option for option in options if option != answer]
        changed.append((picture, " ".join([*before, rng.choice(others), stop])))
    return changed


def kept_share(scores: Mapping[str, float], full: str, none: str, margin: float) -> dict | None:
    gain = scores[full] - scores[none]
    if gain <= margin:
        return None
    others = [name for name in scores if name not in (full, none)]
    return {name: (scores[name] - scores[none]) / gain for name in others}
