"""The threshold explorer: what a CapFilt filter throws out, with exact precision and recall, because the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from vlmcourse.plots import curves, pictures
from vlmcourse.plots.style import FigureStack, set_margins, subtitle
from vlmcourse.widgets.interactive import interactive, slider

THRESHOLDS = tuple(number / 20 for number in range(21))


@dataclass(frozen=True)
class Filtered:
    """What a threshold does: captions thrown out, how many of them are noise, how much noise there is."""

    out: int
    noisy_out: int
    noise: int

    @property
    def precision(self) -> float | None:
        """Of what was thrown out, how much is noise? None if nothing was."""
        return self.noisy_out / self.out if self.out else None

    @property
    def recall(self) -> float | None:
        """Of the noise, how much was thrown out? None if there is no noise."""
        return self.noisy_out / self.noise if self.noise else None


def at_threshold(probability: Tensor, noisy: Tensor, threshold: float) -> Filtered:
    """Captions whose probability (N,) of a match is below the threshold go out. noisy (N,): the truth."""
    if probability.shape != noisy.shape:
        raise ValueError(
            f"{len(probability)} probabilities and {len(noisy)} truths; expected one of each for every caption."
        )
    out = probability < threshold
    return Filtered(int(out.sum()), int((out & noisy).sum()), int(noisy.sum()))


def _share(part: int, count: int) -> str:
    return f"{part} of {count} ({part / count:.2f})" if count else "none to count"


def threshold_figure(
    images: np.ndarray, texts: Sequence[str], probability: Tensor, noisy: Tensor, threshold: float
):
    """Precision and recall over all thresholds with this one marked, over the first captions, kept or out.

    images (M, S, S, 3) of the first M captions; texts, probability, noisy: N >= M of them, all of which count
    """
    results = {value: at_threshold(probability, noisy, value) for value in THRESHOLDS}
    lines = {
        name: {
            at: value
            for at, result in results.items()
            if (value := getattr(result, name)) is not None
        }
        for name in ("precision", "recall")
    }
    chance, count = noisy.float().mean().item(), len(images)
    first = curves(
        {name: points for name, points in lines.items() if points},
        "threshold",
        "share",
        chance=chance,
    )
    first.axes[0].axvline(threshold, color="black", linewidth=1.5)
    first.axes[0].set(xlim=(-0.01, 1.01), ylim=(-0.03, 1.03))
    now = at_threshold(probability, noisy, threshold)
    title = (
        f"threshold {threshold:.2f}: {now.out} of {len(texts)} out; precision {_share(now.noisy_out, now.out)}, "
        f"recall {_share(now.noisy_out, now.noise)}"
    )
    subtitle(set_margins(first).axes[0], title)
    keep = (probability >= threshold)[:count]
    captions = [
        f"{'kept' if is_kept else 'out'} {value:.2f}: {text}"
        for is_kept, value, text in zip(keep, probability, texts)
    ]
    last = pictures(images, captions, (keep == ~noisy[:count]).tolist())
    return FigureStack(
        (first, last),
        f"Precision and recall over the threshold. At {title}; throwing out at random would have precision {chance:.2f}. "
        f"Green frames: the filter is right, red: wrong. {last.description}",
    )


def threshold_explorer(
    images: np.ndarray,
    texts: Sequence[str],
    probability: Tensor,
    noisy: Tensor,
    threshold: float = 0.5,
) -> None:
    """Displays a slider over `threshold_figure`."""
    field = slider("threshold", threshold, 0, 1, 0.05)
    interactive([field], lambda: threshold_figure(images, texts, probability, noisy, field.value))
