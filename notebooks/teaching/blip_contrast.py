"""Lesson 08: the checks of the exercises on the contrastive loss: targets, the loss, momentum copies, the queue."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize

from teaching import blip_reference as reference
from teaching.exercises import (
    Exercise,
    gradient_rule,
    normal,
    number,
    rule,
)


def target_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Similarities with a batch in which two captions are equal, and with a queue."""
    B, Q = number(generator, 4, 6), number(generator, 3, 7)
    groups = torch.arange(B)
    groups[-1] = groups[0]
    alpha = (0.2, 0.3, 0.4, 0.6, 0.7)[number(generator, 0, 4)]
    return [normal(generator, B, B + Q, scale=2), groups, alpha], {}


def targets(
    similarities: Tensor,
    groups: Tensor,
    alpha: float,
    axis: int = -1,
    soft: Callable | None = None,
    split: bool = True,
    equal: bool = True,
) -> Tensor:
    """itc_targets with other choices. split: a row's positives share 1; equal: groups count, not only the diagonal."""
    B = len(groups)
    same = (groups[:, None] == groups[None, :] if equal else torch.eye(B).bool()).float()
    hard = torch.zeros_like(similarities)
    hard[:, :B] = same / same.sum(1, keepdim=True) if split else same
    soft = soft or (lambda s, groups: s.softmax(axis))
    return (1 - alpha) * hard + alpha * soft(similarities, groups)


def batch_only(similarities: Tensor, groups: Tensor) -> Tensor:
    """The softmax over the batch alone, with zeros for the queue."""
    found = torch.zeros_like(similarities)
    found[:, : len(groups)] = similarities[:, : len(groups)].softmax(-1)
    return found


TARGET_MISTAKES = {
    "only the pair itself is a positive: captions with equal groups are positives, too.": partial(
        targets, equal=False
    ),
    "a row with two positives sums to more than 1: its positives share the probability.": partial(
        targets, split=False
    ),
    "alpha is the share of the soft targets; yours gives it to the positives.": lambda s, g, a: (
        targets(s, g, 1 - a)
    ),
    "the softmax runs over the rows' images (dim 0): each row is a distribution over its texts.": (
        partial(targets, axis=0)
    ),
    "the soft part leaves out the queue: take the softmax over the whole row.": partial(
        targets, soft=batch_only
    ),
    "there are no soft targets: alpha is not used.": lambda s, g, a: targets(s, g, 0.0),
    "the positives are missing: these are the soft targets alone.": lambda s, g, a: targets(
        s, g, 1.0
    ),
    "the similarities are mixed in without a softmax.": partial(targets, soft=lambda s, g: s),
    "that is a log_softmax: targets are probabilities.": partial(
        targets, soft=lambda s, g: s.log_softmax(-1)
    ),
    "positives and soft targets are added, without weights 1 - alpha and alpha.": lambda s, g, a: (
        targets(s, g, 0.0) + s.softmax(-1)
    ),
    "the softmax comes last: it belongs to the similarities alone, before both parts are mixed.": (
        lambda s, g, a: ((1 - a) * targets(s, g, 0.0) + a * s).softmax(-1)
    ),
    "each text gets a sigmoid of its own; the soft part is a distribution: a softmax.": partial(
        targets, soft=lambda s, g: s.sigmoid()
    ),
    "the soft part is 1 for the most similar text and 0 for the others; keep all of the softmax.": (
        partial(targets, soft=lambda s, g: (s == s.amax(1, keepdim=True)).float())
    ),
    "the positives stand in the last columns: the batch's texts come first, then the queue's.": (
        lambda s, g, a: (
            (1 - a) * targets(s, g, 0.0).roll(s.shape[1] - len(g), 1) + a * s.softmax(-1)
        )
    ),
    "the softmax runs over the whole table: each row is a distribution over its texts.": partial(
        targets, soft=lambda s, g: s.flatten().softmax(0).view(s.shape)
    ),
    "the two parts have equal weights; they are 1 - alpha and alpha.": lambda s, g, a: (
        (targets(s, g, 0.0) + s.softmax(-1)) / 2
    ),
    "only one of the two parts has its weight: they are 1 - alpha and alpha.": (
        lambda s, g, a: targets(s, g, 0.0) + a * s.softmax(-1),
        lambda s, g, a: (1 - a) * targets(s, g, 0.0) + s.softmax(-1),
    ),
}


def explain_targets(
    got: object, wanted: Tensor, similarities: Tensor, groups: Tensor, *_
) -> str | None:
    """The queue's columns are missing."""
    if isinstance(got, Tensor) and got.shape == (len(groups), len(groups)):
        return (
            "the queue's columns are missing: a row has a target for each text of batch and queue."
        )
    return None


