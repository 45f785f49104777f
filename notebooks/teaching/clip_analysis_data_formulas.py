"""Lesson 03: formulas, inputs and common mistakes of the exercises on class lists and shift."""

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
        wins = {wins_most(*args), wins_among_all(*args), wins_among_candidates(*args)}
        chosen = [0, len(candidates) - 1, most_similar(*args)]
        if not wins.isdisjoint(chosen) or len(set(chosen)) < 3:
            continue  # before the slower ones
        chosen += [best_class_to_add(*args, best=best) for best in (min, max)]
        chosen.append(best_class_to_add(*args, rate=partial(rate_with, alarm=True)))
        distinct = wins.isdisjoint(chosen) and len(set(chosen)) == 6
        if distinct and last_of_equal(*args) == best_class_to_add(*args):
            return args, {}


def run_on_each(target, lists):
    """Driver: which candidate `target` adds to each of some class lists."""
    return [target(*one) for one in lists]


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


def wins_among_all(images, classes, is_alarm, candidates) -> int:
    """The candidate that is the answer of most images if all candidates join the list together."""
    answers = (images @ torch.cat([classes, candidates]).T).argmax(1)
    return int(
        (answers.bincount(minlength=len(classes) + len(candidates))[len(classes) :]).argmax()
    )


def wins_among_candidates(images, classes, is_alarm, candidates) -> int:
    """The candidate that is nearest of all candidates to most images."""
    return int((images @ candidates.T).argmax(1).bincount().argmax())


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


def easier_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """One style is harder for the model than the source, all others are easier: its gap is negative."""
    (model, reference, source), _ = gap_inputs(generator)
    first, *rest = (style for style in model if style != source)
    model |= {style: model[source] + 0.1 + 0.05 * model[style] for style in rest}
    return [model | {first: model[source] - 0.05}, reference, source], {}


def larger_gap_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """The model's gap is larger than the reference's."""
    (model, reference, source), _ = gap_inputs(generator)
    lower = {style: 0.2 * value for style, value in model.items() if style != source}
    return [lower | {source: 0.95}, reference | {source: 0.8}, source], {}


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
