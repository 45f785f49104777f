"""Lesson 08: the checks of the exercises on matching, on the language modelling loss, on minimal pairs and on re-ranking."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from teaching import blip_reference as reference
from teaching.exercises import (
    Exercise,
    normal,
    number,
    rule,
)
from vlmgrader.checks import driver_source

FLOOR = 1e-4


def weights(similarities: Tensor, groups: Tensor, floor=FLOOR, axis=-1, own=False) -> Tensor:
    """(B, B): softmax of each row, plus the floor, then 0 where groups are equal (own: at the own text only)."""
    positive = torch.eye(len(groups)).bool() if own else groups[:, None] == groups[None, :]
    return (similarities.softmax(axis) + floor).masked_fill(positive, 0)


def masked_before(similarities: Tensor, groups: Tensor, value: float, floor: float) -> Tensor:
    positive = groups[:, None] == groups[None, :]
    return similarities.masked_fill(positive, value).softmax(-1) + floor


def weight_inputs(generator: torch.Generator) -> tuple[list, dict]:
    size = number(generator, 5, 7)
    groups = torch.arange(size)
    groups[2] = groups[0]  # two equal texts
    return [normal(generator, size, size, scale=6, dtype=torch.float64), groups], {}


def run_weights(target, similarities, groups):
    """Driver: weights as shares of their rows, for torch.multinomial does not mind a factor; is there always one to draw?"""
    import torch

    size = len(groups)
    found = target(similarities, groups)
    if isinstance(found, torch.Tensor) and found.dim() == 2 and bool((found.sum(1) > 0).all()):
        found = found.double() / found.double().sum(1, keepdim=True)
    certain = target(1000 * torch.eye(size, dtype=similarities.dtype), torch.arange(size))
    return [found, not isinstance(certain, torch.Tensor) or bool((certain.sum(-1) > 0).all())]


def equal_groups(similarities: Tensor, groups: Tensor) -> Tensor:
    return groups[:, None] == groups[None, :]


WEIGHT_MISTAKES = {
    "this is the softmax alone: 1e-4 is not added, and right texts can be drawn.": lambda s, g: (
        s.softmax(-1)
    ),
    "the image's own text can be drawn: then a right pair is called wrong.": lambda s, g: (
        s.softmax(-1) + FLOOR
    ),
    "the own text is excluded, but texts that are equal to it are not: use `groups`.": partial(
        weights, own=True
    ),
    "1e-4 is not added, and texts that are equal to the own one are not excluded.": partial(
        weights, own=True, floor=0
    ),
    "1e-4 is not added: where the right pair takes all the probability, nothing is left to draw.": (
        partial(weights, floor=0)
    ),
    "that is clamp_min(1e-4), or a maximum; the authors' code adds 1e-4 to every weight.": (
        lambda s, g: s.softmax(-1).clamp_min(FLOOR).masked_fill(equal_groups(s, g), 0)
    ),
    "1e-4 was added last, so right texts have weight 1e-4: rare, but drawn.": lambda s, g: (
        weights(s, g, floor=0) + FLOOR
    ),
    "the condition is upside down: right texts are kept, all others are 0.": lambda s, g: (
        s.softmax(-1) + FLOOR
    ).masked_fill(~equal_groups(s, g), 0),
    "a similarity of 0 is not a weight of 0, since exp(0) = 1. Take right texts out after the softmax.": (
        partial(masked_before, value=0, floor=0)
    ),
    "a similarity of 0 isn't a weight of 0, since exp(0) = 1. Take right texts out after adding 1e-4.": (
        partial(masked_before, value=0, floor=FLOOR)
    ),
    "right texts are taken out before the softmax, so that others share what they had. The rule of this exercise "
    "takes them out last.": (
        partial(masked_before, value=-torch.inf, floor=0),
        partial(masked_before, value=-torch.inf, floor=FLOOR),
        lambda s, g: masked_before(s, g, -torch.inf, FLOOR).masked_fill(equal_groups(s, g), 0),
    ),
    "the softmax runs over images (dim 0): each image's weights are a row.": partial(
        weights, axis=0
    ),
    "all wrong texts are equally likely: where is the similarity?": lambda s, g: (
        ~equal_groups(s, g)
    ).double(),
    "the least similar texts are preferred: these are the easiest negatives.": lambda s, g: weights(
        -s, g
    ),
}


def linear_match(ids: Tensor, states: Tensor) -> Tensor:
    """A stand-in for BLIP's itm_logits: (N, T), (N, P, D) -> (N, 2)."""
    if len(ids) != len(states):
        raise ValueError(f"{len(ids)} texts and {len(states)} images; expected as many.")
    features = states.flatten(1)
    numbers = torch.sin(torch.arange(1, 1 + features.shape[1]) * (1 + ids.sum(1, keepdim=True)))
    score = (features * numbers).sum(1) / features.shape[1] ** 0.5
    return torch.stack([score.cos() - 0.3 * score, score + 0.5 * ids[:, 0].float().sin()], dim=1)


