"""Instant checks of the lessons' exercises. Each tries the answer on fresh random inputs and names the likely mistake."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from teaching.exercises import Mistake, diagnosed, likeliest_mistake
from vlmcourse.parts.losses import clip_loss


def _matrix(got: object, wanted: Tensor, what: str) -> Tensor:
    """The answer as booleans of the wanted shape, or the mistake that prevents it."""
    if got is None:
        raise Mistake(f"{what} returned None. Did you forget the return?")
    if not isinstance(got, Tensor):
        raise Mistake(f"{what} returned a {type(got).__name__}; expected a tensor.")
    if got.shape != wanted.shape:
        raise Mistake(
            f"{what} returned shape {tuple(got.shape)}; expected {tuple(wanted.shape)}, (queries, keys)."
        )
    if got.dtype != torch.bool:
        raise Mistake(
            f"{what} returned {got.dtype}; expected booleans: compare integers, and you get them."
        )
    return got


def symmetric_loss(answer: Callable[[Tensor, Tensor, float], Tensor]) -> str:
    """Lesson 02, exercise 1: loss(image (B, D) any length, text (B, D), log_scale) -> scalar."""
    generator = torch.Generator().manual_seed(torch.seed() % 2**31)
    image, text = (3 * torch.randn(6, 8, generator=generator) for _ in range(2))
    logit_scale = torch.tensor(1.3)
    a, b, scale, labels = (
        normalize(image, dim=-1),
        normalize(text, dim=-1),
        logit_scale.exp(),
        torch.arange(6),
    )
    logits = scale * a @ b.T
    wanted = clip_loss(a, b, scale)
    got = answer(image, text, logit_scale)
    if got is None:
        raise Mistake("loss() returned None. Did you forget the return?")
    if not isinstance(got, Tensor) or got.dim() != 0:
        raise Mistake(
            f"loss() returned {type(got).__name__} of shape {tuple(getattr(got, 'shape', ()))}; expected one number."
        )
    if torch.isclose(got, wanted, rtol=1e-5):
        return "Both directions, unit vectors, the exponential of the log-scale."
    likely = {
        "that is only image to text: add the loss of the columns (the transpose) and halve.": cross_entropy(
            logits, labels
        ),
        "that is only text to image: add the loss of the rows and halve.": cross_entropy(
            logits.T, labels
        ),
        "that is the sum of both directions: the paper takes their mean.": 2 * wanted,
        "the log-scale is used as it is: multiply by its exponential.": clip_loss(
            a, b, logit_scale
        ),
        "the cosines are divided by the scale: it multiplies.": clip_loss(a, b, 1 / scale),
        "there is no temperature: multiply the cosines by exp(log_scale).": clip_loss(a, b, 1.0),
        "the vectors are not normalised: these are dot products, not cosines.": clip_loss(
            image, text, scale
        ),
        "the rows are summed: cross-entropy takes the mean over the batch.": 6 * wanted,
        "the sign is wrong: a loss is minus the log-probability.": -wanted,
    }
    raise likeliest_mistake(
        got,
        {name: [value] for name, value in likely.items()},
        f"for this batch the loss is {wanted:.4f}; yours is {got:.4f}.",
    )


def ensemble(answer: Callable[[Tensor], Tensor]) -> str:
    """Lesson 02, exercise 2: ensemble(embeddings (templates, classes, E), not normalised) -> (classes, E)."""
    generator = torch.Generator().manual_seed(torch.seed() % 2**31)
    found = torch.randn(5, 3, 8, generator=generator) * torch.rand(5, 3, 1, generator=generator) * 5
    unit = normalize(found, dim=-1)
    wanted = normalize(unit.mean(0), dim=-1)
    got = answer(found)
    if not isinstance(got, Tensor) or got.shape != wanted.shape:
        shape = tuple(got.shape) if isinstance(got, Tensor) else type(got).__name__
        raise Mistake(
            f"found {shape}; expected {tuple(wanted.shape)}: one vector per class, averaged over templates (axis 0)."
        )
    if torch.allclose(got, wanted, atol=1e-5):
        return "Normalise, average, normalise again: each template has one vote, and cosines stay cosines."
    likely = {
        "the mean is not normalised: its length would depend on how much the templates agree.": unit.mean(
            0
        ),
        "normalise each embedding before the mean, or long vectors outvote short ones.": normalize(
            found.mean(0), dim=-1
        ),
        "nothing is normalised.": found.mean(0),
        "that is one template, not the mean over all.": unit[0],
    }
    raise Mistake(
        next(
            (name for name, value in likely.items() if torch.allclose(got, value, atol=1e-5)),
            "these are not the means of the unit vectors.",
        )
    )


def diagnosis(answer: dict[str, str]) -> str:
    """Lesson 02, failure lab: {'A': cause, ...} for three broken runs."""
    truth = {"A": "pairs", "B": "one", "C": "end"}
    hints = {
        "A": "which run stays at ln B and can do no better, however long it trains? Its right answers are unknowable.",
        "B": "what is the logarithm of one? With a single pair there is nothing to tell apart.",
        "C": "which fault leaves images and pairs intact, but makes many different texts look alike?",
    }
    return diagnosed(
        answer,
        truth,
        hints,
        "ln B is the signature of wrong pairs, zero that of a batch of one, a plateau that of text that cannot be read.",
    )
