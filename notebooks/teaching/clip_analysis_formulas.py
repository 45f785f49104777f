"""Lesson 03: the right formula of each exercise, what it is tried on, and the formulas of common mistakes."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from teaching.exercises import normal, number


def unit(x: Tensor) -> Tensor:
    """Vectors of length 1."""
    return normalize(x, dim=-1)


def standardise(
    train: Tensor, test: Tensor, shift=lambda train, test: train, dim=0, scale=True, constant=1.0
) -> list[Tensor]:
    """[train, test] by the mean and standard deviation of each feature in shift(train, test)."""
    found = shift(train, test)
    mean, std = found.mean(dim, keepdim=True), found.std(dim, correction=0, keepdim=True)
    std = torch.where(std > 0, std, constant) if scale else torch.ones_like(std)
    return [(part - mean) / std for part in (train, test)]


def standardise_inputs(generator: torch.Generator) -> tuple[list, dict]:
    width = number(generator, 3, 6)
    train = normal(generator, number(generator, 6, 9), width) * torch.arange(1, width + 1) + 2
    test = 3 * normal(generator, number(generator, 4, 6), width) - 1
    train[:, number(generator, 0, width - 1)] = 5.0  # a constant feature
    return [train, test], {}


def each_alone(train: Tensor, test: Tensor) -> list[Tensor]:
    return [standardise(part, part)[0] for part in (train, test)]


def probe_loss(
    weight: Tensor,
    bias: Tensor,
    features: Tensor,
    labels: Tensor,
    l2: float,
    penalty=lambda weight, bias: 0.5 * (weight**2).sum(),
    reduction: str = "mean",
    logits_of=lambda logits: logits,
    shift: float = 1.0,
) -> Tensor:
    """Multinomial logistic regression with an L2 penalty: weight (C, D), bias (C,), features (N, D), labels (N,)."""
    logits = logits_of(features @ weight.T + shift * bias)
    return cross_entropy(logits, labels, reduction=reduction) + l2 * penalty(weight, bias)


def as_float(**changes):
    return lambda *args: probe_loss(*args, **changes).item()


def probe_inputs(generator: torch.Generator) -> tuple[list, dict]:
    classes, width, rows = (number(generator, low, low + 3) for low in (3, 4, 7))
    weight, bias = normal(generator, classes, width), normal(generator, classes)
    labels = torch.randint(classes, (rows,), generator=generator)
    l2 = 0.1 + torch.rand((), generator=generator).item()
    return [weight, bias, normal(generator, rows, width), labels, l2], {}


def draw_shots(labels: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Rows of k different examples of each class: (N,) -> (C * k,)."""
    rows = []
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        rows.append(members[torch.randperm(len(members), generator=generator)[:k]])
    return torch.cat(rows)


def run_draws(target, labels, k, seed):
    """Driver: what draws with two seeds have in common, and the first one twice."""
    import torch

    def draw(seed):
        rows = torch.as_tensor(target(labels, k, torch.Generator().manual_seed(seed)))
        return rows.flatten().sort().values

    first, again, other = draw(seed), draw(seed), draw(seed + 1)
    valid = len(first) > 0 and bool((first >= 0).all() and (first < len(labels)).all())
    counts = torch.bincount(labels[first]) if valid else torch.zeros(1, dtype=torch.long)
    return [
        counts,
        len(first.unique()) == len(first),
        torch.equal(first, again),
        not torch.equal(first, other),
    ]


def draw_inputs(generator: torch.Generator) -> tuple[list, dict]:
    classes, k = number(generator, 3, 5), number(generator, 3, 5)
    counts = [number(generator, 9, 14) for _ in range(classes)]
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    return [labels[torch.randperm(len(labels), generator=generator)], k, 7], {}


def per_class(labels: Tensor, k: int) -> Tensor:
    return torch.full((int(labels.max()) + 1,), k)


def explain_draws(got, wanted, labels: Tensor, k: int, seed: int) -> str | None:
    """What is wrong with [counts of each class, all different?, repeatable?, random?]."""
    if not isinstance(got, list) or len(got) != 4 or not isinstance(got[0], Tensor):
        return None
    counts, different, repeatable, random = got
    if counts.sum() == k:
        return "that is k rows in all: k rows of *each class* are wanted."
    if counts.sum() == 0:
        return "these are not numbers of rows: return positions in `labels`, each from 0 to N - 1."
    if not torch.equal(counts, wanted[0]):
        return f"the classes have {counts.tolist()} rows; each must have {k}."
    if not different:
        return "a row is drawn twice: draw without replacement."
    if not repeatable:
        return "the same generator state gives other rows: give `generator` to each random call."
    if not random:
        return "another generator gives the same rows: draw them at random, not the first ones."
    return None


