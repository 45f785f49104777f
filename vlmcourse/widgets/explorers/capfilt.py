"""The threshold explorer: what a CapFilt filter throws out, with exact precision and recall, because the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from vlmcourse.plots import curves, pictures
from vlmcourse.plots.style import FigureStack, subtitle, set_margins
from vlmcourse.widgets.interactive import play

THRESHOLDS = tuple(number / 20 for number in range(21))


@dataclass(frozen=True)
class Caught:
    """What a threshold does: captions thrown out, how many of them are noise, how much noise there is."""

    out: int
    right: int
    noise: int

    @property
    def precision(self) -> float | None:
        """Of what was thrown out, how much is noise? None if nothing was."""
        return self.right / self.out if self.out else None

    @property
    def recall(self) -> float | None:
        """Of the noise, how much was thrown out? None if there is no noise."""
        return self.right / self.noise if self.noise else None


def at_threshold(probability: Tensor, noisy: Tensor, threshold: float) -> Caught:
    """Captions whose probability (N,) of a match is below the threshold go out. noisy (N,): the truth."""
    if probability.shape != noisy.shape:
        raise ValueError(
            f"{len(probability)} probabilities and {len(noisy)} truths; expected one of each for every caption."
        )
    out = probability < threshold
    return Caught(int(out.sum()), int((out & noisy).sum()), int(noisy.sum()))


def _of(right: int, all_: int) -> str:
    return f"{right} of {all_} ({right / all_:.2f})" if all_ else "none to count"


def filtered(
    images: np.ndarray, texts: Sequence[str], probability: Tensor, noisy: Tensor, threshold: float
):
    """Precision and recall over all thresholds with this one marked, over the first captions, kept or out.

    images (M, S, S, 3) of the first M captions; texts, probability, noisy: N >= M of them, all of which count
    """
    every = {one: at_threshold(probability, noisy, one) for one in THRESHOLDS}
    named = {
        name: {
            one: value
            for one, caught in every.items()
            if (value := getattr(caught, name)) is not None
        }
        for name in ("precision", "recall")
    }
    first = curves(
        {name: points for name, points in named.items() if points},
        "threshold",
        "share",
        chance=noisy.float().mean().item(),
    )
    first.axes[0].axvline(threshold, color="black", linewidth=1.5)
    first.axes[0].set(xlim=(-0.01, 1.01), ylim=(-0.03, 1.03))
    now = at_threshold(probability, noisy, threshold)
    told = (
        f"threshold {threshold:.2f}: {now.out} of {len(texts)} out; precision {_of(now.right, now.out)}, "
        f"recall {_of(now.right, now.noise)}"
    )
    subtitle(set_margins(first).axes[0], told)
    keep = (probability >= threshold)[: len(images)]
    captions = [
        f"{'kept' if one else 'out'} {value:.2f}: {text}"
        for one, value, text in zip(keep, probability, texts)
    ]
    last = pictures(images, captions, (keep == ~noisy[: len(images)]).tolist())
    return FigureStack(
        (first, last),
        f"Precision and recall over the threshold. At {told}; throwing out at random would have precision "
        f"{noisy.float().mean():.2f}. Green frames: the filter is right, red: wrong. {last.description}",
    )


def threshold_explorer(
    images: np.ndarray,
    texts: Sequence[str],
    probability: Tensor,
    noisy: Tensor,
    threshold: float = 0.5,
) -> None:
    """Displays a slider over `filtered`."""
    import ipywidgets

    slider = ipywidgets.FloatSlider(
        value=threshold, min=0, max=1, step=0.05, description="threshold", continuous_update=False
    )
    play([slider], lambda: filtered(images, texts, probability, noisy, slider.value))
