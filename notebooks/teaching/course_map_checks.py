"""Lesson 00's checks on vectors and scores: inputs, and the mistakes that have a name."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize

from teaching.course_map_answers import (
    compare_with_controls,
    cosine_similarity,
    ranks_of_matches,
    recall_at,
)
from teaching.exercises import normal, number


def vectors_inputs(generator: torch.Generator) -> tuple[list, dict]:
    N, M, E = number(generator, 2, 4), number(generator, 5, 6), number(generator, 7, 9)
    return [normal(generator, N, E, scale=3.0), normal(generator, M, E, scale=3.0)], {}


COSINE_MISTAKES = {
    "the vectors are not divided by their lengths: that is the dot product.": lambda a, b: a @ b.T,
    "only one side is divided by its lengths.": (
        lambda a, b: normalize(a, dim=-1) @ b.T,
        lambda a, b: a @ normalize(b, dim=-1).T,
    ),
    "the vectors are divided over the batch (dim=0); each vector has its own length (dim=-1).": (
        lambda a, b: normalize(a, dim=0) @ normalize(b, dim=0).T
    ),
    "they are divided by the squared length: take the square root.": lambda a, b: (
        (a / a.square().sum(-1, keepdim=True)) @ (b / b.square().sum(-1, keepdim=True)).T
    ),
    "that is the transpose: rows are the vectors of a.": lambda a, b: cosine_similarity(b, a),
    "the lengths are sums of absolute values; the cosine needs the Euclidean length.": lambda a, b: (
        normalize(a, p=1, dim=-1) @ normalize(b, p=1, dim=-1).T
    ),
    "one norm of the whole table is used; each vector has a length of its own: norm(dim=-1, keepdim=True).": (
        lambda a, b: (a / a.norm()) @ (b / b.norm()).T
    ),
    "these are angles; the cosine itself is wanted.": lambda a, b: cosine_similarity(a, b).acos(),
}


def cosines_inputs(generator: torch.Generator) -> tuple[list, dict]:
    shape = number(generator, 2, 4), number(generator, 5, 7)
    cosines = 2 * torch.rand(shape, generator=generator) - 1
    return [cosines, (0.05, 0.07, 0.3)[number(generator, 0, 2)]], {}


PROBABILITY_MISTAKES = {
    "the cosines are multiplied by the temperature; they must be divided by it.": lambda c, t: (
        c * t
    ).softmax(-1),
    "the temperature is not used.": lambda c, t: c.softmax(-1),
    "the softmax runs over the images: the probabilities of one image must sum to 1.": lambda c, t: (
        (c / t).softmax(0)
    ),
    "the temperature is applied after the softmax.": lambda c, t: c.softmax(-1) / t,
    "the cosines are divided by their sum; a softmax takes exponentials first.": lambda c, t: (
        (c / t) / (c / t).sum(-1, keepdim=True)
    ),
    "these are exponentials; divide each row by its sum.": lambda c, t: (c / t).exp(),
    "these are log probabilities.": lambda c, t: (c / t).log_softmax(-1),
    "the softmax runs over the whole table; each row, one image, must sum to 1.": lambda c, t: (
        (c / t).flatten().softmax(0).view(c.shape)
    ),
}


def cold_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """CLIP's smallest temperature, and a cosine of nearly 1 in each row: exp(100) is no 32-bit float."""
    (cosines, _), options = cosines_inputs(generator)
    cosines[:, number(generator, 0, 4)] = 0.98
    return [cosines, 0.01], options


def explain_overflow(
    got: object, wanted: Tensor, cosines: Tensor, temperature: float
) -> str | None:
    """exp without subtracting each row's maximum."""
    if isinstance(got, Tensor) and got.shape == wanted.shape and not got.isfinite().all():
        return (
            f"exp overflows at temperature {temperature}: exp(98) is above the largest 32-bit float. "
            "Subtract each row's largest logit first, or use softmax."
        )
    return None


