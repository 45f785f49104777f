"""Lesson 09: the check of the exercise on what a filter finds."""

from __future__ import annotations

import torch
from torch import Tensor

from teaching.exercises import Exercise, number, rule


def precision_recall(out: Tensor, noisy: Tensor) -> list[float]:
    both = (out & noisy).sum().item()
    return [both / out.sum().item(), both / noisy.sum().item()]


def filter_inputs(generator: torch.Generator) -> tuple[list, dict]:
    noisy = torch.arange(40) < 12
    threshold = (0.3, 0.4, 0.6, 0.7)[number(generator, 0, 3)]
    out = torch.zeros(40, dtype=torch.bool)
    found = number(generator, 4, 6)
    out[:found], out[12:15] = True, True  # of 12, a few are found; 3 right captions go out, too
    u = torch.rand(40, generator=generator)
    probability = torch.where(out, u * threshold, threshold + 1e-3 + u * (0.999 - threshold))
    order = torch.randperm(40, generator=generator)
    return [probability[order], noisy[order], threshold], {}


def half_right(got: object, wanted: list, *_) -> str | None:
    if not isinstance(got, list) or len(got) != 2 or not all(isinstance(x, float) for x in got):
        return None
    names, by = ("precision", "recall"), ("was thrown out", "is noise")
    for place in (0, 1):
        if abs(got[1 - place] - wanted[1 - place]) < 1e-5:
            return (
                f"{names[1 - place]} is right, {names[place]} isn't: divide noise that was thrown out by all that "
                f"{by[place]}."
            )
    return None


EXERCISES = {
    "filtering": Exercise(
        "Precision: how much of what went out is noise. Recall: how much of the noise went out.",
        (
            rule(
                "my_filtering",
                filter_inputs,
                lambda q, noisy, t: precision_recall(q < t, noisy),
                {
                    "precision and recall are exchanged.": lambda q, noisy, t: precision_recall(
                        q < t, noisy
                    )[::-1],
                    "the threshold is not used: 0.5 is only its usual value.": lambda q, noisy, t: (
                        precision_recall(q < 0.5, noisy)
                    ),
                    "that is the precision and recall of *keeping clean* captions; noise is what the filter finds.": (
                        lambda q, noisy, t: precision_recall(q >= t, ~noisy)
                    ),
                    "a caption is thrown out where the match is improbable: the comparison is upside down.": (
                        lambda q, noisy, t: precision_recall(q >= t, noisy)
                    ),
                    "these are the right captions that are thrown out: `noisy` is upside down.": lambda q, noisy, t: (
                        precision_recall(q < t, ~noisy)
                    ),
                    "both are divided by the number of all captions.": lambda q, noisy, t: (
                        [((q < t) & noisy).float().mean().item()] * 2
                    ),
                },
                explain=half_right,
            ),
        ),
    ),
}
