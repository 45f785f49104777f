"""Lesson 04, ViLBERT: exercises, quizzes, the failure lab, and a player that hides a word of a caption."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from teaching.exercises import Exercise, gradient_rule, normal, number, rule
from vlmcourse.plots import picture_and_bars
from vlmcourse.widgets.interactive import interactive, slider


def mean_of(features: Tensor, which: Tensor, by: Tensor | None = None, least: int = 1) -> Tensor:
    """(B, F): the rows of features (B, R, F) at `which` (B, R), summed, by the number of rows at `by`."""
    count = (which if by is None else by).sum(1, keepdim=True).clamp(min=least)
    return (features * which[..., None]).sum(1) / count


def visible_mean(features: Tensor, region_mask: Tensor, hidden: Tensor) -> Tensor:
    return mean_of(features, region_mask & ~hidden)


def region_inputs(generator: torch.Generator, all_hidden: bool = False) -> tuple[list, dict]:
    batch, regions = number(generator, 3, 4), number(generator, 5, 6)
    region_mask = (
        torch.arange(regions) < torch.tensor([regions] * (batch - 1) + [regions - 2])[:, None]
    )
    hidden = torch.zeros(batch, regions, dtype=torch.bool)
    hidden[:, number(generator, 0, 1)] = True
    hidden[0] |= torch.tensor(all_hidden)
    return [normal(generator, batch, regions, 4), region_mask, hidden & region_mask], {}


TOKEN_MISTAKES = {
    "hidden regions still count: whoever reads the mean can work out what was hidden.": lambda f, r, h: (
        mean_of(f, r)
    ),
    "padding counts: those rows are no regions.": lambda f, r, h: mean_of(f, ~h),
    "all rows count, padding and hidden ones.": lambda f, r, h: f.mean(1),
    "the right rows are summed, but divided by the number of all rows, padding too.": lambda f, r, h: (
        mean_of(f, r & ~h, torch.ones_like(r))
    ),
    "the right rows are summed, but divided by the number of all real regions.": lambda f, r, h: (
        mean_of(f, r & ~h, r)
    ),
    "that is the sum; divide by how many there are.": lambda f, r, h: (f * (r & ~h)[..., None]).sum(
        1
    ),
    "that is the mean of the hidden ones: the mask is upside down.": (
        lambda f, r, h: mean_of(f, ~(r & ~h)),
        lambda f, r, h: mean_of(f, r & h),
    ),
}


def fill_empty(value: float, f: Tensor, r: Tensor, h: Tensor) -> Tensor:
    empty = ~(r & ~h).any(1, keepdim=True)
    return visible_mean(f, r, h).masked_fill(empty, value)


def attend(
    q: Tensor, k: Tensor, v: Tensor, scale: float | None = None, axis: int = -1, scores=None
) -> Tensor:
    """Attention of (H, Q, D) to (H, K, D); scores: instead of those of q and k."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return ((q @ k.mT if scores is None else scores) * scale).softmax(axis) @ v


def co_attention(image: Sequence[Tensor], text: Sequence[Tensor], **options) -> list[Tensor]:
    """What regions get from words (H, R, D), and words from regions (H, T, D)."""
    (q, k, v), (Q, K, V) = image, text
    return [attend(q, K, V, **options), attend(Q, k, v, **options)]


def self_attention(image: Sequence[Tensor], text: Sequence[Tensor], **options) -> list[Tensor]:
    return [attend(*image, **options), attend(*text, **options)]


def one_map(image: Sequence[Tensor], text: Sequence[Tensor], before: bool) -> list[Tensor]:
    """The regions' map serves the words too, transposed before or after its softmax."""
    scores = image[0] @ text[1].mT * image[0].shape[-1] ** -0.5
    back = scores.mT.softmax(-1) if before else scores.softmax(-1).mT
    return [scores.softmax(-1) @ text[2], back @ image[2]]


def co_inputs(generator: torch.Generator) -> tuple[list, dict]:
    regions, words, width = (
        number(generator, 3, 4),
        number(generator, 5, 6),
        number(generator, 6, 9),
    )
    streams = (
        tuple(normal(generator, 2, length, width) for _ in range(3)) for length in (regions, words)
    )
    return list(streams), {}


def region_loss(logits: Tensor, classes: Tensor, hidden: Tensor) -> Tensor:
    """The divergence of softmax(logits) (B, R, C) from the detector's classes (B, R, C), mean over hidden regions."""
    per_region = (classes * (classes.log() - logits.log_softmax(-1))).sum(-1)
    return per_region[hidden].mean()


def at_regions(per_region: Callable[[Tensor, Tensor], Tensor], reduce=None):
    """A loss of (logits, classes) -> (B, R), over hidden regions; reduce: another way than their mean."""
    reduce = reduce or (lambda values, hidden: values[hidden].mean())
    return lambda logits, classes, hidden: reduce(per_region(logits, classes), hidden).item()


def kl(guess: Callable[[Tensor], Tensor]):
    """torch's kl_div(guess(logits), classes), summed over classes."""
    return lambda logits, classes: (classes * (classes.log() - guess(logits))).sum(-1)


right_kl = kl(lambda logits: logits.log_softmax(-1))


def loss_inputs(generator: torch.Generator) -> tuple[list, dict]:
    shape = 2, number(generator, 4, 6), number(generator, 5, 7)
    hidden = torch.zeros(shape[:2], dtype=torch.bool)
    hidden[0, 0], hidden[0, 2], hidden[1, -1] = True, True, True
    return [normal(generator, *shape), normal(generator, *shape, scale=2).softmax(-1), hidden], {}


