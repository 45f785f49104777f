"""Lesson 04: the checks of the exercises on losses, of regions and of answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    logsigmoid,
    one_hot,
)

from teaching import vilbert_reference as reference
from teaching.exercises import Exercise, gradient_rule, normal, number, rule
from teaching.vilbert_reference import kl_at_regions
from vlmgrader.checks import Check


def loss_inputs(generator: torch.Generator, certain: bool = False, none: bool = False):
    shape = 2, number(generator, 4, 6), number(generator, 5, 7)
    selected = torch.zeros(shape[:2], dtype=torch.bool)
    selected[0, 0] = selected[0, 2] = selected[1, -1] = not none
    classes = normal(generator, *shape, scale=2).softmax(-1)
    if certain:
        classes[0, 0] = torch.eye(shape[-1])[1]
    return [normal(generator, *shape), classes, selected], {}


def over(per_region: Callable[[Tensor, Tensor], Tensor], reduce=None):
    """A loss of (logits, classes) -> (B, R), over the selected regions; reduce: another way than their mean."""
    reduce = reduce or (lambda values, selected: values[selected].mean())
    return lambda logits, classes, selected: reduce(per_region(logits, classes), selected).item()


def kl(log_probs: Callable[[Tensor], Tensor]):
    return lambda logits, classes: (classes * (classes.log() - log_probs(logits))).sum(-1)


right_kl = kl(lambda logits: logits.log_softmax(-1))


def first_class(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy at the likeliest class alone."""
    return -logits.log_softmax(-1).gather(-1, classes.argmax(-1, keepdim=True))[..., 0]


def per_class(loss: Callable) -> Callable:
    return lambda g, c, a: loss(g, c, a) / g.shape[-1]


LOSS_MISTAKES = {
    "regions that are not selected count, too: their answer is in the input.": over(
        right_kl, lambda values, selected: values.mean()
    ),
    "that is the mean over classes, too: one region's divergence is a sum over classes.": per_class(
        over(right_kl)
    ),
    "that is the sum over the selected regions; take their mean.": over(
        right_kl, lambda values, selected: values[selected].sum()
    ),
    "the sum over the selected regions is divided by the number of all regions.": over(
        right_kl, lambda values, selected: (values * selected).mean()
    ),
    "the sum over the selected regions is divided by the number of pictures.": over(
        right_kl, lambda values, selected: values[selected].sum() / len(values)
    ),
    "the regions that are not selected count instead.": over(
        right_kl, lambda values, selected: values[~selected].mean()
    ),
    "the two distributions are exchanged: the detector's is the target.": lambda g, c, a: over(
        right_kl
    )(c.log(), g.softmax(-1), a),
    "that is the cross-entropy with the whole distribution: it has the same gradient, but it lacks the "
    "entropy of the detector's distribution.": over(lambda g, c: -(c * g.log_softmax(-1)).sum(-1)),
    "that is the cross-entropy with the likeliest class, as in VL-BERT: ViLBERT's target is the whole "
    "distribution.": over(first_class),
    "kl_div was given logits: its first argument is log-probabilities.": (
        over(kl(lambda g: g)),
        per_class(over(kl(lambda g: g))),
    ),
    "kl_div was given probabilities: its first argument is *log*-probabilities.": (
        over(kl(lambda g: g.softmax(-1))),
        per_class(over(kl(lambda g: g.softmax(-1)))),
    ),
    "the mean is taken picture by picture, then over pictures: take it over all selected regions.": over(
        right_kl,
        lambda values, selected: ((values * selected).sum(1) / selected.sum(1).clamp(min=1)).mean(),
    ),
    "the logarithm has base 2: the formula has the natural one.": lambda *args: (
        kl_at_regions(*args).item() / math.log(2)
    ),
    "the softmax runs over regions: it runs over classes, the last axis.": (
        over(kl(lambda g: g.log_softmax(1))),
        lambda g, c, a: over(kl(lambda _: g[a].log_softmax(0)))(
            g[a], c[a], torch.ones(len(g[a])).bool()
        ),
    ),
    "that is the squared difference of the distributions, not their divergence.": over(
        lambda g, c: ((c - g.softmax(-1)) ** 2).sum(-1)
    ),
    "the sign is wrong: a divergence is never negative.": lambda *args: (
        -kl_at_regions(*args).item()
    ),
}


def number_of(loss: Callable[..., Tensor]) -> Callable[..., float]:
    return lambda *args: loss(*args).item()


def loss_check(mistakes: dict, **kind: bool) -> Check:
    inputs = partial(loss_inputs, **kind)
    return rule("region_loss", inputs, number_of(kl_at_regions), mistakes)