def shots_worth(
    shots: list[int], accuracy: list[float], zero_shot: float, axis=math.log2, back=lambda x: 2.0**x
) -> float:
    """Labelled examples a class at which the few-shot curve reaches zero_shot: linear in log2(shots) between points."""
    if zero_shot <= accuracy[0]:
        return float(shots[0])
    for number_of_shots, more, low, high in zip(shots, shots[1:], accuracy, accuracy[1:]):
        if low < zero_shot <= high:
            share = (zero_shot - low) / (high - low)
            return float(back(axis(number_of_shots) + share * (axis(more) - axis(number_of_shots))))
    return math.inf


def worth_inputs(generator: torch.Generator, level=lambda a, share: a[1] + share * (a[3] - a[1])):
    accuracy = (0.2 + torch.rand(5, generator=generator).cumsum(0) / 7).tolist()
    share = torch.rand((), generator=generator).item()
    return [[1, 2, 4, 8, 16], accuracy, level(accuracy, 0.1 + 0.8 * share)], {}


def next_point(shots, accuracy, zero_shot) -> float:
    reached = (float(k) for k, value in zip(shots, accuracy) if value >= zero_shot)
    return next(reached, math.inf)


def last_point(shots, accuracy, zero_shot) -> float:
    below = [float(k) for k, value in zip(shots, accuracy) if value <= zero_shot]
    return below[-1] if below else float(shots[0])


def nearest_point(shots, accuracy, zero_shot) -> float:
    return float(min(zip(shots, accuracy), key=lambda pair: abs(pair[1] - zero_shot))[0])


def clamped(shots, accuracy, zero_shot) -> float:
    return min(shots_worth(shots, accuracy, zero_shot), float(shots[-1]))


def alarm_rate(images: Tensor, classes: Tensor, is_alarm: Tensor) -> float:
    """Share of images (N, E) whose nearest class (C, E) is one of the alarm classes (C,)."""
    return is_alarm[(images @ classes.T).argmax(1)].float().mean().item()


def alarm_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Inputs for which no two of the common mistakes give the same rate."""
    while True:
        count = number(generator, 5, 8)
        images = unit(normal(generator, number(generator, 15, 25), 6))
        classes, order = (
            unit(normal(generator, count, 6)),
            torch.randperm(count, generator=generator),
        )
        is_alarm = order < count // 2
        similarity = images @ classes.T
        any_alarm = (similarity[:, is_alarm] > 0).any(1).float().mean().item()
        of_images = is_alarm[similarity.argmax(0) % count].float().mean().item()
        rates = [alarm_rate(images, sign * classes, is_alarm) for sign in (1, -1)]
        share = is_alarm.float().mean().item()
        values = [
            rates[0],
            1 - rates[0],
            rates[1],
            share,
            rates[0] * len(images),
            any_alarm,
            of_images,
        ]
        if len({round(value, 3) for value in values}) == len(values):
            return [images, classes, is_alarm], {}


def rate_with(images: Tensor, classes: Tensor, is_alarm: Tensor, added: Tensor, alarm=False):
    """The alarm rate after one class (E,) has joined the list."""
    return alarm_rate(
        images, torch.cat([classes, added[None]]), torch.cat([is_alarm, torch.tensor([alarm])])
    )


def best_class_to_add(
    images: Tensor, classes: Tensor, is_alarm: Tensor, candidates: Tensor, rate=rate_with, best=min
) -> int:
    """Which candidate (K, E), joining as a harmless class, makes the alarm rate lowest; the first of equal ones."""
    rates = [rate(images, classes, is_alarm, one) for one in candidates]
    return rates.index(best(rates))


def add_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Inputs for which no two of the common mistakes choose the same candidate."""
    while True:
        (images, classes, is_alarm), _ = alarm_inputs(generator)
        candidates = unit(normal(generator, number(generator, 7, 9), 6))
        args = [images, classes, is_alarm, candidates]
        chosen = [best_class_to_add(*args, best=best) for best in (min, max)]
        chosen.append(best_class_to_add(*args, rate=partial(rate_with, alarm=True)))
        if len({0, len(candidates) - 1, *chosen, most_similar(*args)}) == 6:
            return args, {}


