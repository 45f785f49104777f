"""Lesson 09: the checks of the exercises on the filter: its decision, its quality, its threshold."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import capfilt_reference as reference
from teaching.exercises import Exercise, normal, number, number_rule, rule, rule_on


def logit_inputs(generator: torch.Generator) -> tuple[list, dict]:
    threshold = (0.2, 0.3, 0.7, 0.8)[number(generator, 0, 3)]
    return [normal(generator, number(generator, 24, 30), 2, scale=2), threshold], {}


def exact_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Equal logits: a probability of exactly 0.5, which is the threshold."""
    logits = normal(generator, 6, 2)
    logits[::2, 1] = logits[::2, 0]
    return [logits, 0.5], {}


def wrong_column(logits: Tensor, threshold: float) -> Tensor:
    return logits.softmax(1)[:, 0] >= threshold


KEEP_MISTAKES = {
    "these are the captions that are thrown out: True means that a caption is kept.": lambda x, t: (
        x.softmax(1)[:, 1] < t
    ),
    "the logits themselves are compared: the threshold is for a probability.": (
        lambda x, t: x[:, 1] >= t,
        lambda x, t: x[:, 1] - x[:, 0] >= t,
    ),
    "a sigmoid of the second logit ignores the first: the two logits belong to one softmax.": (
        lambda x, t: x[:, 1].sigmoid() >= t
    ),
    'column 0 is "no match".': wrong_column,
    "the threshold is not used: 0.5 is only its usual value.": lambda x, t: x.argmax(1) == 1,
    "the softmax is over captions: each caption has its own two logits.": lambda x, t: (
        x.softmax(0)[:, 1] >= t
    ),
    "everything is kept.": lambda x, t: torch.ones(len(x), dtype=torch.bool),
}


def explain_keep(got: object, wanted: Tensor, logits: Tensor, threshold: float) -> str | None:
    """What type and shape say."""
    if not isinstance(got, Tensor):
        return None
    if got.shape == logits.shape:
        return "there are two columns: return one boolean for each caption."
    if got.dtype.is_floating_point and got.shape == wanted.shape:
        return "these are probabilities: compare them with the threshold."
    if got.dtype == torch.int64 and got.dim() == 1 and set(got.tolist()) - {0, 1}:
        return "these are numbers of captions; return a boolean for each caption."
    return None


def quality_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Twelve noisy captions of forty; a few of them are found, and right ones are thrown out, too."""
    noisy = torch.arange(40) < number(generator, 10, 14)
    keep = torch.ones(40, dtype=torch.bool)
    keep[: number(generator, 4, 6)] = False
    keep[20 : 20 + number(generator, 2, 5)] = False
    order = torch.randperm(40, generator=generator)
    return [keep[order], noisy[order]], {}


def nothing_out(generator: torch.Generator) -> tuple[list, dict]:
    return [torch.ones(12, dtype=torch.bool), torch.arange(12) < number(generator, 3, 6)], {}


def quality(out: Tensor, noisy: Tensor) -> list[float]:
    """Precision and recall of what is called out."""
    both = (out & noisy).sum().item()
    return [both / out.sum().item(), both / noisy.sum().item()]


QUALITY_MISTAKES = {
    "precision and recall are exchanged.": lambda k, n: quality(~k, n)[::-1],
    "this measures how well *right* captions are kept; noise is what the filter should find.": (
        lambda k, n: quality(k, ~n)
    ),
    "this treats kept captions as found: what is thrown out is found.": lambda k, n: quality(k, n),
    "these are the right captions that are thrown out: `noisy` is upside down.": lambda k, n: (
        quality(~k, ~n)
    ),
    "both are divided by the number of all captions.": lambda k, n: (
        [(~k & n).float().mean().item()] * 2
    ),
    "shares lie between 0 and 1: don't multiply by 100.": lambda k, n: (
        [100 * share for share in quality(~k, n)]
    ),
    "these are counts: divide them.": lambda k, n: [float((~k & n).sum())] * 2,
    "that is the share of right decisions (accuracy), twice.": lambda k, n: (
        [(~k == n).float().mean().item()] * 2
    ),
}


def half_right(got: object, wanted: list, *_) -> str | None:
    """Which of the two is right."""
    if not isinstance(got, list) or len(got) != 2 or not all(isinstance(x, float) for x in got):
        return None
    names, by = ("precision", "recall"), ("was thrown out", "is noise")
    for place in (0, 1):
        if abs(got[1 - place] - wanted[1 - place]) < 1e-5:
            return (
                f"{names[1 - place]} is right, {names[place]} isn't: divide noise that was "
                f"thrown out by all that {by[place]}."
            )
    return None


def share_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Probabilities of right captions and noise that overlap; shares that are exact in binary."""
    count = number(generator, 18, 24)
    noisy = torch.rand(count, generator=generator) < 0.4
    noisy[:2] = torch.tensor([True, False])
    probability = torch.rand(count, generator=generator)
    return [probability, noisy, (0.625, 0.75, 0.875)[number(generator, 0, 2)]], {}


