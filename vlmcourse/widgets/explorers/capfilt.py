"""The threshold explorer: what a CapFilt filter throws out, with exact precision and recall, because the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from vlmcourse.widgets.explorer import picture_address, show_explorer


@dataclass(frozen=True)
class Filtered:
    """What a threshold does: captions thrown out, how many of them are noise, how much noise there is."""

    out: int
    noisy_out: int
    noise: int


def at_threshold(probability: Tensor, noisy: Tensor, threshold: float) -> Filtered:
    """Captions whose probability (N,) of a match is below the threshold go out. noisy (N,): the truth."""
    if probability.shape != noisy.shape:
        raise ValueError(
            f"{len(probability)} probabilities and {len(noisy)} truths; expected one of each for every caption."
        )
    out = probability < threshold
    return Filtered(int(out.sum()), int((out & noisy).sum()), int(noisy.sum()))


def describe(probability: Tensor, noisy: Tensor, threshold: float) -> str:
    """Precision and recall in words."""
    counts = at_threshold(probability, noisy, threshold)
    return (
        f"{len(noisy)} captions by the filter's probability that they fit their picture. Threshold {threshold:.2f}: {counts.out} "
        f"out; precision {counts.noisy_out} of {counts.out}, recall {counts.noisy_out} of {counts.noise}."
    )


def threshold_explorer(
    images: np.ndarray,
    texts: Sequence[str],
    probability: Tensor,
    noisy: Tensor,
    threshold: float = 0.5,
) -> None:
    """Displays the explorer: images (N, S, S, 3), N captions, their probability of a match, and the truth."""
    captions = [
        {"text": text, "picture": picture_address(image), "probability": round(p, 4), "noisy": bad}
        for text, image, p, bad in zip(texts, images, probability.tolist(), noisy.tolist())
    ]
    data = {"captions": captions, "threshold": threshold}
    show_explorer("capfilt", data, describe(probability, noisy, threshold))