def run_itm(target, ids, states, texts, images):
    """Driver: the loss with `linear_match`, and its gradient by the states."""
    import torch

    from teaching.blip_matching import linear_match

    states = states.clone().requires_grad_()
    loss = target(linear_match, ids, states, texts, images)
    if not isinstance(loss, torch.Tensor) or not loss.requires_grad:
        return [loss, torch.zeros_like(states)]
    if loss.dim():
        return [loss.detach(), torch.zeros_like(states)]
    return [loss.item(), torch.autograd.grad(loss, states)[0]]


def itm_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Texts, states of their images, and a wrong text and a wrong image for each."""
    B = number(generator, 4, 6)
    ids = torch.randint(1, 50, (B, number(generator, 3, 5)), generator=generator)
    states = normal(generator, B, number(generator, 2, 3), 4)
    shift = torch.randint(1, B, (2, B), generator=generator)
    texts, images = (torch.arange(B) + shift) % B
    return [ids, states, texts, images], {}


def itm_parts(match: Callable, ids: Tensor, states: Tensor, texts: Tensor, images: Tensor) -> dict:
    """Logits of the right pairs, and of several kinds of wrong ones."""
    return {
        "right": match(ids, states),
        "wrong text": match(ids[texts], states),
        "wrong image": match(ids, states[images]),
        "both": match(ids[texts], states[images]),
        "image by texts": match(ids, states[texts]),
        "text by images": match(ids[images], states),
        "right again by texts": match(ids[texts], states[texts]),
        "right again by images": match(ids[images], states[images]),
    }


def itm(
    match: Callable,
    ids: Tensor,
    states: Tensor,
    texts: Tensor,
    images: Tensor,
    use: tuple[str, ...] = ("right", "wrong text", "wrong image"),
    right: int = 1,
    reduce: Callable = lambda groups: torch.cat(groups).mean(),
) -> Tensor:
    """itm_loss with other choices. use: kinds of pairs, the first of which are called right."""
    found, losses = itm_parts(match, ids, states, texts, images), []
    for index, name in enumerate(use):
        label = right if index == 0 else 1 - right
        labels = torch.full((len(ids),), label)
        losses.append(cross_entropy(found[name], labels, reduction="none"))
    return reduce(losses)


def itm_mistake(**how) -> Callable:
    """What `run_itm` gives for it."""
    return partial(run_itm, partial(itm, **how))


ITM_MISTAKES = {
    "no wrong image: each text needs a pair with a wrong image, too.": itm_mistake(
        use=("right", "wrong text")
    ),
    "no wrong text: each image needs a pair with a wrong text, too.": itm_mistake(
        use=("right", "wrong image")
    ),
    "the right pairs are missing.": itm_mistake(
        use=("right", "wrong text", "wrong image"), reduce=lambda g: torch.cat(g[1:]).mean()
    ),
    "the wrong text meets the wrong image: change one of the two at a time.": (
        itm_mistake(use=("right", "both")),
        itm_mistake(use=("right", "both", "both")),
        itm_mistake(use=("right", "wrong text", "wrong image", "both")),
    ),
    "`texts` and `images` are exchanged: texts holds the number of a wrong text for each image.": (
        itm_mistake(use=("right", "text by images", "image by texts"))
    ),
    "`texts` is used for the images, too: `images` holds the numbers of the wrong images.": (
        itm_mistake(use=("right", "wrong text", "image by texts"))
    ),
    "no pair has a wrong image: `images` must choose among the states, not among the texts.": (
        itm_mistake(use=("right", "wrong text", "text by images"))
    ),
    "a group of wrong pairs holds right ones: text and image were both taken by the same numbers.": (
        itm_mistake(use=("right", "wrong text", "right again by images")),
        itm_mistake(use=("right", "right again by texts", "wrong image")),
        itm_mistake(use=("right", "right again by texts", "right again by images")),
    ),
    "class 1 is 'match': the labels are exchanged.": itm_mistake(right=0),
    "right and wrong pairs have the same weight; take the mean over all 3 B pairs.": (
        itm_mistake(reduce=lambda g: (g[0].mean() + torch.cat(g[1:]).mean()) / 2),
        itm_mistake(reduce=lambda g: g[0].mean() + torch.cat(g[1:]).mean()),
    ),
    "that is the sum; take the mean over all 3 B pairs.": (
        itm_mistake(reduce=lambda g: torch.cat(g).sum()),
        itm_mistake(reduce=lambda g: sum(one.mean() for one in g)),
    ),
    "the value is right, but no gradient arrives at the image's states.": lambda *args: [
        itm_mistake()(*args)[0],
        torch.zeros_like(args[1]),
    ],
}


EXERCISES = {
    "negative_weights": Exercise(
        "Similar texts are drawn often, right ones never, and there is always something to draw.",
        (rule("negative_weights", weight_inputs, partial(run_weights, weights), {
            message: tuple(
                partial(run_weights, formula)
                for formula in (found if isinstance(found, tuple) else (found,))
            )
            for message, found in WEIGHT_MISTAKES.items()
        }, driver=driver_source(run_weights)),),
        reference=reference.negative_weights,
    ),
    "itm_loss": Exercise(
        "One right pair, one with a wrong text, one with a wrong image.",
        (
            rule(
                "itm_loss",
                itm_inputs,
                itm_mistake(),
                ITM_MISTAKES,
                driver=driver_source(run_itm),
            ),
        ),
        reference=reference.itm_loss,
    ),
}  # fmt: skip
