"""Lesson 04: the check of the exercise on the alignment head."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from teaching import vilbert_reference as reference
from teaching.exercises import Exercise, listed, normal, number, rule


def pooled_inputs(generator: torch.Generator) -> tuple[list, dict]:
    width = number(generator, 4, 6)
    layers = [nn.Linear(3, width), nn.Linear(5, width), nn.Linear(width, 1)]
    for layer in layers:
        for parameter in layer.parameters():
            parameter.data = normal(generator, *parameter.shape)
    return [normal(generator, 3, 4, 3), normal(generator, 3, 6, 5), *layers], {}


def aligned(
    image: Tensor,
    text: Tensor,
    pool_image: nn.Module,
    pool_text: nn.Module,
    head: nn.Module,
    take: Callable = lambda states: states[:, 0],
    activation: Callable = torch.tanh,
    join: Callable = torch.mul,
) -> Tensor:
    """alignment_logits with other choices."""
    pooled = activation(pool_image(take(image))), activation(pool_text(take(text)))
    return head(join(*pooled))[:, 0]


ALIGNMENT_MISTAKES = {
    "the pooled states are added; ViLBERT multiplies them, number by number.": partial(
        aligned, join=torch.add
    ),
    "the pooled states are subtracted; ViLBERT multiplies them.": partial(aligned, join=torch.sub),
    "the mean over all positions is pooled; take the first position of each stream.": partial(
        aligned, take=lambda states: states.mean(1)
    ),
    "the last position is pooled; the IMG token and <bos> are at position 0.": partial(
        aligned, take=lambda states: states[:, -1]
    ),
    "the tanh is applied to the product; it belongs to each pooled state, before the product.": (
        lambda i, t, p, q, h: h((p(i[:, 0]) * q(t[:, 0])).tanh())[:, 0]
    ),
    "the tanh stands before the linear layer of the pooling; it stands after it.": (
        lambda i, t, p, q, h: h(p(i[:, 0].tanh()) * q(t[:, 0].tanh()))[:, 0]
    ),
    "position 1 is pooled; the first position of each stream is 0.": partial(
        aligned, take=lambda states: states[:, 1]
    ),
    "the largest state of all positions is pooled; take the first position of each stream.": partial(
        aligned, take=lambda states: states.amax(1)
    ),
    "one stream has no tanh: both pooled states have one.": (
        lambda i, t, p, q, h: h(p(i[:, 0]).tanh() * q(t[:, 0]))[:, 0],
        lambda i, t, p, q, h: h(p(i[:, 0]) * q(t[:, 0]).tanh())[:, 0],
    ),
    "the head is missing: the products are added up as they are; the head weighs them.": (
        lambda i, t, p, q, h: (p(i[:, 0]).tanh() * q(t[:, 0]).tanh()).sum(-1)
    ),
    "there is a tanh at the end: a logit may be any number.": lambda *args: aligned(*args).tanh(),
    "that is a GELU; here the pooling has a tanh, as BERT's.": partial(
        aligned, activation=nn.functional.gelu
    ),
    "the tanh is missing.": partial(aligned, activation=lambda x: x),
    "that is a ReLU; here the pooling has a tanh, as BERT's.": partial(
        aligned, activation=torch.relu
    ),
    "that is a sigmoid; here the pooling has a tanh, as BERT's.": partial(
        aligned, activation=torch.sigmoid
    ),
    "that is a probability; return the logit, the loss applies the sigmoid.": lambda *args: aligned(
        *args
    ).sigmoid(),
    "the shape is (B, 1); return (B,).": lambda *args: aligned(*args)[:, None],
}


EXERCISES = {
    "alignment_logits": Exercise(
        "The first states, pooled, multiplied, and one logit for each pair.",
        (
            rule(
                "alignment_logits",
                pooled_inputs,
                lambda *args: reference.alignment_logits(*args).detach(),
                {
                    words: [lambda *a, f=wrong: f(*a).detach() for wrong in listed(formulas)]
                    for words, formulas in ALIGNMENT_MISTAKES.items()
                },
            ),
        ),
        reference=reference.alignment_logits,
    ),
}  # fmt: skip