def zero_shot_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Class vectors of very different lengths, so that dot products and cosines choose differently."""
    N, C, E = 8, number(generator, 4, 5), 3
    classes = normal(generator, C, E) * torch.tensor([0.1, 9.0, 1.0, 0.3, 4.0])[:C, None]
    names = ["cat", "dog", "owl", "crab", "tree"][:C]
    return [normal(generator, N, E), classes, names], {}


def _named(choose: Callable[[Tensor, Tensor], Tensor]) -> Callable:
    return lambda images, classes, names: [
        names[index] for index in choose(images, classes).tolist()
    ]


ZERO_SHOT_MISTAKES = {
    "the dot products decide: long class vectors win. Compare cosines.": _named(
        lambda i, c: (i @ c.T).argmax(-1)
    ),
    "the least similar class is chosen.": _named(lambda i, c: cosine_similarity(i, c).argmin(-1)),
    "the names of class numbers are wanted, not the numbers.": lambda i, c, names: (
        cosine_similarity(i, c).argmax(-1)
    ),
    "return names, a list of texts, not a list of numbers.": lambda i, c, names: (
        cosine_similarity(i, c).argmax(-1).tolist()
    ),
    "the maximum runs over the images: that gives an image for each class.": lambda i, c, names: (
        cosine_similarity(i, c).argmax(0).tolist()
    ),
    "the class at the smallest distance is not always the one with the highest cosine.": _named(
        lambda i, c: torch.cdist(i, c).argmin(-1)
    ),
    "the second-best class is chosen.": _named(
        lambda i, c: cosine_similarity(i, c).argsort(-1)[:, -2]
    ),
}


def similarity_inputs(generator: torch.Generator) -> tuple[list, dict]:
    N = number(generator, 6, 8)
    return [normal(generator, N, N) + 0.7 * torch.eye(N)], {}


RANK_MISTAKES = {
    "ranks start at 1: the best text has rank 1.": lambda s: ranks_of_matches(s) - 1,
    "you rank the images for each text: compare within a row.": lambda s: ranks_of_matches(s.T),
    "the ranking is upside down: rank 1 is the most similar text.": lambda s: (
        len(s) + 1 - ranks_of_matches(s)
    ),
    "that is the number of the best text, not the rank of the own one.": (
        lambda s: s.argmax(1),
        lambda s: s.argmax(1) + 1,
    ),
    "that says whether the own text is first; its rank is wanted.": (
        lambda s: ranks_of_matches(s) == 1,
        lambda s: (ranks_of_matches(s) == 1).long(),
    ),
    "argsort gives the texts in order of similarity; you still have to find the own text in it.": (
        lambda s: s.argsort(1, descending=True).diagonal(),
        lambda s: s.argsort(1, descending=True).diagonal() + 1,
    ),
    "ranks are whole numbers.": lambda s: ranks_of_matches(s).float(),
    "the diagonal lies along the columns, so each entry is compared with the right text of another image; make it a column.": (
        lambda s: 1 + (s > s.diagonal()).sum(1)
    ),
    "you count the texts that are less similar; the rank counts those that are more similar.": (
        lambda s: (s < s.diagonal()[:, None]).sum(1)
    ),
}


def ranks_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Ranks in which each k occurs, so that < and <= differ."""
    ranks = torch.tensor([1, 1, 2, 3, 3, 5, 6, 10, 11, 17])
    return [ranks[torch.randperm(10, generator=generator)[:9]], [1, 3, 5, 10]], {}


def _share(success: Callable[[Tensor, int], Tensor]) -> Callable:
    return lambda ranks, ks: {k: success(ranks, k).float().mean().item() for k in ks}