def answer_inputs(generator: torch.Generator) -> tuple[list, dict]:
    rows, answers = number(generator, 3, 5), number(generator, 4, 7)
    chosen = torch.randint(0, answers, (rows,), generator=generator)
    return [normal(generator, rows, answers, scale=2), chosen], {}


def large_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Logits of 60 and -60, where float32's sigmoid is 1 or nearly 0; a wrong answer of each question has 60."""
    (logits, chosen), options = answer_inputs(generator)
    large = torch.where(logits < 0, -60.0, 60.0)
    large[torch.arange(len(chosen)), chosen - 1] = 60.0
    return [large, chosen], options


def binary(logits: Tensor, answer: Tensor) -> Tensor:
    targets = one_hot(answer, logits.shape[-1]).float()
    return binary_cross_entropy_with_logits(logits, targets, reduction="none")


ANSWER_MISTAKES = {
    "that is the mean over answers, too; sum over answers and take the mean over questions.": lambda x, a: (
        binary(x, a).mean().item()
    ),
    "that is the sum over questions; take their mean.": lambda x, a: binary(x, a).sum().item(),
    "that is the softmax's cross-entropy: here each answer is a yes-or-no question of its own.": lambda x, a: (
        cross_entropy(x, a).item()
    ),
    "only the right answer counts: the wrong ones must be pushed down, too.": lambda x, a: (
        binary(x, a)[torch.arange(len(a)), a].mean().item()
    ),
    "only the wrong answers count: the right one must be pushed up.": lambda x, a: (
        (binary(x, a) * (1 - one_hot(a, x.shape[-1]))).sum(-1).mean().item()
    ),
    "the sigmoid is applied twice.": lambda x, a: binary(x.sigmoid(), a).sum(-1).mean().item(),
    "the factor (1 - t) is missing: the right answer is pushed down, too.": lambda x, a: (
        -(one_hot(a, x.shape[-1]) * logsigmoid(x) + logsigmoid(-x)).sum(-1).mean().item()
    ),
    "the second term has the wrong sign: both logarithms are added, then the sum gets a minus sign.": (
        lambda x, a: (binary(x, a) * (2 * one_hot(a, x.shape[-1]) - 1)).sum(-1).mean().item()
    ),
    "the logits pass a softmax: each answer has a sigmoid of its own.": lambda x, a: (
        binary_cross_entropy(x.softmax(-1), one_hot(a, x.shape[-1]).float(), reduction="none")
        .sum(-1)
        .mean()
        .item()
    ),
    "that is the squared error of the sigmoids, not the binary cross-entropy.": lambda x, a: (
        ((x.sigmoid() - one_hot(a, x.shape[-1])) ** 2).sum(-1).mean().item()
    ),
    "the sign is wrong: a loss is never negative.": lambda x, a: (
        -binary(x, a).sum(-1).mean().item()
    ),
    "right and wrong are exchanged: 1 is the target of the right answer.": lambda x, a: (
        binary(-x, a).sum(-1).mean().item()
    ),
}


TOO_LARGE = (
    "right for small logits, but wrong or infinite for large ones: sigmoid(60) is exactly 1 in float32, "
    "and ln(1 - 1) is minus infinity. Use logsigmoid."
)


def loss_value(logits: Tensor, answer: Tensor) -> float:
    return reference.answer_loss(logits, answer).item()


EXERCISES = {
    "region_loss": Exercise(
        "The mean divergence at the selected regions, also where a probability is 0.",
        (
            loss_check(LOSS_MISTAKES),
            loss_check(
                {"not a number: 0 * ln 0 counts as 0 in a divergence.": lambda *_: torch.nan},
                certain=True,
            ),
            loss_check(
                {
                    "no region is selected, and your loss is not a number: it should be 0.": lambda *_: (
                        torch.nan
                    )
                },
                none=True,
            ),
            gradient_rule(
                "region_loss",
                loss_inputs,
                kl_at_regions,
                1,
                "the number is right, but it has no gradient with respect to the logits.",
            ),
        ),
        reference=kl_at_regions,
    ),
    "answer_loss": Exercise(
        "Every answer is judged, the right one towards 1, all others towards 0.",
        (
            rule("answer_loss", answer_inputs, loss_value, ANSWER_MISTAKES),
            rule("answer_loss", large_inputs, loss_value, explain=lambda *_: TOO_LARGE),
            gradient_rule(
                "answer_loss",
                answer_inputs,
                reference.answer_loss,
                1,
                "the number is right, but it has no gradient with respect to the logits.",
            ),
        ),
        reference=reference.answer_loss,
    ),
}
