"""Lesson 03: formulas, inputs and common mistakes of the exercises on noisy data, duplicates and overlap."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from teaching.clip_analysis_data_formulas import unit
from teaching.exercises import normal, number


def as_it_is(x: Tensor) -> Tensor:
    return x


def over_pairs(x: Tensor) -> Tensor:
    """The mistake: each feature, not each vector, gets length 1."""
    return unit(x, 0)


def keep_most_alike(
    images: Tensor, texts: Tensor, share: float, before=(unit, unit), largest=True
) -> Tensor:
    """Booleans (N,): the share of the pairs (N, E), (N, E) with the highest cosines."""
    cosine = (before[0](images) * before[1](texts)).sum(-1)
    kept = torch.zeros(len(images), dtype=torch.bool)
    kept[cosine.topk(int(share * len(images)), largest=largest).indices] = True
    return kept


def alike_inputs(generator: torch.Generator) -> tuple[list, dict]:
    count = 2 * number(generator, 10, 16)
    lengths = 0.2 + 3 * torch.rand(2, count, 1, generator=generator)
    images, texts = (normal(generator, count, 5) * lengths[i] for i in range(2))
    share = [0.25, 0.4, 0.6, 0.7][number(generator, 0, 3)]
    return [images, images * 0.5 + texts, share], {}


def best_text(images: Tensor, texts: Tensor, share: float) -> Tensor:
    """The mistake: each image's best text of all, not its own."""
    best = (normalize(images, dim=-1) @ normalize(texts, dim=-1).T).amax(1)
    kept = torch.zeros(len(images), dtype=torch.bool)
    kept[best.topk(int(share * len(images))).indices] = True
    return kept


def kept_rows(rows: Tensor, count: int) -> Tensor:
    """Booleans (count,), True at these rows."""
    return torch.zeros(count, dtype=torch.bool).index_fill(0, rows, True)


def as_ranks(images: Tensor, texts: Tensor, share: float) -> Tensor:
    """The mistake: the numbers that argsort gives are taken for the ranks of the pairs."""
    order = (unit(images) * unit(texts)).sum(-1).argsort(descending=True)
    return order < int(share * len(images))


def nearest_pairs(images: Tensor, texts: Tensor, share: float) -> Tensor:
    """The mistake: the pairs with the smallest Euclidean distance."""
    distance = (images - texts).norm(dim=-1)
    return kept_rows(distance.topk(int(share * len(images)), largest=False).indices, len(images))


def above_quantile(images: Tensor, texts: Tensor, share: float) -> Tensor:
    """The mistake: all pairs from a quantile of the cosines on."""
    cosine = (unit(images) * unit(texts)).sum(-1)
    return cosine >= cosine.quantile(1 - share)


def above_threshold(images: Tensor, texts: Tensor, share: float) -> Tensor:
    return (normalize(images, dim=-1) * normalize(texts, dim=-1)).sum(-1) > share


def cap_captions(texts: list[str], most: int) -> Tensor:
    """Booleans (N,): the first `most` pairs of each caption."""
    seen: dict[str, int] = {}
    kept = []
    for text in texts:
        seen[text] = seen.get(text, 0) + 1
        kept.append(seen[text] <= most)
    return torch.tensor(kept)


def cap_inputs(generator: torch.Generator) -> tuple[list, dict]:
    words = ["a cat", "a dog", "an axe", "a photo", "a car on blue"]
    most = number(generator, 3, 4)
    texts = [words[0]] * (most + 3) + [words[number(generator, 1, 4)] for _ in range(16)]
    order = torch.randperm(len(texts), generator=generator).tolist()
    return [[texts[i] for i in order], most], {}


def cap_neighbours(texts: list[str], most: int) -> Tensor:
    """The mistake: a caption is counted anew after each other caption."""
    run, kept = 0, []
    for before, text in zip(["", *texts], texts):
        run = run + 1 if text == before else 1
        kept.append(run <= most)
    return torch.tensor(kept)


def overlap_report(similarity: Tensor, threshold: float, correct: Tensor) -> dict[str, float]:
    """similarity (test, train), correct (test,) booleans -> overlap, and accuracy on all and on the clean part."""
    overlaps = similarity.amax(1) >= threshold
    return {
        "overlap": overlaps.float().mean().item(),
        "all": correct.float().mean().item(),
        "clean": correct[~overlaps].float().mean().item(),
    }


def overlap_inputs(generator: torch.Generator) -> tuple[list, dict]:
    tests, trains = number(generator, 12, 18), number(generator, 20, 30)
    similarity = 0.8 * torch.rand(tests, trains, generator=generator)
    similarity[: tests // 3, : trains // 3] += 0.15
    correct = torch.rand(tests, generator=generator) < 0.6
    correct[: tests // 4] = True
    correct[-2:] = False
    similarity[-3, 0] = 0.875  # exactly the threshold
    return [similarity, 0.875, correct], {}


def square_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """As many training items as test items, so that the wrong axis gives a value."""
    (similarity, threshold, correct), _ = overlap_inputs(generator)
    return [similarity[:, : len(correct)], threshold, correct], {}


def above_only(similarity: Tensor, threshold: float, correct: Tensor) -> dict[str, float]:
    """The mistake: an item exactly at the threshold counts as clean."""
    return overlap_report(similarity, threshold + 1e-6, correct)


def overlap_changed(**changes):
    """The report with some of its values replaced by functions of (similarity, threshold, correct, overlaps)."""

    def wrong(similarity, threshold, correct):
        overlaps = similarity.amax(1) >= threshold
        report = overlap_report(similarity, threshold, correct)
        return report | {
            key: value(similarity, threshold, correct, overlaps) for key, value in changes.items()
        }

    return wrong
