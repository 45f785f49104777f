"""Lesson 03's exercises on probes and shots."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from teaching import clip_analysis_formulas as right
from teaching.exercises import Exercise, gradient_rule, rule
from vlmgrader.checks import driver_source

STANDARDISE_MISTAKES = {
    "the test features have statistics of their own: use the mean and standard deviation of "
    "the training features for both.": right.each_alone,
    "the statistics are of training and test features together: the test part must not "
    "influence the probe.": lambda train, test: right.standardise(
        train, test, lambda *both: torch.cat(both)
    ),
    "the statistics are of the test features: take those of the training features.": (
        lambda train, test: right.standardise(train, test, lambda _, test: test)
    ),
    "the mean is subtracted, but nothing is divided by the standard deviation.": (
        lambda train, test: right.standardise(train, test, scale=False)
    ),
    "divided by the variance: the standard deviation is its square root.": lambda train, test: [
        (part - train.mean(0)) / torch.where(var > 0, var, 1.0)
        for var in [train.var(0, correction=0)]
        for part in (train, test)
    ],
    "the mean is not subtracted.": lambda train, test: [
        part / torch.where(std > 0, std, 1.0)
        for std in [train.std(0, correction=0)]
        for part in (train, test)
    ],
    "every standard deviation below 1 is replaced by 1: only one that is 0 needs it.": (
        lambda train, test: [
            (part - train.mean(0)) / train.std(0, correction=0).clamp(min=1)
            for part in (train, test)
        ]
    ),
    "this scales each feature to 0 ... 1 by its smallest and largest value: use mean and standard "
    "deviation.": lambda train, test: [
        (part - low) / torch.where(high > low, high - low, 1.0)
        for low, high in [(train.amin(0), train.amax(0))]
        for part in (train, test)
    ],
    "each *example* has length 1 now: each *feature* gets mean 0 and standard deviation 1.": (
        lambda train, test: [torch.nn.functional.normalize(part, dim=-1) for part in (train, test)]
    ),
    "each *example* is standardised (dim 1): each feature has its own mean, over dim 0.": (
        lambda train, test: [right.standardise(part, part, dim=1)[0] for part in (train, test)]
    ),
    "this divides by the standard deviation with N - 1: use correction=0.": lambda train, test: [
        (part - train.mean(0)) / torch.where(train.std(0) > 0, train.std(0), 1.0)
        for part in (train, test)
    ],
    "the training features are right, the test features are unchanged: standardise both.": (
        lambda train, test: [right.standardise(train, test)[0], test]
    ),
    "a feature that is constant in training is set to 0 in the test part: divide by 1 there, so "
    "that its differences from the training mean remain.": right.constant_to_zero,
    "one mean of the whole table is subtracted: each feature has its own, over dim 0.": (
        lambda train, test: [
            (part - train.mean()) / torch.where(std > 0, std, 1.0)
            for std in [train.std(0, correction=0)]
            for part in (train, test)
        ]
    ),
    "one standard deviation of the whole table divides: each feature has its own, over dim 0.": (
        lambda train, test: [
            (part - train.mean(0)) / train.std(correction=0) for part in (train, test)
        ]
    ),
    "one mean and one standard deviation of the whole table: each feature has its own.": (
        lambda train, test: [
            (part - train.mean()) / train.std(correction=0) for part in (train, test)
        ]
    ),
}

STANDARDISE = Exercise(
    "Mean and standard deviation come from the training part alone, so the test part stays unseen.",
    (
        rule(
            "standardise",
            right.standardise_inputs,
            right.standardise,
            STANDARDISE_MISTAKES,
            explain=lambda got, wanted, *_: (
                "nan_to_num hides a division by 0: a feature that is constant in training gives infinite "
                "test values, then the largest number there is. Divide by 1 there."
                if isinstance(got, (list, tuple))
                and any(isinstance(part, Tensor) and part.abs().max() > 1e30 for part in got)
                and all(isinstance(part, Tensor) and part.isfinite().all() for part in got)
                else "a feature that is constant in training gives NaN or infinite values: its standard "
                "deviation is 0, so divide by 1 there."
                if isinstance(got, (list, tuple))
                and any(isinstance(part, Tensor) and not part.isfinite().all() for part in got)
                else "a feature that is constant in training is divided by a tiny number: its test values "
                "become huge. Divide by 1 there."
                if isinstance(got, (list, tuple))
                and any(isinstance(part, Tensor) and part.abs().max() > 1e3 for part in got)
                else None
            ),
        ),
    ),
    reference=right.standardise,
)

PROBE_MISTAKES = {
    "the penalty is missing.": right.as_float(penalty=lambda w, b: 0 * w.sum()),
    "the penalty also covers the bias: it is on the weights alone.": right.as_float(
        penalty=lambda w, b: 0.5 * ((w**2).sum() + (b**2).sum())
    ),
    "the factor 1/2 of the penalty is missing.": right.as_float(penalty=lambda w, b: (w**2).sum()),
    "the penalty is the mean of the squared weights: it is half their sum.": (
        right.as_float(penalty=lambda w, b: (w**2).mean()),
        right.as_float(penalty=lambda w, b: 0.5 * (w**2).mean()),
        right.as_float(penalty=lambda w, b: 0.5 * (w**2).sum(1).mean()),
    ),
    "the penalty is the length of the weights: square it.": (
        right.as_float(penalty=lambda w, b: w.norm()),
        right.as_float(penalty=lambda w, b: 0.5 * w.norm()),
    ),
    "torch.linalg.norm(W, 2) of a matrix is its largest singular value: the penalty takes *all* "
    "squared entries.": (
        right.as_float(penalty=lambda w, b: torch.linalg.norm(w, 2)),
        right.as_float(penalty=lambda w, b: 0.5 * torch.linalg.norm(w, 2)),
        right.as_float(penalty=lambda w, b: torch.linalg.norm(w, 2) ** 2),
        right.as_float(penalty=lambda w, b: 0.5 * torch.linalg.norm(w, 2) ** 2),
    ),
    "the penalty is the sum of absolute weights (L1): L2 squares them.": (
        right.as_float(penalty=lambda w, b: w.abs().sum()),
        right.as_float(penalty=lambda w, b: 0.5 * w.abs().sum()),
    ),
    "the cross-entropy is summed over examples: take the mean.": right.as_float(reduction="sum"),
    "cross_entropy was given probabilities: it takes logits.": right.as_float(
        logits_of=lambda logits: logits.softmax(-1)
    ),
    "the penalty is subtracted: large weights must raise the loss.": right.as_float(
        penalty=lambda w, b: -0.5 * (w**2).sum()
    ),
    "the penalty is divided by the number of examples: only the cross-entropy is a mean over them.": (
        lambda w, b, x, y, l2: right.probe_loss(w, b, x, y, l2 / len(x)).item()
    ),
    "l2 is squared: it multiplies the sum of the squared weights once.": (
        lambda w, b, x, y, l2: right.probe_loss(w, b, x, y, l2**2).item()
    ),
    "the bias is missing.": right.as_float(shift=0.0),
}

PROBE_LOSS = Exercise(
    "Mean cross-entropy, a penalty on the weights alone, and gradients for both.",
    (
        rule(
            "probe_loss",
            right.probe_inputs,
            right.as_float(),
            PROBE_MISTAKES,
        ),
        gradient_rule(
            "probe_loss",
            right.probe_inputs,
            right.probe_loss,
            2,
            "the value is right, but it has no gradient, so the probe cannot be fitted: keep tensors, "
            "without .item() or detach().",
        ),
    ),
    reference=right.probe_loss,
)

DRAW_SHOTS = Exercise(
    "k different examples of each class, random and repeatable.",
    (
        rule(
            "draw_shots",
            right.draw_inputs,
            lambda labels, k, seed: [right.per_class(labels, k), True, True, True, False],
            driver=driver_source(right.run_draws),
            explain=right.explain_draws,
        ),
    ),
    reference=right.draw_shots,
)


def between(function):
    """The number of shots by another rule between the neighbouring points."""
    return lambda *args: right.worth_between(*args, function)


WORTH_MISTAKES = {
    "interpolated over the number of shots: the axis is logarithmic (1, 2, 4, 8, 16 are equally far apart).": (
        lambda *args: right.shots_worth(*args, axis=lambda x: x, back=lambda x: x)
    ),
    "that is the logarithm of the answer: return a number of examples.": (
        lambda *args: right.shots_worth(*args, back=lambda x: x)
    ),
    "two kinds of logarithm are mixed: undo log2 by a power of 2, log by exp, log10 by a power of 10.": (
        between(right.along(math.log)),
        between(right.along(math.log10)),
        between(right.along(math.log2, math.exp)),
    ),
    "accuracy is in logarithms, too: only the number of shots is.": between(
        right.along(math.log2, level=math.log)
    ),
    "the two neighbours are exchanged: the further zero-shot is above the lower accuracy, the more shots.": (
        between(right.along(math.log2, turned=True))
    ),
    "one line is drawn from the first to the last point: use the two points around zero-shot.": (
        right.ends_alone
    ),
    "that is half way between the points around zero-shot, wherever it lies between them.": (
        between(lambda fewer, more, *_: math.sqrt(fewer * more)),
        between(lambda fewer, more, *_: (fewer + more) / 2),
    ),
    "the step is taken as one doubling: its width is log2(more) - log2(fewer), here not 1.": (
        between(lambda fewer, more, low, high, level: fewer * 2 ** ((level - low) / (high - low)))
    ),
    "the share of the way is added to the number of shots: it is a share of the distance in log2(shots).": (
        between(lambda fewer, more, low, high, level: fewer + (level - low) / (high - low))
    ),
    "the answer is rounded: it may lie between whole numbers.": (
        between(lambda *args: math.ceil(right.along(math.log2)(*args))),
        between(lambda *args: math.floor(right.along(math.log2)(*args))),
    ),
    "that is the next measured point: interpolate between the points around zero-shot.": (
        right.next_point
    ),
    "that is the last measured point below: interpolate between the points around zero-shot.": (
        right.last_point
    ),
}


def outside(inputs, message: str):
    """A check with zero-shot beyond the measured accuracies, where any other number has one cause."""
    return rule(
        "shots_worth",
        inputs,
        right.shots_worth,
        explain=lambda got, *_: message if isinstance(got, (int, float)) else None,
    )


SHOTS_WORTH = Exercise(
    "Linear between neighbouring points, with the number of shots on a logarithmic axis.",
    (
        rule(
            "shots_worth",
            right.worth_inputs,
            right.shots_worth,
            WORTH_MISTAKES,
        ),
        outside(
            lambda g: right.worth_inputs(g, lambda a, share: a[-1] + 0.1 * share),
            "zero-shot lies above the whole curve: the answer is math.inf.",
        ),
        outside(
            lambda g: right.worth_inputs(g, lambda a, share: a[0] - 0.1 * share),
            "zero-shot lies below the whole curve: the answer is the smallest number of shots.",
        ),
    ),
    reference=right.shots_worth,
)

EXERCISES = {
    "standardise": STANDARDISE,
    "probe_loss": PROBE_LOSS,
    "draw_shots": DRAW_SHOTS,
    "shots_worth": SHOTS_WORTH,
}