def loss_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Unit vectors of a batch, keys with a queue, targets both ways, a temperature."""
    B, E = number(generator, 3, 5), number(generator, 4, 6)
    keys = B + number(generator, 2, 4)
    shapes = (B, E), (B, E), (keys, E), (keys, E)
    vectors = [normalize(normal(generator, *shape), dim=-1) for shape in shapes]
    soft = [normal(generator, B, keys, scale=3).softmax(-1) for _ in range(2)]
    return [*vectors, soft, (0.2, 0.3, 0.5)[number(generator, 0, 2)]], {}


def loss(
    image: Tensor,
    text: Tensor,
    image_keys: Tensor,
    text_keys: Tensor,
    targets: list[Tensor],
    temperature: float,
    keys: str = "other",
    scale: Callable = lambda s, t: s / t,
    axis: int = -1,
    reduce: Callable = lambda rows: rows.mean(),
    both: Callable = lambda one, other: (one + other) / 2,
    exchanged: bool = False,
    log: Callable = lambda logits, axis: logits.log_softmax(axis),
) -> float:
    """itc_loss with other choices. keys: which an image is compared with."""
    first, second = (text_keys, image_keys) if keys == "other" else (image_keys, text_keys)
    logits = scale(image @ first.T, temperature), scale(text @ second.T, temperature)
    targets = targets[::-1] if exchanged else targets
    sides = (reduce(-(t * log(s, axis)).sum(-1)) for s, t in zip(logits, targets))
    return float(both(*sides))


def divergence(*args) -> float:
    """itc_loss less the mean entropy of its targets."""
    entropies = [-(one * one.log()).sum(-1).mean() for one in args[4]]
    return loss(*args) - float(sum(entropies)) / 2


def shared_logits(image, text, image_keys, text_keys, targets, temperature, turned=False) -> float:
    """itc_loss whose texts have the images' logits, as they are or transposed."""
    logits, second = image @ text_keys.T / temperature, targets[1]
    sides = [(logits, targets[0]), (logits.T, second.T) if turned else (logits, second)]
    return float(sum(-(t * s.log_softmax(-1)).sum(-1).mean() for s, t in sides)) / 2


def hardened(targets: Tensor) -> Tensor:
    """1 at the largest target of a row, 0 elsewhere."""
    return (targets == targets.amax(1, keepdim=True)).float()


LOSS_MISTAKES = {
    "an image is compared with images: its keys are those of the texts.": partial(loss, keys="own"),
    "similarities are multiplied by the temperature; divide by it.": partial(
        loss, scale=lambda s, t: s * t
    ),
    "the temperature is not used.": partial(loss, scale=lambda s, t: s),
    "the softmax runs over the batch (dim 0): each row is compared with all its keys.": partial(
        loss, axis=0
    ),
    "the two targets are exchanged: the first one is of images over texts.": partial(
        loss, exchanged=True
    ),
    "that is the sum over the batch; take its mean.": partial(loss, reduce=lambda r: r.sum()),
    "only images are compared with texts: texts must be compared with images, too.": (
        partial(loss, both=lambda one, other: one),
        partial(loss, both=lambda one, other: one / 2),
    ),
    "only texts are compared with images: images must be compared with texts, too.": (
        partial(loss, both=lambda one, other: other),
        partial(loss, both=lambda one, other: other / 2),
    ),
    "that is the sum of both directions; take their mean.": partial(
        loss, both=lambda one, other: one + other
    ),
    "that is the KL divergence, the cross-entropy less the targets' entropy.": (
        lambda *args: divergence(*args),
        lambda *args: divergence(*args) / len(args[2]),
    ),
    "the targets are turned into numbers of classes; they are probabilities, keep all of them.": (
        lambda *args: loss(*args[:4], [hardened(one) for one in args[4]], args[5])
    ),
    "the targets are not used: only a row's own key counts, which ignores alpha and equal captions.": (
        lambda *args: loss(*args[:4], [torch.eye(*one.shape) for one in args[4]], args[5])
    ),
    "both directions use the targets of images over texts; the second is of texts over images.": (
        lambda *args: loss(*args[:4], [args[4][0]] * 2, args[5])
    ),
    "texts have the images' logits; they need logits of their own, over the image keys.": (
        shared_logits,
        partial(shared_logits, turned=True),
    ),
    "the logarithm is missing: the loss is made of log probabilities.": lambda *args: loss(
        *args, log=lambda s, axis: s.softmax(axis)
    ),
    "this temperature is no logarithm: divide by it as it is, without exp or log.": (
        partial(loss, scale=lambda s, t: s * math.exp(t)),
        partial(loss, scale=lambda s, t: s / math.exp(t)),
    ),
    "the queue's keys are left out: the batch is compared with all keys.": lambda *args: loss(
        *args[:2],
        *(keys[: len(args[0])] for keys in args[2:4]),
        [one[:, : len(args[0])] for one in args[4]],
        args[5],
    ),
    "the sign is wrong: a cross-entropy is never negative.": lambda *args: -loss(*args),
    "that is the mean over the keys, too: one row's cross-entropy is a sum over its keys.": (
        lambda *args: loss(*args) / len(args[2])
    ),
}


EXERCISES = {
    "itc_targets": Exercise(
        "Positives share 1 - alpha; the momentum encoders' opinion has alpha, queue included.",
        (rule("itc_targets", target_inputs, targets, TARGET_MISTAKES, explain=explain_targets),),
        reference=reference.itc_targets,
    ),
    "itc_loss": Exercise(
        "Both directions, over the batch and the queue.",
        (
            rule("itc_loss", loss_inputs, loss, LOSS_MISTAKES),
            gradient_rule(
                "itc_loss",
                loss_inputs,
                reference.itc_loss,
                2,
                "the number is right, but no gradient arrives at the image and text vectors.",
            ),
        ),
        reference=reference.itc_loss,
    ),
}
