"""Lesson 00's checks on ranks, recall and controls: inputs, and the mistakes that have a name."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching.course_map_answers import compare_with_controls, ranks_of_matches, recall_at
from teaching.exercises import normal, number


def similarity_inputs(generator: torch.Generator) -> tuple[list, dict]:
    N = number(generator, 6, 8)
    return [normal(generator, N, N) + 0.7 * torch.eye(N)], {}


RANK_MISTAKES = {
    "ranks start at 1: the best text has rank 1.": lambda s: ranks_of_matches(s) - 1,
    "each rank is one too high: the own text itself is counted, too.": (
        lambda s: ranks_of_matches(s) + 1
    ),
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
    "the sum runs over the images; count within each row.": lambda s: (
        1 + (s > s.diagonal()[:, None]).sum(0)
    ),
    "the row's largest entry is compared; compare with the own text's entry, on the diagonal.": lambda s: (
        1 + (s > s.amax(1, keepdim=True)).sum(1)
    ),
    "the sum has no axis, so all images are counted together.": lambda s: (
        1 + (s > s.diagonal()[:, None]).sum()
    ),
    "that is the rank of text 0 for every image; the own text of image n is text n.": (
        lambda s: 1 + (s > s[:, :1]).sum(1),
        lambda s: (s > s[:, :1]).sum(1),
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


def run_and_mark_tensors(target, ranks, ks):
    """Driver: target(ranks, ks), or the text "tensors" if an entry of the dictionary is a tensor."""
    import torch

    value = target(ranks, ks)
    entries = value.values() if isinstance(value, dict) else ()
    return "tensors" if any(isinstance(entry, torch.Tensor) for entry in entries) else value


RECALL_MISTAKES = {
    "each value is a tensor; return a number.": lambda ranks, ks: "tensors",
    "rank k itself counts, too: it is among the first k.": _share(lambda ranks, k: ranks < k),
    "these are the images with exactly rank k.": _share(lambda ranks, k: ranks == k),
    "these are the failures: the shares of ranks above k.": _share(lambda ranks, k: ranks > k),
    "ranks start at 1 already: don't subtract 1.": _share(lambda ranks, k: ranks - 1 <= k),
    "the sign is the wrong way round: ranks up to k are a success.": _share(
        lambda ranks, k: ranks >= k
    ),
    "only the first k images are asked; k counts texts. Compare every rank with k.": _share(
        lambda ranks, k: ranks[:k] <= k
    ),
    "this says whether any image succeeds; its share is wanted.": lambda ranks, ks: {
        k: float((ranks <= k).any()) for k in ks
    },
    "// drops the fraction: divide with /.": lambda ranks, ks: {
        k: int((ranks <= k).sum()) // len(ranks) for k in ks
    },
    "that is the mean of the good ranks; the share of good ranks is wanted.": lambda ranks, ks: {
        k: ranks[ranks <= k].float().mean().item() for k in ks
    },
    "don't round: the values lose digits.": (
        lambda ranks, ks: {k: round(value, 1) for k, value in recall_at(ranks, ks).items()},
        lambda ranks, ks: {k: round(value, 2) for k, value in recall_at(ranks, ks).items()},
    ),
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
    "divide by the number of images, not by that number less 1.": lambda ranks, ks: {
        k: (ranks <= k).sum().item() / (len(ranks) - 1) for k in ks
    },
    "divide by the number of images, not by the largest rank.": lambda ranks, ks: {
        k: (ranks <= k).sum().item() / ranks.max().item() for k in ks
    },
    "each k adds only the images with exactly its own rank; those with ranks in between are lost.": (
        lambda ranks, ks: {
            k: sum((ranks == smaller).float().mean().item() for smaller in ks if smaller <= k)
            for k in ks
        }
    ),
    "these are means of 1 / rank, another score; here a rank up to k counts 1, a larger one 0.": (
        lambda ranks, ks: {k: (1 / ranks).mean().item() for k in ks},
        lambda ranks, ks: {k: ((ranks <= k) / ranks).mean().item() for k in ks},
    ),
    "the keys are those of ks; take them from the argument, not from a list of your own.": (
        lambda ranks, ks: recall_at(ranks, [1, 5, 10]),
        lambda ranks, ks: recall_at(ranks, range(1, 11)),
        lambda ranks, ks: recall_at(ranks, range(1, max(ks) + 1)),
        lambda ranks, ks: recall_at(ranks, range(len(ks))),
    ),
    "return a dictionary with an entry for each k.": lambda ranks, ks: [
        value for value in recall_at(ranks, ks).values()
    ],
}


class BrightShare:
    """A score that depends on the order of images and of their pixels: the sum of weight n times (1 + a mean of image n).

    The mean counts the last pixel twice as much as the first.
    """

    def __init__(self, weights: Tensor):
        self.weights = weights

    def __call__(self, pixel_values: Tensor) -> float:
        pixels = pixel_values.flatten(1)
        bright = 1 + (pixels * torch.linspace(1, 2, pixels.shape[1])).mean(1)
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


def differences(accuracy, pixels, sign: int) -> dict[str, float]:
    """The controls as how much the model's score is above them (sign 1), or below (-1)."""
    scores = compare_with_controls(accuracy, pixels)
    return {
        name: score if name == "model" else sign * (scores["model"] - score)
        for name, score in scores.items()
    }


def fixed_blank(number: float, accuracy, pixels) -> dict[str, float]:
    return compare_with_controls(accuracy, pixels) | {"blank": number}


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
    "the images are moved by more than one place; image 0 must come to place 1.": (
        partial(controls_variant, shuffled=lambda x: x.roll(2, 0)),
        partial(controls_variant, shuffled=lambda x: x.roll(-2, 0)),
    ),
    "image 0 stays at place 0; the last image must come there.": partial(
        controls_variant, shuffled=lambda x: torch.cat([x[:1], x[:-1]])
    ),
    "place 0 is blank; the last image must come there.": partial(
        controls_variant, shuffled=lambda x: torch.cat([0 * x[:1], x[:-1]])
    ),
    "an image is lost in the shuffle; all of them must be there.": (
        partial(controls_variant, shuffled=lambda x: x[1:]),
        partial(controls_variant, shuffled=lambda x: x[:-1]),
    ),
    "every place gets the same image; each must get another one.": (
        partial(controls_variant, shuffled=lambda x: x[:1].expand_as(x)),
        partial(controls_variant, shuffled=lambda x: x[-1:].expand_as(x)),
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
    "the controls are scores of their own; yours are differences to the model's score.": (
        lambda accuracy, pixels: differences(accuracy, pixels, 1),
        lambda accuracy, pixels: differences(accuracy, pixels, -1),
    ),
    "'blank' is a fixed number; measure it: call accuracy with blank images.": tuple(
        partial(fixed_blank, number) for number in (0.0, 0.5, 1.0, 1 / 113)
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
        return "'blank' is not what accuracy returns for as many images of zeros: they are not all zeros, or you change its result."
    return None
