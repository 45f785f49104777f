"""Lesson 07: the checks of the exercises on vectors: rotary positions, and the hull of words."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from teaching import frozen_reference as reference
from teaching.exercises import Exercise, gradient_rule, normal, number, rule


def rotate_inputs(generator: torch.Generator) -> tuple[list, dict]:
    T, half = number(generator, 4, 6), number(generator, 2, 4)
    positions = torch.randperm(20, generator=generator)[:T].sort().values + 3
    frequencies = 1.0 / 3.0 ** (torch.arange(half) / half)
    return [normal(generator, T, 2 * half), positions, frequencies], {}


def turned(x: Tensor, angle: Tensor, sign: float = 1.0, second_sign: float = 1.0) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    cos, sin = angle.cos(), sign * angle.sin()
    return torch.cat([a * cos - b * sin, second_sign * a * sin + b * cos], dim=-1)


def halves(x: Tensor, p: Tensor, f: Tensor, second) -> Tensor:
    """`turned` with another formula for the second half: second(x_i, x_{i + d/2}, cos, sin)."""
    a, b = x.chunk(2, dim=-1)
    cos, sin = (p[:, None] * f).cos(), (p[:, None] * f).sin()
    return torch.cat([a * cos - b * sin, second(a, b, cos, sin)], dim=-1)


def neighbours(x: Tensor, p: Tensor, f: Tensor) -> Tensor:
    a, b = x[:, ::2], x[:, 1::2]
    cos, sin = (p[:, None] * f).cos(), (p[:, None] * f).sin()
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(1)


ROTATE_MISTAKES = {
    "nothing was turned.": lambda x, p, f: x,
    "it turns the wrong way: check the signs of the two sines.": lambda x, p, f: turned(
        x, p[:, None] * f, sign=-1.0
    ),
    "that is no rotation, lengths change: one of the two sines has a minus, the other has none.": (
        lambda x, p, f: turned(x, p[:, None] * f, second_sign=-1.0),
        lambda x, p, f: turned(x, p[:, None] * f, sign=-1.0, second_sign=-1.0),
    ),
    "entry 2 i is turned with entry 2 i + 1; here entry i is turned with entry i + d / 2.": neighbours,
    "the rows are counted from 0: use the given positions.": lambda x, p, f: turned(
        x, torch.arange(len(x))[:, None] * f
    ),
    "the frequencies are not used: each pair turns at a speed of its own.": lambda x, p, f: turned(
        x, p[:, None].expand(-1, len(f)).float()
    ),
    "the positions are divided by the frequencies; multiply.": lambda x, p, f: turned(
        x, p[:, None] / f
    ),
    "every row is turned by the same angle: its own position decides.": lambda x, p, f: turned(
        x, p[:1, None] * f
    ),
    "the position is added to the vector: that is an absolute position.": lambda x, p, f: (
        x + p[:, None]
    ),
    "sine and cosine are exchanged.": lambda x, p, f: turned(x, torch.pi / 2 - p[:, None] * f),
    "in the second half x_i has the sine and x_{i + d/2} the cosine; here they are exchanged.": (
        lambda x, p, f: halves(x, p, f, lambda a, b, cos, sin: a * cos + b * sin)
    ),
    "the sign of the second half is wrong: both of its terms are added.": lambda x, p, f: halves(
        x, p, f, lambda a, b, cos, sin: a * sin - b * cos
    ),
    "the halves are multiplied, but not mixed: each new entry needs both old ones.": lambda x, p, f: (
        torch.cat(
            [
                x.chunk(2, -1)[0] * (p[:, None] * f).cos(),
                x.chunk(2, -1)[1] * (p[:, None] * f).sin(),
            ],
            -1,
        )
    ),
    "the positions are shifted by one: use them as they are.": lambda x, p, f: turned(
        x, (p[:, None] + 1) * f
    ),
    "positions and frequencies are added: multiply.": lambda x, p, f: turned(x, p[:, None] + f),
    "the new entries are interleaved: concatenate the two halves.": lambda x, p, f: torch.stack(
        turned(x, p[:, None] * f).chunk(2, -1), -1
    ).flatten(1),
    "the angles were taken as degrees: sin and cos of torch expect radians.": lambda x, p, f: (
        turned(x, torch.deg2rad(p[:, None] * f))
    ),
}


def hull_inputs(generator: torch.Generator) -> tuple[list, dict]:
    N, V, D = number(generator, 3, 5), number(generator, 6, 8), number(generator, 9, 12)
    share = 0.3 + 0.1 * number(generator, 0, 1)
    vectors, words = normal(generator, N, D, scale=0.5), normal(generator, V, D, scale=0.6)
    return [vectors, words, share, 4.0], {}  # short: long ones have dot products that pick one word


def mixed(v: Tensor, w: Tensor, m: float, weights: Tensor) -> Tensor:
    return (1 - m) * v + m * (weights @ w)


def cosine(v: Tensor, w: Tensor) -> Tensor:
    return normalize(v, dim=-1) @ normalize(w, dim=-1).T


HULL_MISTAKES = {
    "that is the weighted mean of words alone: the rest of the share belongs to the vectors.": (
        lambda v, w, m, s: mixed(v, w, 1.0, (s * cosine(v, w)).softmax(-1))
    ),
    "the shares are exchanged: `share` is that of the words.": lambda v, w, m, s: mixed(
        v, w, 1 - m, (s * cosine(v, w)).softmax(-1)
    ),
    "those are dot products, not cosines: normalise vectors and words.": lambda v, w, m, s: mixed(
        v, w, m, (s * v @ w.T).softmax(-1)
    ),
    "only the vectors were normalised: a cosine divides by both lengths.": lambda v, w, m, s: mixed(
        v, w, m, (s * normalize(v, dim=-1) @ w.T).softmax(-1)
    ),
    "only the words were normalised: a cosine divides by both lengths.": lambda v, w, m, s: mixed(
        v, w, m, (s * v @ normalize(w, dim=-1).T).softmax(-1)
    ),
    "the sharpness is missing.": lambda v, w, m, s: mixed(v, w, m, cosine(v, w).softmax(-1)),
    "the cosines are divided by the sharpness; multiply.": lambda v, w, m, s: mixed(
        v, w, m, (cosine(v, w) / s).softmax(-1)
    ),
    "the softmax is over the vectors; for each vector the weights of the words sum to 1.": (
        lambda v, w, m, s: mixed(v, w, m, (s * cosine(v, w)).softmax(0))
    ),
    "the normalised words are mixed: use the words as they are.": lambda v, w, m, s: mixed(
        v, normalize(w, dim=-1), m, (s * cosine(v, w)).softmax(-1)
    ),
    "the normalised vectors are mixed: use the vectors as they are.": lambda v, w, m, s: mixed(
        normalize(v, dim=-1), w, m, (s * cosine(v, w)).softmax(-1)
    ),
    "only the nearest word counts: a softmax keeps all, and has a gradient.": lambda v, w, m, s: (
        (1 - m) * v + m * w[cosine(v, w).argmax(-1)]
    ),
    "all words weigh alike: nearer words weigh more.": lambda v, w, m, s: (
        (1 - m) * v + m * w.mean(0)
    ),
    "the weights come from distances; the formula has cosines.": lambda v, w, m, s: mixed(
        v, w, m, (-s * torch.cdist(v, w)).softmax(-1)
    ),
    "that is a sigmoid: the weights must sum to 1, so take a softmax.": lambda v, w, m, s: mixed(
        v, w, m, (s * cosine(v, w)).sigmoid()
    ),
    "nothing was mixed.": lambda v, w, m, s: v,
    "there is no softmax: the weights must be positive and sum to 1.": lambda v, w, m, s: mixed(
        v, w, m, s * cosine(v, w)
    ),
    "the words are added on top: the vectors keep 1 - share.": lambda v, w, m, s: (
        v + m * ((s * cosine(v, w)).softmax(-1) @ w)
    ),
}

EXERCISES = {
    "rotate": Exercise(
        "Each pair turns with its position, so scores depend on distances only.",
        (
            rule(
                "rotate",
                rotate_inputs,
                reference.rotate,
                ROTATE_MISTAKES,
            ),
        ),
        reference=reference.rotate,
    ),
    "word_hull": Exercise(
        "A share of each vector is a weighted mean of words, nearest words first.",
        (
            rule(
                "word_hull",
                hull_inputs,
                reference.word_hull,
                HULL_MISTAKES,
            ),
            gradient_rule(
                "word_hull",
                hull_inputs,
                reference.word_hull,
                1,
                "the values are right, but they have no gradient with respect to the vectors.",
            ),
        ),
        reference=reference.word_hull,
    ),
}
