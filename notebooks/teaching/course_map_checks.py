"""Lesson 00's checks on vectors and probabilities: inputs, and the mistakes that have a name."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from teaching.course_map_answers import class_probabilities, cosine_similarity
from teaching.exercises import missing_gradient, normal, number, rule
from vlmgrader.checks import Check, driver_source


def vectors_inputs(generator: torch.Generator) -> tuple[list, dict]:
    N, M, E = number(generator, 2, 4), number(generator, 5, 6), number(generator, 7, 9)
    return [normal(generator, N, E, scale=3.0), normal(generator, M, E, scale=3.0)], {}


COSINE_MISTAKES = {
    "the vectors are not divided by their lengths: that is the dot product.": lambda a, b: a @ b.T,
    "only one side is divided by its lengths.": (
        lambda a, b: normalize(a, dim=-1) @ b.T,
        lambda a, b: a @ normalize(b, dim=-1).T,
    ),
    "the vectors are divided over the batch; each vector has its own length.": (
        lambda a, b: normalize(a, dim=0) @ normalize(b, dim=0).T
    ),
    "they are divided by the squared length, not by the length.": lambda a, b: (
        (a / a.square().sum(-1, keepdim=True)) @ (b / b.square().sum(-1, keepdim=True)).T
    ),
    "that is the transpose: rows are the vectors of a.": lambda a, b: cosine_similarity(b, a),
    "the lengths are sums of absolute values; the cosine needs the Euclidean length.": lambda a, b: (
        normalize(a, p=1, dim=-1) @ normalize(b, p=1, dim=-1).T
    ),
    "one norm of the whole table is used; each vector has a length of its own.": (
        lambda a, b: (a / a.norm()) @ (b / b.norm()).T
    ),
    "these are distances, 1 minus the cosine; the cosine itself is wanted.": lambda a, b: (
        1 - cosine_similarity(a, b)
    ),
    "these are distances between the ends of the vectors; the cosine compares directions.": (
        lambda a, b: torch.cdist(a, b),
        lambda a, b: torch.cdist(normalize(a, dim=-1), normalize(b, dim=-1)),
    ),
    "negative cosines are lost: opposite directions have the cosine -1.": (
        lambda a, b: cosine_similarity(a, b).abs(),
        lambda a, b: cosine_similarity(a, b).clamp(min=0),
    ),
    "that is a softmax of the cosines; it comes in Exercise 2.": lambda a, b: cosine_similarity(
        a, b
    ).softmax(-1),
    "the lengths are added; divide by their product.": lambda a, b: (
        a @ b.T / (a.norm(dim=-1)[:, None] + b.norm(dim=-1))
    ),
    "these are angles; the cosine itself is wanted.": lambda a, b: cosine_similarity(a, b).acos(),
}


def cosines_inputs(generator: torch.Generator) -> tuple[list, dict]:
    shape = number(generator, 2, 4), number(generator, 5, 7)
    cosines = 2 * torch.rand(shape, generator=generator) - 1
    return [cosines, (0.3, 0.4, 0.5)[number(generator, 0, 2)]], {}


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
    "these are the logits; the softmax is still to come.": lambda c, t: c / t,
    "each class gets a sigmoid of its own; a softmax makes the classes of a row sum to 1.": lambda c, t: (
        (c / t).sigmoid()
    ),
    "the sign is wrong: the highest cosine gets the smallest probability.": lambda c, t: (
        -c / t
    ).softmax(-1),
    "the temperature is a number to divide by; don't take its exp or log.": (
        lambda c, t: (c * math.exp(t)).softmax(-1),
        lambda c, t: (c / math.exp(t)).softmax(-1),
    ),
    "1 for the best class and 0 for the others are no probabilities: use a softmax.": lambda c, t: (
        c == c.amax(-1, keepdim=True)
    ).float(),
    "the cosines are divided by the squared temperature; divide by the temperature once.": lambda c, t: (
        (c / t**2).softmax(-1)
    ),
    "the maxima run over the images; each image has its own maximum.": lambda c, t: (
        (c - c.amax(0)) / t
    ).softmax(-1),
    "these are log probabilities.": lambda c, t: (c / t).log_softmax(-1),
    "the softmax runs over the whole table; each row, one image, must sum to 1.": lambda c, t: (
        (c / t).flatten().softmax(0).view(c.shape)
    ),
}


def run_with_gradient_of_squares(target, cosines, temperature):
    """Driver: gradient of the summed squares of target(cosines, temperature), as all rows sum to 1; zeros if there is none."""
    import torch

    cosines = cosines.detach().clone().requires_grad_()
    value = target(cosines, temperature)
    if not isinstance(value, torch.Tensor) or not value.requires_grad:
        return [torch.zeros_like(cosines)]
    return list(torch.autograd.grad(value.square().sum(), [cosines], materialize_grads=True))


CHANGED = "your function changes {} in place; make new tensors, as in a = a / b instead of a /= b."
NO_GRADIENT = "the values are right, but float(), tolist() or torch.tensor() cuts the gradient: stay with tensors."


def probabilities_gradient() -> Check:
    """The cosines get the gradient of the softmax."""

    def gradient(cosines: Tensor, temperature: float) -> list[Tensor]:
        return run_with_gradient_of_squares(class_probabilities, cosines, temperature)

    return rule(
        "class_probabilities",
        cosines_inputs,
        gradient,
        {NO_GRADIENT: lambda cosines, _: [torch.zeros_like(cosines)]},
        explain=missing_gradient,
        driver=driver_source(run_with_gradient_of_squares),
        tolerance=1e-3,
    )


def cold_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """CLIP's smallest temperature: two cosines whose exp is no 32-bit float in the first row, none above -0.9 in the second."""
    N, C = number(generator, 3, 4), number(generator, 5, 7)
    cosines = -0.2 - 0.8 * torch.rand(N, C, generator=generator)
    large = torch.randperm(C, generator=generator)[:2]
    cosines[0, large] = torch.tensor([0.98, 0.93])
    cosines[1] = -0.9 - 0.1 * torch.rand(C, generator=generator)
    return [cosines, 0.01], {}