def whole_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """The share is a whole number of the sixteen right captions: nothing is to be rounded."""
    order = torch.randperm(24, generator=generator)
    probability = torch.rand(24, generator=generator)
    return [probability, (torch.arange(24) < 8)[order], number(generator, 4, 14) / 16], {}


def chosen(
    probability: Tensor,
    noisy: Tensor,
    share: float,
    of: Callable = lambda p, n: p[~n],
    descending: bool = True,
    number: Callable = lambda share, count: math.ceil(share * count) - 1,
) -> float:
    """threshold_that_keeps with other choices. of: which captions; number: which of the sorted ones."""
    ordered = of(probability, noisy).sort(descending=descending).values
    return ordered[number(share, len(ordered))].item()


SHARE_MISTAKES = {
    "all captions are counted: the share is of the right ones.": partial(chosen, of=lambda p, n: p),
    "the noise is counted: `noisy` is True at captions that are wrong.": partial(
        chosen, of=lambda p, n: p[n]
    ),
    "this many right captions are thrown out, not kept.": (
        partial(chosen, descending=False),
        partial(chosen, number=lambda share, count: math.ceil((1 - share) * count) - 1),
    ),
    "one right caption too many is kept: a higher threshold still keeps the share.": partial(
        chosen, number=lambda share, count: math.ceil(share * count)
    ),
    "one right caption too few is kept: where the share falls between two numbers, round up.": (
        partial(chosen, number=lambda share, count: max(0, math.floor(share * count) - 1))
    ),
    "a quantile lies between two captions: take the probability of the last caption that is kept.": (
        lambda p, n, share: torch.quantile(p[~n], 1 - share).item()
    ),
    "that is the share of the largest probability; sort the probabilities.": lambda p, n, share: (
        (1 - share) * p[~n].max().item()
    ),
    "that threshold keeps all right captions.": lambda p, n, share: p[~n].min().item(),
}

EXERCISES = {
    "keep_captions": Exercise(
        "The probability of a match decides.",
        (
            rule(
                "keep_captions",
                logit_inputs,
                reference.keep_captions,
                KEEP_MISTAKES,
                explain=explain_keep,
            ),
            rule_on(
                "keep_captions",
                exact_inputs,
                reference.keep_captions,
                {
                    "a caption whose probability is exactly the threshold is kept; yours is thrown out.": (
                        lambda x, t: x.softmax(1)[:, 1] > t
                    )
                },
            ),
        ),
        reference=reference.keep_captions,
    ),
    "filter_quality": Exercise(
        "Precision: how much of what went out is noise. Recall: how much of the noise went out.",
        (
            rule(
                "filter_quality",
                quality_inputs,
                reference.filter_quality,
                QUALITY_MISTAKES,
                explain=half_right,
            ),
            rule_on(
                "filter_quality",
                nothing_out,
                reference.filter_quality,
                {"a filter that throws nothing out has precision 0 here.": lambda *_: [1.0, 0.0]},
            ),
        ),
        reference=reference.filter_quality,
    ),
    "threshold_that_keeps": Exercise(
        "Right captions are kept down to this probability.",
        (
            rule(
                "threshold_that_keeps",
                share_inputs,
                reference.threshold_that_keeps,
                SHARE_MISTAKES,
            ),
            rule(
                "threshold_that_keeps",
                whole_inputs,
                reference.threshold_that_keeps,
                {
                    "one right caption too many is kept: where the share is a whole number of captions, the last is number share · count - 1.": (
                        partial(chosen, number=lambda share, count: math.floor(share * count))
                    )
                },
            ),
            number_rule("threshold_that_keeps", share_inputs),
        ),
        reference=reference.threshold_that_keeps,
    ),
}