RECALL_MISTAKES = {
    "rank k itself is among the first k: use <=, not <.": _share(lambda ranks, k: ranks < k),
    "these are the images with exactly rank k.": _share(lambda ranks, k: ranks == k),
    "these are the failures: the shares of ranks above k.": _share(lambda ranks, k: ranks > k),
    "these are percentages; a number from 0 to 1 is wanted.": lambda ranks, ks: {
        k: 100 * value for k, value in recall_at(ranks, ks).items()
    },
    "these are counts; divide them by the number of images.": (
        lambda ranks, ks: {k: int((ranks <= k).sum()) for k in ks},
        lambda ranks, ks: {k: float((ranks <= k).sum()) for k in ks},
    ),
    "divide by the number of images, not by k.": lambda ranks, ks: {
        k: (ranks <= k).sum().item() / k for k in ks
    },
    "return a dictionary with an entry for each k.": lambda ranks, ks: [
        value for value in recall_at(ranks, ks).values()
    ],
}


class BrightShare:
    """A score that depends on the order and the number of images: the sum of weight n times (1 + the mean of image n)."""

    def __init__(self, weights: Tensor):
        self.weights = weights

    def __call__(self, pixel_values: Tensor) -> float:
        bright = 1 + pixel_values.flatten(1).mean(1)
        return (self.weights[: len(bright)] * bright[: len(self.weights)]).sum().item()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BrightShare) and torch.equal(self.weights, other.weights)


def controls_inputs(generator: torch.Generator) -> tuple[list, dict]:
    N = number(generator, 4, 6)
    score = BrightShare(torch.rand(N, generator=generator) + torch.arange(N))
    return [score, normal(generator, N, 3, 4, 4)], {}


def controls_variant(accuracy, pixels, **changes) -> dict[str, float]:
    return compare_with_controls(accuracy, pixels) | {
        name: accuracy(change(pixels)) for name, change in changes.items()
    }


CONTROLS_MISTAKES = {
    "the shuffled control must give every image to another place; here nothing is moved.": partial(
        controls_variant, shuffled=lambda x: x
    ),
    "the images are moved in the wrong direction: image 0 must come to place 1.": partial(
        controls_variant, shuffled=lambda x: x.roll(-1, 0)
    ),
    "the pixels inside the images are moved; whole images must change places.": (
        partial(controls_variant, shuffled=lambda x: x.roll(1)),
        partial(controls_variant, shuffled=lambda x: x.roll(1, -1)),
        partial(controls_variant, shuffled=lambda x: x.roll(1, 1)),
    ),
    "blank images are zeros; yours are ones.": partial(controls_variant, blank=torch.ones_like),
    "the blank control uses the images as they are.": partial(controls_variant, blank=lambda x: x),
    "the order of the images is reversed; image 0 must come to place 1, image 1 to place 2 and so on.": (
        partial(controls_variant, shuffled=lambda x: x.flip(0))
    ),
    "the blank control gets a single image; it needs as many as there are images.": (
        partial(controls_variant, blank=lambda x: torch.zeros_like(x[:1])),
        partial(controls_variant, blank=lambda x: torch.zeros_like(x[0])),
    ),
    "the blank and the shuffled score are exchanged.": lambda accuracy, pixels: (
        compare_with_controls(accuracy, pixels)
        | {"blank": accuracy(pixels.roll(1, 0)), "shuffled": accuracy(torch.zeros_like(pixels))}
    ),
}
CHANGED = "your function changes pixel_values itself; make a new tensor for the controls."


def explain_controls(
    got: object, wanted: dict, accuracy: BrightShare, pixels: Tensor
) -> str | None:
    """A random order, or images of another kind."""
    if not isinstance(got, dict) or set(got) != set(wanted):
        return None
    if not all(isinstance(value, (int, float)) for value in got.values()):
        return "each value is the score that accuracy(...) returns, a number."
    if abs(got["model"] - wanted["model"]) > 1e-4:
        return "'model' is the score of the images as they are."
    if abs(got["shuffled"] - wanted["shuffled"]) > 1e-4:
        orders = itertools.permutations(range(len(pixels)))
        if any(abs(got["shuffled"] - accuracy(pixels[list(order)])) < 1e-4 for order in orders):
            return "the images change places at random; image 0 must come to place 1, image 1 to place 2 and so on."
    if abs(got["blank"] - wanted["blank"]) > 1e-4:
        return "the blank images are not all zeros."
    return None