def _rows(exponentials: Tensor) -> Tensor:
    return exponentials / exponentials.sum(-1, keepdim=True)


def _unshifted(c: Tensor, t: float) -> Tensor:
    return _rows((c / t).exp())


def _tablewise(c: Tensor, t: float) -> Tensor:
    return _unshifted(c - c.max(), t)


def _clamped(c: Tensor, t: float) -> Tensor:
    return (c / t).clamp(-80, 80).softmax(-1)


COLD_MISTAKES = {
    "NaN is replaced, but exp has overflowed before: two large cosines of a row then get wrong numbers. Subtract each row's largest logit first.": (
        lambda c, t: _unshifted(c, t).nan_to_num(1.0),
        lambda c, t: _unshifted(c, t).nan_to_num(0.0),
    ),
    "large values are clamped, so that two different cosines get one probability. Subtract each row's largest logit instead.": (
        _clamped,
        lambda c, t: (c / t).clamp(max=80).softmax(-1),
        lambda c, t: _rows((c / t).exp().clamp(max=1e38)),
    ),
    "the table's largest logit is subtracted: a row of small cosines becomes 0 / 0. Each row needs its own maximum.": (
        lambda c, t: _tablewise(c, t).nan_to_num(0.0),
        lambda c, t: _tablewise(c, t).nan_to_num(1.0),
    ),
}


def explain_overflow(
    got: object, wanted: Tensor, cosines: Tensor, temperature: float
) -> str | None:
    """exp without subtracting each row's maximum, or with the table's."""
    if isinstance(got, Tensor) and got.shape == wanted.shape and not got.isfinite().all():
        if got[0].isfinite().all():
            return next(text for text in COLD_MISTAKES if text.startswith("the table's"))
        return (
            f"exp overflows at temperature {temperature}: exp(98) is above the largest 32-bit float. "
            "Subtract each row's largest logit first, or use softmax."
        )
    return None


def zero_shot_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Class vectors of very different lengths, so that dot products and cosines choose differently; fewer images than
    classes, so that numbers of images are numbers of classes, too."""
    N, C, E = 3, number(generator, 4, 5), 3
    classes = normal(generator, C, E) * torch.tensor([0.1, 9.0, 1.0, 0.3, 4.0])[:C, None]
    names = ["cat", "dog", "owl", "crab", "tree"][:C]
    images = normal(generator, N, E)
    nearest = cosine_similarity(images, classes).amax(-1)
    images = images[nearest.argsort(descending=True)]  # the table's maximum is in the first row
    return [images, classes, names], {}


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
    "the maximum runs over the images: that gives an image for each class. It must run over the classes.": (
        lambda i, c, names: cosine_similarity(i, c).argmax(0).tolist(),
        _named(lambda i, c: cosine_similarity(i, c).argmax(0)),
        _named(lambda i, c: (i @ c.T).argmax(0)),
    ),
    "argmax without an axis gives one number for the whole table; each image needs one.": lambda i, c, names: (
        names[int(cosine_similarity(i, c).argmax())]
    ),
    "a cosine of -1 is the least similar of all: leave out the abs.": _named(
        lambda i, c: cosine_similarity(i, c).abs().argmax(-1)
    ),
    "the vectors are divided over the batch: use your function of Exercise 1.": _named(
        lambda i, c: (normalize(i, dim=0) @ normalize(c, dim=0).T).argmax(-1)
    ),
    "the class at the smallest distance is not always the one with the highest cosine.": _named(
        lambda i, c: torch.cdist(i, c).argmin(-1)
    ),
    "these are the first names of the list, whatever the images show: argmax gives the number of each image's class.": (
        lambda i, c, names: names[: len(i)]
    ),
    "keep the order of the images.": lambda i, c, names: sorted(
        names[index] for index in cosine_similarity(i, c).argmax(-1).tolist()
    ),
    "the second-best class is chosen.": _named(
        lambda i, c: cosine_similarity(i, c).argsort(-1)[:, -2]
    ),
}