EXERCISES = {
    "picture_token": Exercise(
        "Real and visible, nothing else, and a picture of which nothing is visible gives zeros.",
        (
            rule("picture_token", region_inputs, visible_mean, TOKEN_MISTAKES),
            rule(
                "picture_token",
                partial(region_inputs, all_hidden=True),
                visible_mean,
                {
                    "when every region is hidden you divide by zero: let the count be at least 1.": partial(
                        fill_empty, torch.nan
                    ),
                    "a picture of which nothing is visible gives ones; it should give zeros: nothing is known.": partial(
                        fill_empty, 1.0
                    ),
                    "when every region is hidden the mean of all regions comes out: that gives them all away.": (
                        lambda f, r, h: torch.where(
                            (r & ~h).any(1, keepdim=True), visible_mean(f, r, h), mean_of(f, r)
                        )
                    ),
                },
            ),
        ),
    ),
    "co_attention": Exercise(
        "Queries from one stream, keys and values from the other, two maps with softmaxes of their own.",
        (
            rule(
                "co_attention",
                co_inputs,
                co_attention,
                {
                    "that is self-attention, twice: each stream's keys and values must come from the other.": self_attention,
                    "that is self-attention, twice, and unscaled: take the other stream's keys and values, and divide "
                    "the scores by the square root of the width.": partial(self_attention, scale=1),
                    "the two results are exchanged: first what regions get.": lambda i, t: (
                        co_attention(i, t)[::-1]
                    ),
                    "the two results are exchanged, and the scores are not divided by the square root of the width.": (
                        lambda i, t: co_attention(i, t, scale=1)[::-1]
                    ),
                    "the scores are not divided by the square root of the width.": partial(
                        co_attention, scale=1
                    ),
                    "one map serves both directions, transposed: its rows then no longer sum to one. Words ask with "
                    "their own queries.": partial(one_map, before=False),
                    "the words' map is the regions' map, transposed before its softmax: words ask with their own queries.": (
                        partial(one_map, before=True)
                    ),
                    "the softmax runs over the queries: each *query* shares its attention out, so dim=-1.": partial(
                        co_attention, axis=-2
                    ),
                },
            ),
        ),
    ),
    "region_loss": Exercise(
        "The divergence of the guess from the detector's distribution, at hidden regions, and their mean.",
        (
            rule(
                "region_loss",
                loss_inputs,
                lambda *args: region_loss(*args).item(),
                {
                    "visible regions count too: there the answer is in the input.": at_regions(
                        right_kl, lambda values, hidden: values.mean()
                    ),
                    "that is the mean over classes too: one region's divergence is a sum over them.": lambda g, c, h: (
                        region_loss(g, c, h).item() / g.shape[-1]
                    ),
                    "that is the sum over the hidden regions; take their mean.": at_regions(
                        right_kl, lambda values, hidden: values[hidden].sum()
                    ),
                    "the visible regions count instead of the hidden ones.": at_regions(
                        right_kl, lambda values, hidden: values[~hidden].mean()
                    ),
                    "the two distributions are exchanged: the detector's is the one that weighs.": lambda g, c, h: (
                        at_regions(right_kl)(c.log(), g.softmax(-1), h)
                    ),
                    "that is the cross-entropy with the whole distribution: right in its gradient, but it lacks the "
                    "detector's own entropy.": at_regions(
                        lambda g, c: -(c * g.log_softmax(-1)).sum(-1)
                    ),
                    "that is the cross-entropy at the likeliest class alone, VL-BERT's loss: the rest of the "
                    "distribution is lost.": at_regions(
                        lambda g, c: (
                            -g.log_softmax(-1).gather(-1, c.argmax(-1, keepdim=True))[..., 0]
                        )
                    ),
                    "kl_div was given raw logits: its first argument is log-probabilities, log_softmax of the logits.": (
                        at_regions(kl(lambda g: g)),
                        lambda g, c, h: at_regions(kl(lambda g: g))(g, c, h) / g.shape[-1],
                    ),
                    "kl_div was given probabilities: its first argument is *log*-probabilities, log_softmax of the logits.": (
                        at_regions(kl(lambda g: g.softmax(-1))),
                        lambda g, c, h: (
                            at_regions(kl(lambda g: g.softmax(-1)))(g, c, h) / g.shape[-1]
                        ),
                    ),
                    "the sign is wrong.": lambda *args: -region_loss(*args).item(),
                },
            ),
            gradient_rule(
                "region_loss",
                loss_inputs,
                region_loss,
                1,
                "the number is right, but it has no gradient with respect to the logits: nothing can learn from it.",
            ),
        ),
    ),
}


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
    picture = slider("picture", first[0], 0, len(images) - 1)
    position = slider("hide word", first[1], 0, max(map(len, texts)) - 1)

    def draw():
        words = list(texts[picture.value])
        hidden = min(position.value, len(words) - 1)
        likely, hidden_word = guess(picture.value, hidden)
        words[hidden] = "____"
        title = " ".join(words)
        figure = picture_and_bars(
            images[picture.value],
            likely,
            f"probability in the gap (was: {hidden_word})",
            title=title,
        )
        figure.description = f"'{title}', hidden word '{hidden_word}'. {figure.description}"
        return figure

    interactive([picture, position], draw)
