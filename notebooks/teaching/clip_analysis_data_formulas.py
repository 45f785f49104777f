"""Lesson 03: formulas, inputs and common mistakes of the exercises on class lists, shift, noisy data and overlap."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize

from teaching.exercises import normal, number


def unit(x: Tensor, dim: int = -1) -> Tensor:
    """Vectors of length 1."""
    return normalize(x, dim=dim)


def alarm_rate(images: Tensor, classes: Tensor, is_alarm: Tensor) -> float:
    """Share of images (N, E) whose nearest class (C, E) is one of the alarm classes (C,)."""
    return is_alarm[(images @ classes.T).argmax(1)].float().mean().item()


def alarm_inputs(
    generator: torch.Generator, shown: tuple[int, int] = (15, 25), listed: tuple[int, int] = (5, 8)
) -> tuple[list, dict]:
    """Unit vectors of images and classes, and which classes are alarms; shown, listed: how many images and classes."""
    count = number(generator, *listed)
    images = unit(normal(generator, number(generator, *shown), 6))
    order = torch.randperm(count, generator=generator)
    return [images, unit(normal(generator, count, 6)), order < count // 2], {}


def few_images(generator: torch.Generator) -> tuple[list, dict]:
    """Fewer images than classes, so that the nearest image of each class is a number below the number of classes."""
    return alarm_inputs(generator, (8, 9), (11, 14))


def alarm_probability(scale: float):
    """The mistake: the alarm classes' softmax probabilities, added up."""
    return lambda images, classes, is_alarm: (
        (scale * images @ classes.T).softmax(1)[:, is_alarm].sum(1).mean().item()
    )


def alarms_over(count):
    """The mistake: the number of alarms, divided by count(images, classes, is_alarm)."""
    return lambda *args: alarm_rate(*args) * len(args[0]) / count(*args)


def any_of_two(images: Tensor, classes: Tensor, is_alarm: Tensor) -> float:
    """The mistake: an image counts if one of its two nearest classes is an alarm."""
    return is_alarm[(images @ classes.T).topk(2).indices].any(1).float().mean().item()


def nearer_on_average(images: Tensor, classes: Tensor, is_alarm: Tensor) -> float:
    """The mistake: an image counts if the alarm classes are, on average, nearer than the others."""
    similarity = images @ classes.T
    nearer = similarity[:, is_alarm].mean(1) > similarity[:, ~is_alarm].mean(1)
    return nearer.float().mean().item()


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
    """Inputs for which no two of the common mistakes choose the same candidate, and one is best."""
    while True:
        (images, classes, is_alarm), _ = alarm_inputs(generator)
        candidates = unit(normal(generator, number(generator, 10, 13), 6))
        args = [images, classes, is_alarm, candidates]
        chosen = [best_class_to_add(*args, best=best) for best in (min, max)]
        chosen.append(best_class_to_add(*args, rate=partial(rate_with, alarm=True)))
        chosen += [most_similar(*args), wins_most(*args), 0, len(candidates) - 1]
        if len(set(chosen)) == 7 and last_of_equal(*args) == chosen[0]:
            return args, {}


def tied_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Inputs for which two candidates make the lowest rate, neither of them the first or the last one."""
    while True:
        (images, classes, is_alarm), _ = alarm_inputs(generator)
        candidates = unit(normal(generator, number(generator, 7, 9), 6))
        args = [images, classes, is_alarm, candidates]
        if 0 < best_class_to_add(*args) < last_of_equal(*args) < len(candidates) - 1:
            return args, {}


def last_of_equal(images, classes, is_alarm, candidates) -> int:
    """The last of the candidates that make the lowest rate."""
    rates = [rate_with(images, classes, is_alarm, one) for one in candidates]
    return len(rates) - 1 - rates[::-1].index(min(rates))


def wins_most(images, classes, is_alarm, candidates) -> int:
    """The candidate that becomes the nearest class of most images, alarms or not."""
    taken = images @ candidates.T > (images @ classes.T).amax(1, keepdim=True)
    return int(taken.sum(0).argmax())


def most_similar(images, classes, is_alarm, candidates) -> int:
    return int((images @ candidates.T).mean(0).argmax())


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


def by_gap(gap):
    """The mistake of another gap(scores, source), in 1 - model's / reference's."""
    return lambda model, reference, source: 1 - gap(model, source) / gap(reference, source)


def others(scores: dict[str, float], source: str) -> list[float]:
    """Accuracies in all styles but the source."""
    return [value for style, value in scores.items() if style != source]


def mean_of_ratios(model, reference, source) -> float:
    """The mistake: the ratio of the losses is averaged over styles."""
    ratios = [
        (model[source] - model[style]) / (reference[source] - reference[style])
        for style in model
        if style != source
    ]
    return 1 - sum(ratios) / len(ratios)


def mean_of(scores: dict[str, float], without: str | None = None) -> float:
    values = [value for key, value in scores.items() if key != without]
    return sum(values) / len(values)


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
