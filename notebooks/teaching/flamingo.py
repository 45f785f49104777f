"""Lesson 11, Flamingo: exercises, quizzes, the failure lab, and a player that shows which picture each word sees."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from teaching.exercises import Exercise, normal, number, rule
from vlmcourse.plots import image_index_strip
from vlmcourse.widgets.interactive import buttons, interactive, text_field
from vlmgrader.checks import driver_source


def media_mask(
    tags: Tensor, count: int, phi=None, compare_masks=torch.eq, first: int = 1
) -> Tensor:
    """(B, T, N): may a token attend to a picture? phi: another count than that of tags so far."""
    phi = tags.long().cumsum(-1) if phi is None else phi(tags)
    return compare_masks(phi[..., None], torch.arange(first, first + count))


def tag_inputs(generator: torch.Generator) -> tuple[list, dict]:
    length, pictures = number(generator, 8, 10), 3
    tags = torch.zeros(2, length, dtype=torch.bool)
    for row in tags:  # the first word is no tag, and the last text has fewer pictures
        row[1 + torch.randperm(length - 1, generator=generator)[:pictures]] = True
    tags[1, tags[1].nonzero()[-1]] = False
    return [tags, pictures], {}


def run_gated(target, y, one, other, a, b):
    """Driver: [the block on given attention and feed-forward maps, is y as it was?]"""

    def attention(x):
        return (x * one).cumsum(-1)

    def feedforward(x):
        return (x * other).square()

    before = y.clone()
    value = target(y, attention, feedforward, a, b)
    return [value, bool((y == before).all())]


def gated(formula):
    """[formula(y, attention, feedforward, a, b), True] of run_gated's arguments."""

    def wanted(y, one, other, a, b):
        return [
            formula(y, lambda x: (x * one).cumsum(-1), lambda x: (x * other).square(), a, b),
            True,
        ]

    return wanted


def block(y, A, F, a, b, gate=torch.tanh):
    y = y + gate(a) * A(y)
    return y + gate(b) * F(y)


def gated_residual(y, A, F, a, b):
    y = a.tanh() * (y + A(y))
    return b.tanh() * (y + F(y))


def gate_inputs(generator: torch.Generator, closed: bool = False) -> tuple[list, dict]:
    width = number(generator, 4, 6)
    shapes = (2, 3, width), (width,), (width,), (), ()
    y, one, other, a, b = (normal(generator, *shape, dtype=torch.float64) for shape in shapes)
    scale = 0 if closed else 1
    return [y, one, other, scale * (a.abs() + 0.4), scale * (-b.abs() - 0.6)], {}


def resample(latents, features, query, key, value, context=None, residual=True, scale=None):
    """Latents (M, R, D) attend to features (M, K, D) and to themselves, and are added to what they find."""
    both = torch.cat([features, latents], 1) if context is None else context(latents, features)
    scale = latents.shape[-1] ** -0.5 if scale is None else scale
    found = ((latents @ query) @ (both @ key).mT * scale).softmax(-1) @ (both @ value)
    return latents + found if residual else found


def mixed(latents, features, *maps):
    both = torch.cat([features, latents], 1)
    flat = (x.flatten(0, 1)[None] for x in (latents, both))
    return resample(*flat, *maps, context=lambda latents, both: both).reshape(latents.shape)


def run_resampled(target, latents, features, query, key, value):
    """Driver: the student's function gets query, key and value as functions."""
    return target(latents, features, *(lambda x, w=w: x @ w for w in (query, key, value)))


def resample_inputs(generator: torch.Generator) -> tuple[list, dict]:
    pictures, latents, features, width = 2, number(generator, 2, 4), number(generator, 5, 7), 5
    return [
        normal(generator, pictures, latents, width),
        normal(generator, pictures, features, width),
        *(normal(generator, width, width) for _ in range(3)),
    ], {}


