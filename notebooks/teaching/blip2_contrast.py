"""Lesson 10: the checks of the exercises on stage 1's contrastive loss."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize

from teaching import blip2_reference as reference
from teaching.exercises import Exercise, gradient_rule, normal, number, rule

unit = partial(normalize, dim=-1)


def same(x: Tensor) -> Tensor:
    return x


def similarity(queries: Tensor, text: Tensor, units=(unit, unit), over_queries=None) -> Tensor:
    """image_text_similarity with other choices."""
    over_queries = over_queries or (lambda cosines: cosines.amax(1))
    return over_queries(units[0](queries) @ units[1](text).T)


def chosen_by_length(queries: Tensor, text: Tensor) -> Tensor:
    """The cosine of the query with the largest dot product."""
    best = (queries @ text.T).argmax(1, keepdim=True)
    return (unit(queries) @ unit(text).T).gather(1, best)[:, 0]


def similarity_inputs(generator: torch.Generator) -> tuple[list, dict]:
    N, R, E = number(generator, 4, 5), number(generator, 2, 3), 5
    return [normal(generator, N, R, E, scale=2), normal(generator, 6, E, scale=3)], {}


SIMILARITY_MISTAKES = {
    "that is the mean over queries; another one stands above the exercise.": partial(
        similarity, over_queries=lambda c: c.mean(1)
    ),
    "the vectors are not normalised: a long vector would win whatever its direction.": partial(
        similarity, units=(same, same)
    ),
    "the queries are not normalised.": partial(similarity, units=(same, unit)),
    "the texts are not normalised.": partial(similarity, units=(unit, same)),
    "the queries are averaged before they are compared.": (
        lambda q, t: unit(unit(q).mean(1)) @ unit(t).T,
        lambda q, t: unit(q.mean(1)) @ unit(t).T,
    ),
    "that is the worst query, not the best.": partial(similarity, over_queries=lambda c: c.amin(1)),
    "signs are lost: a query that points away from the text fits worst, not best.": partial(
        similarity, over_queries=lambda c: c.abs().amax(1)
    ),
    "that is a soft maximum, to which every query adds; the best one counts alone.": (
        partial(similarity, over_queries=lambda c: (c.softmax(1) * c).sum(1)),
        partial(similarity, over_queries=lambda c: c.logsumexp(1)),
    ),
    "the best query is chosen by dot products; choose it by cosines.": chosen_by_length,
    "the queries are summed.": partial(similarity, over_queries=lambda c: c.sum(1)),
    "only the first query is compared.": partial(similarity, over_queries=lambda c: c[:, 0]),
    "the largest is taken over another axis: over the texts, not over an image's queries.": partial(
        similarity, over_queries=lambda c: c.amax(2)
    ),
    "rows and columns are exchanged: a row for each image, a column for each text.": lambda q, t: (
        similarity(q, t).T
    ),
    "torch.max over an axis returns two tensors, values and indices; wanted are the values.": partial(
        similarity, over_queries=lambda c: list(c.max(1))
    ),
    "these are the numbers of the best queries; wanted are their cosines.": partial(
        similarity, over_queries=lambda c: c.argmax(1)
    ),
    "vectors are normalised over another axis than their own, the last one.": (
        lambda q, t: similarity(q, t, units=(partial(normalize, dim=1), unit)),
        lambda q, t: similarity(q, t, units=(unit, partial(normalize, dim=0))),
        lambda q, t: similarity(q, t, (partial(normalize, dim=1), partial(normalize, dim=0))),
    ),
}


def itc_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Cosines of a batch in which two captions are equal, a temperature, groups, a smoothing."""
    B = number(generator, 4, 6)
    groups = torch.arange(B)
    groups[-1] = groups[0]
    temperature = (0.2, 0.3, 0.4)[number(generator, 0, 2)]
    smoothing = (0.1, 0.2, 0.3)[number(generator, 0, 2)]
    return [normal(generator, B, B).tanh(), temperature, groups, smoothing], {}


def learned_temperature(inputs: list, options: dict) -> tuple[list, dict]:
    """The temperature as a tensor, as it is while it is learned."""
    similarities, temperature, *rest = inputs
    return [similarities, torch.tensor(temperature), *rest], options


def itc(
    similarities: Tensor,
    temperature: float,
    groups: Tensor,
    smoothing: float,
    scale=lambda s, t: s / t,
    share: str = "equal",
    smooth=lambda y, s: (1 - s) * y + s / y.shape[1],
    both=lambda one, other: (one + other) / 2,
    reduce=lambda rows: rows.mean(),
) -> float:
    """itc_loss with other choices. share: of the target among positives."""
    positive = (groups[:, None] == groups[None, :]).float()
    targets = {
        "equal": positive / positive.sum(1, keepdim=True),
        "own": torch.eye(len(groups)),
        "each 1": positive,
        "first": torch.eye(len(groups))[positive.argmax(1)],
    }[share]
    targets, logits = smooth(targets, smoothing), scale(similarities, temperature)
    sides = (reduce(-(targets * x.log_softmax(-1)).sum(-1)) for x in (logits, logits.T))
    return float(both(*sides))


