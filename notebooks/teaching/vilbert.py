"""Instant checks of lesson 03's exercises, and a player that hides a word and shows where its place looks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from teaching.exercises import Mistake, diagnosed, likeliest_mistake
from vlmcourse.plots import picture_and_bars
from vlmcourse.widgets.interactive import play


def _like(got: object, wanted: Tensor, what: str) -> Tensor:
    """The answer, if it is a tensor of the wanted shape."""
    if got is None:
        raise Mistake(f"{what} returned None. Did you forget the return?")
    if not isinstance(got, Tensor) or got.shape != wanted.shape:
        shape = tuple(got.shape) if isinstance(got, Tensor) else type(got).__name__
        raise Mistake(f"{what} returned {shape}; expected {tuple(wanted.shape)}.")
    return got


def _near(got: Tensor, likely: dict[str, Tensor], otherwise: str) -> Mistake:
    """The mistake that leads to this very tensor."""
    return Mistake(
        next(
            (name for name, made in likely.items() if torch.allclose(got, made, atol=1e-5)),
            otherwise,
        )
    )


def picture_token(answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> str:
    """Exercise 1: picture_token(features (B, R, F), real (B, R), hidden (B, R)) -> (B, F), the mean of what may be seen."""
    generator = torch.Generator().manual_seed(torch.seed() % 2**31)
    features = torch.randn(3, 4, 5, generator=generator)
    region_mask = torch.tensor([[True] * 4, [True] * 4, [True, True, False, False]])
    hidden = torch.tensor([[False] * 4, [False, True, False, False], [True, False, False, False]])

    def mean(which: Tensor, by: Tensor | None = None) -> Tensor:
        return (features * which[..., None]).sum(1) / (which if by is None else by).sum(
            1, keepdim=True
        ).clamp(min=1)

    seen, everything = region_mask & ~hidden, torch.ones_like(region_mask)
    wanted, got = (
        mean(seen),
        _like(answer(features.clone(), region_mask, hidden), mean(seen), "picture_token()"),
    )
    if not torch.allclose(got, wanted, atol=1e-5):
        raise _near(
            got,
            {
                "hidden regions still count: whoever reads the mean can work out what was hidden.": mean(
                    region_mask
                ),
                "padding counts: those rows are no regions.": mean(~hidden),
                "all rows count, padding and hidden ones.": mean(everything),
                "the right rows are summed, but divided by the number of all rows, padding too.": mean(
                    seen, everything
                ),
                "the right rows are summed, but divided by the number of all real regions.": mean(
                    seen, region_mask
                ),
                "that is the sum; divide by how many there are.": mean(seen)
                * seen.sum(1, keepdim=True),
                "that is the mean of the hidden ones: the mask is upside down.": mean(~seen),
            },
            "this is not the mean of the rows that are real and not hidden.",
        )
    nothing = answer(features.clone(), region_mask, region_mask)
    if not isinstance(nothing, Tensor) or not torch.isfinite(nothing).all():
        raise Mistake(
            "when every region is hidden you divide by zero: let the count be at least 1."
        )
    return "Real and visible, nothing else, and a picture of which nothing is visible gives zeros."


def co_attention(answer: Callable[..., tuple[Tensor, Tensor]]) -> str:
    """Exercise 2: co_attention(image_qkv, text_qkv), three tensors each (H, R or T, D) -> what regions hear (H, R, D), what
    words hear (H, T, D)."""
    generator = torch.Generator().manual_seed(torch.seed() % 2**31)
    q, k, v = torch.randn(3, 2, 3, 8, generator=generator).unbind()
    Q, K, V = torch.randn(3, 2, 5, 8, generator=generator).unbind()

    def look(query: Tensor, key: Tensor, value: Tensor, scale: float = 8**-0.5) -> Tensor:
        return (query @ key.mT * scale).softmax(-1) @ value

    wanted, got = (look(q, K, V), look(Q, k, v)), answer((q, k, v), (Q, K, V))
    if got is None:
        raise Mistake("co_attention() returned None. Did you forget the return?")
    if (
        not isinstance(got, tuple | list)
        or len(got) != 2
        or not all(isinstance(part, Tensor) for part in got)
    ):
        raise Mistake("expected two tensors: what the regions hear, and what the words hear.")
    if all(
        part.shape == right.shape and torch.allclose(part, right, atol=1e-5)
        for part, right in zip(got, wanted)
    ):
        return "Queries from one stream, keys and values from the other, two maps with softmaxes of their own."
    shared = (q @ K.mT * 8**-0.5).softmax(-1)
    likely = {
        "that is self-attention, twice: each stream's keys and values must come from the other.": (
            look(q, k, v),
            look(Q, K, V),
        ),
        "the two results are exchanged: first what regions hear.": wanted[::-1],
        "the scores are not divided by the square root of the width.": (
            look(q, K, V, 1.0),
            look(Q, k, v, 1.0),
        ),
        "one map serves both directions, transposed: its rows then no longer sum to one. Words ask with their own queries.": (
            shared @ V,
            shared.mT @ v,
        ),
        "the words' map is the regions' map, transposed before its softmax: words ask with their own queries.": (
            shared @ V,
            (q @ K.mT * 8**-0.5).mT.softmax(-1) @ v,
        ),
        "the softmax runs over the queries: each *query* shares its attention out, so dim=-1.": (
            (q @ K.mT * 8**-0.5).softmax(-2) @ V,
            (Q @ k.mT * 8**-0.5).softmax(-2) @ v,
        ),
    }
    raise Mistake(
        next(
            (
                name
                for name, made in likely.items()
                if all(
                    part.shape == one.shape and torch.allclose(part, one, atol=1e-5)
                    for part, one in zip(got, made)
                )
            ),
            f"shapes {[tuple(part.shape) for part in got]}; expected {[tuple(part.shape) for part in wanted]}, and each row a mean "
            "of the other stream's values.",
        )
    )


def region_loss(answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> str:
    """Exercise 3: region_loss(logits (B, R, C), classes (B, R, C), hidden (B, R)) -> scalar."""
    generator = torch.Generator().manual_seed(torch.seed() % 2**31)
    logits, other = torch.randn(2, 2, 4, 6, generator=generator)
    classes, hidden = (
        (2 * other).softmax(-1),
        torch.tensor([[True, False, True, False], [False, False, False, True]]),
    )

    def divergence(p: Tensor, q: Tensor) -> Tensor:
        return (p * (p.log() - q.log())).sum(-1)  # (B, R)

    said, likely_class = logits.softmax(-1), classes.argmax(-1, keepdim=True)
    right = divergence(classes, said)
    wanted, got = right[hidden].mean(), answer(logits, classes, hidden)
    if not isinstance(got, Tensor) or got.dim() != 0:
        found = tuple(got.shape) if isinstance(got, Tensor) else type(got).__name__
        raise Mistake(f"region_loss() returned {found}; expected one number.")
    if torch.isclose(got, wanted, rtol=1e-4):
        return "The divergence of the guess from what the detector said, at hidden regions, and their mean."
    surprise = -said.log()
    raise likeliest_mistake(
        got,
        {
            "visible regions count too: there the answer is in the input.": [right.mean()],
            "that is the mean over classes too: one region's divergence is a sum over them.": [
                right[hidden].mean() / 6
            ],
            "that is the sum over the hidden regions; take their mean.": [right[hidden].sum()],
            "the visible regions count instead of the hidden ones.": [right[~hidden].mean()],
            "the two distributions are exchanged: the detector's is the one that weighs.": [
                divergence(said, classes)[hidden].mean()
            ],
            "that is the cross-entropy with the whole distribution: right in its gradient, but it lacks the detector's own entropy.": [
                (classes * surprise).sum(-1)[hidden].mean()
            ],
            "that is the surprise at the likeliest class alone, VL-BERT's loss: the rest of the distribution is lost.": [
                surprise.gather(-1, likely_class)[..., 0][hidden].mean()
            ],
            "the sign is wrong.": [-wanted],
        },
        f"for this batch the loss is {wanted:.4f}; yours is {got:.4f}.",
    )


def diagnosis(answer: dict[str, str]) -> str:
    """Failure lab: {'A': cause, 'B': ..., 'C': ...} for three sick runs."""
    truth = {"A": "mean", "B": "apart", "C": "all words"}
    hints = {
        "A": "its regions are named nearly without loss in training, and hardly at all in the honest test. What told it?",
        "B": "nothing here is better than guessing from one's own kind. What could have passed between words and regions?",
        "C": "its loss on words is the lowest of all. Which words is it so good at?",
    }
    return diagnosed(
        answer,
        truth,
        hints,
        "A leak shows as a low loss and a poor test, a blocked path as a loss that stays, an easy question as praise "
        "for copying.",
    )


def hiding_player(
    guess: Callable[[int, int], tuple[dict[str, float], str]],
    images: np.ndarray,
    texts: Sequence[Sequence[str]],
    first: tuple[int, int] = (0, 1),
) -> None:
    """Displays pictures (N, S, S, 3), their captions, cut into words, with one word hidden, and the model's guesses.

    guess  (picture number, word number) -> {word: probability}, the likeliest first, and the word that was hidden
    first  what is shown at the beginning: picture number, word number
    """
    import ipywidgets

    number = ipywidgets.IntSlider(
        value=first[0], min=0, max=len(images) - 1, description="picture", continuous_update=False
    )
    place = ipywidgets.IntSlider(
        value=first[1],
        min=0,
        max=max(map(len, texts)) - 1,
        description="hide word",
        continuous_update=False,
    )

    def drawn():
        words = list(texts[number.value])
        hidden = min(place.value, len(words) - 1)
        likely, was = guess(number.value, hidden)
        words[hidden] = "____"
        made = picture_and_bars(
            images[number.value],
            likely,
            f"probability in the gap (was: {was})",
            title=" ".join(words),
        )
        made.description = f"'{' '.join(words)}', hidden word '{was}'. {made.description}"
        return made

    play([number, place], drawn)
