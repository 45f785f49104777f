"""Lesson 14: the checks of the exercises on what came after LLaVA: SigLIP's loss, tiles, pictures as tokens."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, normalize

from teaching import llava_reference as reference
from teaching.exercises import Exercise, gradient_rule, normal, number, rule
from vlmgrader.checks import driver_source

# Exercise 9


def loss_inputs(generator: torch.Generator) -> tuple[list, dict]:
    N, E = number(generator, 4, 6), number(generator, 4, 6)
    images, texts = (normalize(normal(generator, N, E), dim=-1) for _ in range(2))
    return [images, texts, float(number(generator, 3, 6)), -float(number(generator, 1, 3))], {}


def sigmoid(images, texts, t, b, *, signs=None, total=None, pair=logsigmoid) -> Tensor:
    """The loss with other signs (N, N), another total of the terms, or another function of a pair."""
    logits, same = t * images @ texts.T + b, torch.eye(len(images))
    signs = 2 * same - 1 if signs is None else signs(same)
    terms = -pair(signs * logits)
    return total(terms) if total else terms.sum() / len(terms)


def sigmoids(**options) -> Callable:
    return lambda *args: sigmoid(*args, **options)


def clip_loss(images, texts, t, b) -> Tensor:
    logits, targets = t * images @ texts.T + b, torch.arange(len(images))
    return (cross_entropy(logits, targets) + cross_entropy(logits.T, targets)) / 2


SIGMOID_MISTAKES = {
    "the sum is divided by all pairs, N * N; the formula divides by N.": sigmoids(
        total=lambda terms: terms.mean()
    ),
    "the sum is not divided by N.": sigmoids(total=lambda terms: terms.sum()),
    "only the matching pairs count: the other pairs are answers, too ('no').": sigmoids(
        total=lambda terms: terms.diagonal().mean()
    ),
    "only the pairs that don't match count.": sigmoids(
        total=lambda terms: (terms.sum() - terms.diagonal().sum()) / len(terms)
    ),
    "all pairs are treated as matching: z is -1 where image and text belong to different pairs.": (
        sigmoids(signs=lambda same: torch.ones_like(same))
    ),
    "all pairs are treated as different: z is +1 on the diagonal.": sigmoids(
        signs=lambda same: -torch.ones_like(same)
    ),
    "the signs are exchanged: +1 on the diagonal, -1 elsewhere.": sigmoids(
        signs=lambda same: 1 - 2 * same
    ),
    "pairs that don't match have sign 0 instead of -1.": sigmoids(signs=lambda same: same),
    "that is CLIP's loss, a softmax over rows and columns; here each pair is judged alone.": (
        clip_loss
    ),
    "the logarithm is missing: the term is the logarithm of the sigmoid.": sigmoids(
        pair=torch.sigmoid
    ),
    "the loss is negative: mind the minus sign before the sum.": lambda *args: -sigmoid(*args),
    "the bias b is missing.": lambda i, x, t, b: sigmoid(i, x, t, 0.0),
    "the bias b is subtracted: it is added, and is negative by itself.": lambda i, x, t, b: sigmoid(
        i, x, t, -b
    ),
    "the scale t is missing.": lambda i, x, t, b: sigmoid(i, x, 1.0, b),
    "the similarities are divided by t; the formula multiplies.": lambda i, x, t, b: sigmoid(
        i, x, 1 / t, b
    ),
    "t also multiplies the bias.": lambda i, x, t, b: sigmoid(i, x, t, t * b),
    "t is exponentiated: here t is the scale itself.": lambda i, x, t, b: sigmoid(
        i, x, float(torch.tensor(t).exp()), b
    ),
    "the bias stands outside the sign: z multiplies the whole logit, with b.": lambda i, x, t, b: (
        -logsigmoid((2 * torch.eye(len(i)) - 1) * t * (i @ x.T) + b).sum() / len(i)
    ),
}

# Exercise 10

CASES = ((336, 336), (336, 672), (600, 700), (1000, 336), (200, 300))
"""Heights and widths of pictures, in pixels; a tile is 336."""


def run_tokens(target, tile, patch, latents):
    """Driver: numbers of vectors of several pictures, with all patches and with a resampler."""
    sizes = ((336, 336), (336, 672), (600, 700), (1000, 336), (200, 300))
    return [target(h, w, tile, patch, r) for r in (None, latents) for h, w in sizes]


def counted(tiles: Callable, per_tile: Callable) -> Callable:
    """tiles: (height, width, tile) -> number; per_tile: (tiles, tile, patch, latents) -> number of vectors in all."""

    def formula(tile: int, patch: int, latents: int) -> list[int]:
        return [
            per_tile(tiles(h, w, tile), tile, patch, r) for r in (None, latents) for h, w in CASES
        ]

    return formula


def grid(h, w, tile) -> int:
    return -(-h // tile) * -(-w // tile)


def with_overview(h, w, tile) -> int:
    return grid(h, w, tile) + (grid(h, w, tile) > 1)


def vectors(tiles, tile, patch, latents) -> int:
    return tiles * (latents or (tile // patch) ** 2)


TOKEN_MISTAKES = {
    "the overview is missing: several tiles come with the whole picture in small.": counted(
        grid, vectors
    ),
    "the overview is added to a single tile, too: there it would be the same picture twice.": counted(
        lambda h, w, t: grid(h, w, t) + 1, vectors
    ),
    "tiles are rounded down: a rest at the edge needs a tile of its own.": (
        counted(
            lambda h, w, t: (h // t) * (w // t) + ((h // t) * (w // t) > 1),
            vectors,
        ),
        counted(
            lambda h, w, t: max(1, h // t) * max(1, w // t) + (max(1, h // t) * max(1, w // t) > 1),
            vectors,
        ),
    ),
    "tiles are rounded to the nearest number: a rest at the edge needs a tile of its own.": counted(
        lambda h, w, t: round(h / t) * round(w / t) + (round(h / t) * round(w / t) > 1), vectors
    ),
    "the overview doesn't pass through the resampler: it costs `latents` vectors, too.": counted(
        with_overview,
        lambda n, tile, patch, r: (
            vectors(n - (n > 1), tile, patch, r) + (n > 1) * (tile // patch) ** 2
        ),
    ),
    "one row and one column too many: a picture of exactly one tile needs one.": counted(
        lambda h, w, t: (h // t + 1) * (w // t + 1) + 1, vectors
    ),
    "rows and columns are added; a grid has rows times columns.": counted(
        lambda h, w, t: -(-h // t) + -(-w // t) + (-(-h // t) + -(-w // t) > 1), vectors
    ),
    "a tile has tile / patch vectors in each direction: square it.": counted(
        with_overview, lambda n, tile, patch, r: n * (r or tile // patch)
    ),
    "the class token is counted: LLaVA leaves it out.": counted(
        with_overview, lambda n, tile, patch, r: n * (r or (tile // patch) ** 2 + 1)
    ),
    "latents is not used: a resampler gives that many vectors for each tile.": counted(
        with_overview, lambda n, tile, patch, r: n * (tile // patch) ** 2
    ),
    "latents is taken for the whole picture: the resampler works on each tile.": counted(
        with_overview, lambda n, tile, patch, r: r or n * (tile // patch) ** 2
    ),
    "latents are added to the patches; they replace them.": counted(
        with_overview, lambda n, tile, patch, r: n * ((tile // patch) ** 2 + (r or 0))
    ),
    "that is the number of tiles: each has several vectors.": counted(
        with_overview, lambda n, tile, patch, r: n
    ),
    "the patches of the picture are counted without tiles: a tile at the edge is filled up.": (
        lambda tile, patch, latents: [
            latents_of or (h // patch) * (w // patch)
            for latents_of in (None, latents)
            for h, w in CASES
        ]
    ),
}


def token_inputs(generator: torch.Generator) -> tuple[list, dict]:
    return [336, (14, 16, 21, 28)[number(generator, 0, 3)], (32, 64, 128)[number(generator, 0, 2)]], {}  # fmt: skip


# Exercise 11


def code_inputs(generator: torch.Generator) -> tuple[list, dict]:
    P, K, C = number(generator, 5, 6), number(generator, 8, 9), number(generator, 3, 4)
    return [
        normal(generator, P, C, scale=2),
        normal(generator, K, C, scale=2),
        number(generator, 100, 300),
    ], {}


def squared(features: Tensor, codebook: Tensor) -> Tensor:
    return (features[:, None] - codebook[None]).square().sum(-1)


CODE_MISTAKES = {
    "`first_id` is not added: these ids belong to words.": lambda x, c, n: squared(x, c).argmin(1),
    "that is the farthest code: the nearest has the smallest distance.": lambda x, c, n: (
        squared(x, c).argmax(1) + n
    ),
    "the axes are exchanged: one code for each patch, not one patch for each code.": lambda x, c, n: (
        squared(x, c).argmin(0) + n
    ),
    "the code with the largest inner product is chosen; it need not be the nearest.": lambda x, c, n: (
        (x @ c.T).argmax(1) + n
    ),
    "the code with the largest cosine is chosen; the nearest is wanted.": lambda x, c, n: (
        (normalize(x, dim=-1) @ normalize(c, dim=-1).T).argmax(1) + n
    ),
    "the smallest distances are returned; wanted is which code has them (argmin).": lambda x, c, n: (
        squared(x, c).amin(1) + n
    ),
    "`first_id` is subtracted.": lambda x, c, n: squared(x, c).argmin(1) - n,
    "these are the codes' vectors; wanted are their numbers.": lambda x, c, n: c[
        squared(x, c).argmin(1)
    ],
    "differences are summed with their signs: square them first.": lambda x, c, n: (
        (x[:, None] - c[None]).sum(-1).argmin(1) + n
    ),
    "one code for the whole picture: each patch has its own.": lambda x, c, n: (
        squared(x, c).sum(0).argmin() + n
    ),
}

EXERCISES = {
    "sigmoid_loss": Exercise(
        "Each pair is a question of its own: do they belong together, yes or no?",
        (
            rule("sigmoid_loss", loss_inputs, sigmoid, SIGMOID_MISTAKES),
            gradient_rule(
                "sigmoid_loss",
                loss_inputs,
                sigmoid,
                2,
                "the value is right, but nothing gets a gradient: a detach or .item() cuts it.",
            ),
        ),
        reference=reference.sigmoid_loss,
    ),
    "visual_tokens": Exercise(
        "Tiles, an overview, and so many vectors for each.",
        (
            rule(
                "visual_tokens",
                token_inputs,
                counted(with_overview, vectors),
                TOKEN_MISTAKES,
                driver=driver_source(run_tokens),
            ),
        ),
        reference=reference.visual_tokens,
    ),
    "picture_tokens": Exercise(
        "A picture is now a row of numbers, like a sentence, and one softmax can write both.",
        (rule("picture_tokens", code_inputs, reference.picture_tokens, CODE_MISTAKES),),
        reference=reference.picture_tokens,
    ),
}