def most_similar(images, classes, is_alarm, candidates) -> int:
    return int((images @ candidates.T).mean(0).argmax())


def vit_flops(
    width: int,
    depth: int,
    patches: int,
    patch: int,
    mac: int = 2,
    token: int = 1,
    attention: int = 2,
    projections: int = 4,
    mlp: int = 8,
    channels: int = 3,
) -> int:
    """Matrix products of a ViT's forward pass, one image."""
    tokens = patches + token
    embed = patches * channels * patch**2 * width
    block = tokens * (projections + mlp) * width**2 + attention * tokens**2 * width
    return mac * (embed + depth * block)


def flops_inputs(generator: torch.Generator) -> tuple[list, dict]:
    width, side = 8 * number(generator, 2, 20), number(generator, 3, 9)
    return [width, number(generator, 2, 12), side**2, 4 * number(generator, 2, 7)], {}


def compute_factor(
    compute: list[float], error: list[float], target: float, axis=math.log, back=math.exp
) -> float:
    """How many times the largest compute the line through (log compute, log error) needs for the target error."""
    x = torch.tensor([axis(value) for value in compute], dtype=torch.float64)
    y = torch.tensor([axis(value) for value in error], dtype=torch.float64)
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    return back((x.mean() + (axis(target) - y.mean()) / slope).item()) / max(compute)


def factor_inputs(generator: torch.Generator) -> tuple[list, dict]:
    compute = [10.0 ** (power + 0.3 * torch.rand((), generator=generator).item())
               for power in (0, 0.6, 1.2, 1.8)]  # fmt: skip
    slope = 0.2 + 0.2 * torch.rand((), generator=generator).item()
    noise = normal(generator, 4, scale=0.05).exp().tolist()
    error = [0.6 * value**-slope * factor for value, factor in zip(compute, noise)]
    order = [(0, 3, 2, 1), (3, 0, 1, 2), (2, 0, 3, 1), (1, 3, 0, 2)][number(generator, 0, 3)]
    return [[compute[i] for i in order], [error[i] for i in order], 0.5 * min(error)], {}


def two_points(compute, error, target) -> float:
    """The line through the smallest and the largest model."""
    pairs = sorted(zip(compute, error))
    return compute_factor(*map(list, zip(pairs[0], pairs[-1])), target)


def gap_closed(model: dict[str, float], reference: dict[str, float], source: str) -> float:
    """Share of the reference's loss of accuracy under shift that the model avoids."""
    gaps = [
        scores[source] - sum(v for k, v in scores.items() if k != source) / (len(scores) - 1)
        for scores in (model, reference)
    ]
    return 1 - gaps[0] / gaps[1]


def gap_inputs(generator: torch.Generator) -> tuple[list, dict]:
    names = ["grey", "sketch", "noise", "rotated", "inverted"][: number(generator, 2, 5)]
    source = ["as trained", "photos"][number(generator, 0, 1)]

    def scores(low: float) -> dict[str, float]:
        values = torch.rand(len(names) + 1, generator=generator).tolist()
        shifted = {name: low + 0.3 * value for name, value in zip(names, values)}
        return shifted | {source: 0.8 + 0.15 * values[-1]}

    return [scores(0.4), scores(0.1), source], {}


def mean_of(scores: dict[str, float], without: str | None = None) -> float:
    values = [value for key, value in scores.items() if key != without]
    return sum(values) / len(values)


def keep_most_alike(
    images: Tensor, texts: Tensor, share: float, before=unit, largest=True
) -> Tensor:
    """Booleans (N,): the share of the pairs (N, E), (N, E) with the highest cosines."""
    cosine = (before(images) * before(texts)).sum(-1)
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
    most = number(generator, 2, 3)
    texts = [words[0]] * (most + 3) + [words[number(generator, 1, 4)] for _ in range(14)]
    order = torch.randperm(len(texts), generator=generator).tolist()
    return [[texts[i] for i in order], most], {}


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
    return [similarity, 0.85, correct], {}


def overlap_changed(**changes):
    """The report with some of its values replaced by functions of (similarity, threshold, correct, overlaps)."""

    def wrong(similarity, threshold, correct):
        overlaps = similarity.amax(1) >= threshold
        report = overlap_report(similarity, threshold, correct)
        return report | {
            key: value(similarity, threshold, correct, overlaps) for key, value in changes.items()
        }

    return wrong