EXERCISES = {
    "media_mask": Exercise(
        "Each token sees the last picture before it, and text before the first picture sees nothing.",
        (
            rule(
                "my_sees",
                tag_inputs,
                media_mask,
                {
                    "that is the ablation: every picture so far. Flamingo's words see the last one alone: == in the "
                    "place of <= or >=.": partial(media_mask, compare_masks=torch.ge),
                    "it is upside down: True must mean 'may attend'.": partial(
                        media_mask, compare_masks=torch.ne
                    ),
                    "text before the first picture looks at the first picture: pictures are numbered from 1, and phi = "
                    "0 means none.": partial(
                        media_mask, phi=lambda t: t.long().cumsum(-1).clamp(min=1)
                    ),
                    "every word sees the next picture, and text before the first one sees it: do you number pictures "
                    "from 0, or count tags after a token?": partial(media_mask, first=0),
                    "the tag itself does not see its picture: a cumulative sum counts the tag, too (here the tag may "
                    "look).": partial(media_mask, phi=lambda t: t.long().cumsum(-1) - t.long()),
                    "only the tags look; the words after a tag must, too: count tags, cumulatively.": lambda t, n: (
                        media_mask(t, n) & t[..., None]
                    ),
                    "the count runs over the whole batch: count along the text, dim=-1.": partial(
                        media_mask, phi=lambda t: t.flatten().long().cumsum(-1).reshape(t.shape)
                    ),
                    "the tags are counted from the end: count those up to the token.": partial(
                        media_mask, phi=lambda t: t.long().flip(-1).cumsum(-1).flip(-1)
                    ),
                    "the last two axes are exchanged: (B, T, N), a row for each token.": lambda t, n: (
                        media_mask(t, n).mT
                    ),
                },
            ),
        ),
    ),
    "gated": Exercise(
        "Two residuals, two gates. At a = b = 0 the block is not there.",
        (
            rule(
                "my_gated",
                gate_inputs,
                gated(block),
                {
                    message: gated(formula)
                    for message, formula in {
                        "the gates are a and b themselves: take tanh, which keeps them within -1 and 1.": partial(
                            block, gate=lambda x: x
                        ),
                        "a sigmoid gate is half open at 0: the language model would be disturbed from the first step on. "
                        "Take tanh.": partial(block, gate=torch.sigmoid),
                        "no gates: at the first step the frozen model would read noise.": partial(
                            block, gate=torch.ones_like
                        ),
                        "the feed-forward reads the y from before the attention: it must see what the attention brought.": (
                            lambda y, A, F, a, b: y + a.tanh() * A(y) + b.tanh() * F(y)
                        ),
                        "the first residual is missing: y + ... before the feed-forward.": lambda y, A, F, a, b: (
                            block(a.tanh() * A(y), lambda x: 0 * x, F, a, b)
                        ),
                        "the second residual is missing.": lambda y, A, F, a, b: (
                            b.tanh() * F(y + a.tanh() * A(y))
                        ),
                        "the gate closes the residual, too: only what is added is multiplied.": gated_residual,
                        "a and b are exchanged: a belongs to the attention.": lambda y, A, F, a, b: (
                            block(y, A, F, b, a)
                        ),
                        "only the attention is added; the gated feed-forward is the other half of the block.": (
                            lambda y, A, F, a, b: y + a.tanh() * A(y)
                        ),
                        "only the feed-forward is added; the gated attention comes before it.": lambda y, A, F, a, b: (
                            y + b.tanh() * F(y)
                        ),
                        "nothing is added: y comes out as it went in, even with open gates.": lambda y, A, F, a, b: (
                            y
                        ),
                    }.items()
                },
                driver=driver_source(run_gated),
                explain=lambda got, *_: (
                    "you changed y itself: y += ... writes into what the language model still needs. Write y = y + ..."
                    if got[1] is False
                    else None
                ),
            ),
            rule(
                "my_gated",
                partial(gate_inputs, closed=True),
                gated(lambda y, *_: y),
                driver=driver_source(run_gated),
                tolerance=0.0,
                explain=lambda *_: "with a = b = 0 the result must be y, bit for bit.",
            ),
        ),
    ),
    "resampled": Exercise(
        "Latents ask features and each other in one attention, and are added to what they find.",
        (
            rule(
                "my_resampled",
                resample_inputs,
                resample,
                {
                    "keys and values are of the features alone; in Flamingo they are of features and latents, joined.": partial(
                        resample, context=lambda latents, features: features
                    ),
                    "the residual is missing: latents + what they found.": partial(
                        resample, residual=False
                    ),
                    "the scale is missing: divide the scores by the square root of the width.": partial(
                        resample, scale=1.0
                    ),
                    "keys and values are of the latents alone: nothing of the picture comes in.": partial(
                        resample, context=lambda latents, features: latents
                    ),
                    "the latents of all pictures are mixed: keep the first axis apart.": mixed,
                    "the scale is missing, and so is the residual.": partial(
                        resample, scale=1.0, residual=False
                    ),
                    "nothing is read: the latents come out as they went in.": lambda latents, *_: (
                        latents
                    ),
                },
                driver=driver_source(run_resampled),
            ),
        ),
    ),
}


def ribbon_player(texts: Sequence[str]) -> None:
    """Displays a text to change, and which picture each of its words sees; `texts` to begin with."""
    import ipywidgets

    text = text_field("text", texts[0], texts)
    which = buttons("sees", ["last picture", "all pictures so far"], width="")
    image_token_attends = ipywidgets.Checkbox(
        value=True, description="the tag sees its own picture"
    )

    def draw():
        words = text.value.replace("<EOC>", " <EOC> ").replace("<image>", " <image> ").split()
        if not words:
            raise ValueError("an empty text; expected words and tags <image>.")
        tags = torch.tensor([word == "<image>" for word in words]).long()
        phi = tags.cumsum(-1) - (0 if image_token_attends.value else tags)
        return image_index_strip(words, phi.tolist(), so_far=which.value != "last picture")

    interactive([text, which, image_token_attends], draw)
