"""Lesson 09: the checks of its exercises, and simulated filters for its failure lab."""

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


def filter_result(probability: Tensor, noisy: Tensor, threshold: float) -> list[float]:
    return precision_recall(probability < threshold, noisy)


FILTER_MISTAKES = {
    "precision and recall are exchanged.": lambda q, noisy, t: precision_recall(q < t, noisy)[::-1],
    "the threshold is not used: 0.5 is only its usual value.": lambda q, noisy, t: precision_recall(
        q < 0.5, noisy
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
}


def text_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Annotated, web and synthetic captions, with probabilities of which some are exactly the threshold."""
    count, threshold = number(generator, 5, 8), (0.25, 0.375, 0.625, 0.75)[number(generator, 0, 3)]
    texts = [[f"{kind} {n}" for n in range(count)] for kind in ("web", "synthetic")]
    chances = [torch.rand(count, generator=generator) for _ in texts]
    for one in chances:
        one[number(generator, 0, count - 1)] = threshold
    return [[f"annotated {n}" for n in range(3)], *texts, *chances, threshold], {}


def new_texts(annotated, web, synthetic, web_chance, synthetic_chance, threshold, keep=None):
    """The captions of the cleaned data set. keep: another rule than 'at least the threshold'."""
    keep = keep or (lambda p: p >= threshold)

    def kept(texts: list[str], chances: Tensor) -> list[str]:
        return [text for text, p in zip(texts, chances.tolist()) if keep(p)]

    return [*annotated, *kept(web, web_chance), *kept(synthetic, synthetic_chance)]


def with_keep(keep):
    return lambda *args: new_texts(*args, keep=lambda p: keep(p, args[-1]))


DATA_MISTAKES = {
    "a caption whose probability is exactly the threshold is kept; yours is thrown out.": with_keep(
        lambda p, t: p > t
    ),
    "captions that match are thrown out, and the others kept: the comparison is upside down.": (
        with_keep(lambda p, t: p < t)
    ),
    "the threshold is not used: 0.5 is only its usual value.": with_keep(lambda p, t: p >= 0.5),
    "nothing is thrown out.": with_keep(lambda p, t: True),
    "the annotated captions are missing: they are always kept.": lambda a, *rest: new_texts(
        [], *rest
    ),
    "the synthetic captions are missing.": lambda a, w, s, p, q, t: new_texts(a, w, [], p, q, t),
    "the web captions are missing.": lambda a, w, s, p, q, t: new_texts(a, [], s, p, q, t),
    "the two probabilities are exchanged: each kind of caption has its own.": (
        lambda a, w, s, p, q, t: new_texts(a, w, s, q, p, t)
    ),
}


def filters(count: int = 400) -> dict[str, str]:
    """What four filters throw out of simulated captions, three in ten of them noise: share, precision, recall, in words."""
    generator = torch.Generator().manual_seed(0)
    noisy = torch.arange(count) < 0.3 * count
    spread = 0.15 * torch.randn(count, generator=generator)
    probability = (torch.where(noisy, 0.3, 0.7) + spread).clamp(0, 1)
    at_random = torch.rand(count, generator=generator)
    found = {
        "healthy": probability < 0.5,
        "A": probability < 0.85,
        "B": at_random < 0.4,
        "C": probability >= 0.5,
    }
    return {
        name: f"throws out {out.float().mean():.2f}, precision {p:.2f}, recall {r:.2f}"
        for name, out in found.items()
        for p, r in [precision_recall(out, noisy)]
    }


EXERCISES = {
    "filtering": Exercise(
        "Precision: how much of what went out is noise. Recall: how much of the noise went out.",
        (
            rule(
                "my_filtering",
                filter_inputs,
                filter_result,
                FILTER_MISTAKES,
                explain=half_right,
            ),
        ),
    ),
    "data_set": Exercise(
        "Annotated captions always, the others if they match.",
        (rule("my_data_set", text_inputs, new_texts, DATA_MISTAKES),),
    ),
}