def first(one: Tensor, other: Tensor) -> Tensor:
    return one


def second(one: Tensor, other: Tensor) -> Tensor:
    return other


def each_way(*args, to_texts: dict, to_images: dict) -> float:
    """itc_loss with other choices in each direction."""
    return (itc(*args, both=first, **to_texts) + itc(*args, both=second, **to_images)) / 2


UNSMOOTHED = {"smooth": lambda y, s: y}
UNSCALED = {"scale": lambda s, t: s}
ITC_MISTAKES = {
    "smoothing is used in one direction only.": (
        partial(each_way, to_texts={}, to_images=UNSMOOTHED),
        partial(each_way, to_texts=UNSMOOTHED, to_images={}),
    ),
    "the temperature is used in one direction only.": (
        partial(each_way, to_texts={}, to_images=UNSCALED),
        partial(each_way, to_texts=UNSCALED, to_images={}),
    ),
    "the targets are smoothed twice: by hand and by `label_smoothing`.": partial(
        itc, smooth=lambda y, s: (1 - s) * ((1 - s) * y + s / len(y)) + s / len(y)
    ),
    "a softmax stands before the cross-entropy, which has one of its own.": (
        partial(itc, scale=lambda s, t: (s / t).softmax(1)),
        partial(
            each_way,
            to_texts={"scale": lambda s, t: (s / t).softmax(1)},
            to_images={"scale": lambda s, t: (s / t).softmax(0)},
        ),
    ),
    "the sum over candidates became a mean: that is B times too small.": partial(
        itc, reduce=lambda rows: rows.mean() / len(rows)
    ),
    "one of two equal captions gets the whole target; they share it.": partial(itc, share="first"),
    "similarities are multiplied by the temperature; divide by it.": partial(
        itc, scale=lambda s, t: s * t
    ),
    "the temperature is not used.": partial(itc, scale=lambda s, t: s),
    "only the pair itself is right: captions of the same group are right, too.": partial(
        itc, share="own"
    ),
    "a row with two right captions sums to more than 1: they share the target.": partial(
        itc, share="each 1"
    ),
    "there is no label smoothing.": partial(itc, smooth=lambda y, s: y),
    "the smoothing's share goes to the wrong captions alone; it is spread over all.": partial(
        itc, smooth=lambda y, s: (1 - s) * y + s * (1 - (y > 0).float()) / (1 - (y > 0).float()).sum(1, keepdim=True)
    ),
    "the two shares are exchanged: the right caption keeps 1 - smoothing.": partial(
        itc, smooth=lambda y, s: s * y + (1 - s) / y.shape[1]
    ),
    "the spread part is missing: the target sums to less than 1.": partial(
        itc, smooth=lambda y, s: (1 - s) * y
    ),
    "only images are compared with texts.": (
        partial(itc, both=lambda one, other: one),
        partial(itc, both=lambda one, other: one / 2),
    ),
    "only texts are compared with images.": (
        partial(itc, both=lambda one, other: other),
        partial(itc, both=lambda one, other: other / 2),
    ),
    "that is the sum of both directions; take their mean.": partial(
        itc, both=lambda one, other: one + other
    ),
    "that is the sum over the batch; take its mean.": partial(itc, reduce=lambda rows: rows.sum()),
    "the sign is wrong: a cross-entropy is never negative.": lambda *args: -itc(*args),
}  # fmt: skip


EXERCISES = {
    "image_text_similarity": Exercise(
        "Each picture is represented by the query that fits the text best.",
        (
            rule("image_text_similarity", similarity_inputs, similarity, SIMILARITY_MISTAKES),
            gradient_rule(
                "image_text_similarity",
                similarity_inputs,
                reference.image_text_similarity,
                2,
                "the values are right, but no gradient arrives at the vectors.",
            ),
        ),
        reference=reference.image_text_similarity,
    ),
    "itc_loss": Exercise(
        "Both directions, smoothed targets, and equal captions are no rivals.",
        (
            rule("itc_loss", itc_inputs, itc, ITC_MISTAKES),
            gradient_rule(
                "itc_loss",
                itc_inputs,
                reference.itc_loss,
                1,
                "the number is right, but no gradient arrives at the similarities.",
            ),
            gradient_rule(
                "itc_loss",
                lambda generator: learned_temperature(*itc_inputs(generator)),
                reference.itc_loss,
                2,
                "the number is right, but no gradient arrives at similarities and temperature.",
            ),
        ),
        reference=reference.itc_loss,
    ),
}
