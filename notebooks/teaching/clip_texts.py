"""Lesson 02: formulas of the exercises on the text tower and zero-shot classes, and what each likely mistake would give."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching.clip_objective import unchanged, unit
from teaching.exercises import normal, number

# 5. and 6. The text tower.


def text_features(
    states: Tensor,
    ids: Tensor,
    end: int,
    position: Callable = lambda row, end: row.index(end),
) -> Tensor:
    """Each text's state at its first end token: (B, T, D), (B, T) -> (B, D). Raises ValueError without one."""
    return torch.stack([state[position(row, end)] for state, row in zip(states, ids.tolist())])


def texts_inputs(generator: torch.Generator) -> tuple[list, dict]:
    end, B, T = 20, 4, number(generator, 7, 9)
    ids = torch.randint(3, 20, (B, T), generator=generator)
    for row, place in enumerate(torch.randint(2, 5, (B,), generator=generator).tolist()):
        ids[row, place] = end
        ids[row, place + 1 :] = 0 if row % 2 else end  # some pad with zeros, some repeat the end
    ids[0, 0], ids[1, 1] = 30, 25
    return [normal(generator, B, T, 5), ids, end], {}


def cut_inputs(generator: torch.Generator) -> tuple[list, dict]:
    (states, ids, end), _ = texts_inputs(generator)
    cut = ids.clone()
    cut[number(generator, 0, 3)] = 7
    return [states, ids, cut, end], {}


def run_without_end(target, states, ids, cut, end):
    """Driver: the features of good texts, then the type of the error for texts of which one has no end token."""
    features = target(states, ids, end)
    try:
        target(states, cut, end)
    except NotImplementedError:
        raise
    except Exception as error:
        return [features, type(error).__name__]
    return [features, "no error"]


END = {
    "that is the last position: after the end token comes padding.": lambda s, i, e: s[:, -1],
    "that is the position of the largest id: here words with larger ids than the end token exist.": (
        lambda s, i, e: s[torch.arange(len(s)), i.argmax(1)]
    ),
    "that is the last end token: padding may repeat it, the first one counts.": partial(
        text_features, position=lambda row, end: len(row) - 1 - row[::-1].index(end)
    ),
    "that is the mean over all positions: padding and half-read texts are in it.": (
        lambda s, i, e: s.mean(1)
    ),
    "that is the token before the end token.": partial(
        text_features, position=lambda row, end: row.index(end) - 1
    ),
    "that is the token after the end token: it has read padding.": partial(
        text_features, position=lambda row, end: row.index(end) + 1
    ),
    "that is the mean of all tokens up to the end token; the state at the end token alone is wanted.": (
        lambda s, i, e: torch.stack(
            [state[: row.index(e) + 1].mean(0) for state, row in zip(s, i.tolist())]
        )
    ),
    "the states at all end tokens of a text are added up; the first one counts.": lambda s, i, e: (
        s * (i == e)[..., None]
    ).sum(1),
    "the states at all end tokens of a text are averaged; the first one counts.": lambda s, i, e: (
        (s * (i == e)[..., None]).sum(1) / (i == e).sum(1, keepdim=True)
    ),
    "that is the first position: with a causal mask it has read one token.": lambda s, i, e: s[
        :, 0
    ],
    "there is one axis too many: (B, D) is wanted.": lambda s, i, e: text_features(s, i, e)[
        :, None
    ],
    "these are the states at the end tokens of all texts in one list: one for each text is wanted.": (
        lambda s, i, e: s[i == e]
    ),
}


def text_parameters(
    vocabulary: int,
    context: int,
    width: int,
    depth: int,
    biases: int = 1,
    positions: int = 1,
    norms: int = 2,
    matrices: int = 4,
    hidden: int = 4,
    last_norm: float = 1,
    inner: int | None = None,
) -> int:
    """Parameters of the text tower before its projection: embeddings, positions, blocks, last LayerNorm."""
    attention = matrices * (width**2 + biases * width)
    inner = hidden if inner is None else inner
    feedforward = 2 * hidden * width**2 + biases * (inner + 1) * width
    block = attention + feedforward + norms * 2 * width
    return (vocabulary + positions * context) * width + depth * block + int(last_norm * 2 * width)


def sizes_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Vocabulary, context, width and depth."""
    ranges = (1000, 1999), (30, 79), (33, 63), (2, 4)
    return [number(generator, *limits) for limits in ranges], {}


PARAMETERS = {
    message: partial(text_parameters, **change)
    for message, change in {
        "the biases are missing.": {"biases": 0},
        "the positions are missing.": {"positions": 0},
        "each block has two LayerNorms.": {"norms": 1},
        "a LayerNorm has a gain and a bias, 2 * width numbers.": {"norms": 1, "last_norm": 0.5},
        "each block has 4 * width too few: its two LayerNorms, the biases of attention, or the hidden layer's bias.": {
            "norms": 0
        },
        "the LayerNorms are missing.": {"norms": 0, "last_norm": 0},
        "the LayerNorm after the last block is missing.": {"last_norm": 0},
        "attention has a fourth matrix, for the output.": {"matrices": 3},
        "the feed-forward's first bias is as wide as its hidden layer, 4 * width.": {"inner": 1},
        "the feed-forward's hidden layer is 4 * width wide.": {"hidden": 1},
    }.items()
} | {
    "attention has a fourth matrix of D x D, for the output.": (
        lambda v, c, w, d: text_parameters(v, c, w, d) - d * w * w
    ),
    "the biases and the LayerNorms are missing.": (
        lambda v, c, w, d: text_parameters(v, c, w, d, biases=0, norms=0),
        lambda v, c, w, d: text_parameters(v, c, w, d, biases=0, norms=0, last_norm=0),
    ),
    "the feed-forward network is missing.": (
        lambda v, c, w, d: text_parameters(v, c, w, d) - d * (8 * w * w + 5 * w)
    ),
    "the feed-forward network has two matrices: D to 4D, and 4D to D.": (
        lambda v, c, w, d: text_parameters(v, c, w, d) - d * (4 * w * w + w)
    ),
    "each block lacks 4 * D * D numbers and their biases: attention, or the feed-forward network's first layer.": (
        lambda v, c, w, d: text_parameters(v, c, w, d) - d * (4 * w * w + 4 * w)
    ),
    "the feed-forward network's biases are missing: 4 * width and width.": (
        lambda v, c, w, d: text_parameters(v, c, w, d) - 5 * w * d
    ),
    "each block has `width` too few: a matrix D x D has a bias of D numbers, and so has 4D x D.": (
        lambda v, c, w, d: text_parameters(v, c, w, d) - w * d
    ),
    "an output layer is counted, as a language model has it: this encoder has none.": (
        lambda v, c, w, d: text_parameters(v, c, w, d) + v * w
    ),
    "a projection of width x width is counted: it is left out here.": (
        lambda v, c, w, d: text_parameters(v, c, w, d) + w * w
    ),
    "the blocks are counted once: there are `depth` of them.": lambda v, c, w, d: text_parameters(
        v, c, w, 1
    ),
    "only the blocks are counted: the embeddings and positions are parameters too.": (
        lambda v, c, w, d: text_parameters(0, 0, w, d)
    ),
    "the token embeddings are missing.": lambda v, c, w, d: text_parameters(0, c, w, d),
}


# 10. Zero-shot classification.


def zero_shot(
    images: Tensor,
    encode_text: Callable,
    names: list[str],
    template: str,
    logit_scale: Tensor,
    axis: int = 1,
    scale: Callable = torch.exp,
    text: Callable = lambda template, name: template.format(name),
) -> Tensor:
    """Probabilities (N, C) of classes, from image vectors (N, E) and the text vectors of the filled-in template."""
    classes = encode_text([text(template, name) for name in names])
    return (scale(logit_scale) * images @ classes.T).softmax(axis)


def run_zero_shot(target, images, names, template, logit_scale):
    """Driver: target with a text encoder that gives each text a unit vector of its own."""
    import torch

    def encode_text(texts):
        if isinstance(texts, str):
            raise TypeError("encode_text takes a list of texts.")
        seeds = [sum((n + 1) * ord(letter) for n, letter in enumerate(text)) for text in texts]
        width = images.shape[1]
        seeded = [torch.Generator().manual_seed(seed) for seed in seeds]
        rows = [torch.randn(width, generator=one, dtype=images.dtype) for one in seeded]
        return torch.nn.functional.normalize(torch.stack(rows), dim=-1)

    return target(images, encode_text, names, template, logit_scale)


def classes_inputs(generator: torch.Generator) -> tuple[list, dict]:
    names = ["a cat", "an owl", "some grapes", "a bus", "a key"][: number(generator, 3, 5)]
    template = ("a sketch of {}", "this is {}", "{} on a table")[number(generator, 0, 2)]
    double = {"dtype": torch.float64}  # a wrong answer may divide by a sum near 0
    images = unit(normal(generator, number(generator, 6, 8), 6, **double))
    return [images, names, template, 1 + torch.rand((), generator=generator, **double)], {}


def classified_by(**changes) -> Callable:
    return partial(run_zero_shot, partial(zero_shot, **changes))


def cosines_only(images, encode_text, names, template, logit_scale):
    return images @ encode_text([template.format(name) for name in names]).T


ZERO_SHOT = {
    "the softmax runs over the images: the classes of one image compete, the last axis.": (
        classified_by(axis=0)
    ),
    "the names are encoded alone: fill each into the template.": classified_by(
        text=lambda template, name: name
    ),
    "the template is encoded without a name in it.": classified_by(
        text=lambda template, name: template
    ),
    "the name is put after the template: .format(name) fills the braces.": classified_by(
        text=lambda template, name: f"{template} {name}"
    ),
    "the template is not used: fill the one that is given, whatever it is.": (
        classified_by(text=lambda template, name: f"a photo of {name}"),
        classified_by(text=lambda template, name: f"a picture of {name}"),
    ),
    "the temperature is fixed: the scale is learned, exp(logit_scale).": (
        classified_by(scale=lambda s: 1 / 0.07),
        classified_by(scale=lambda s: 100.0),
    ),
    "the logit scale is used as it is: multiply by its exponential.": classified_by(
        scale=unchanged
    ),
    "there is no temperature: multiply the cosines by exp(logit_scale).": classified_by(
        scale=torch.ones_like
    ),
    "the cosines are divided by the scale: it multiplies.": classified_by(
        scale=lambda s: 1 / s.exp()
    ),
    "the cosines are divided by the logit scale s: multiply by exp(s).": classified_by(
        scale=lambda s: 1 / s
    ),
    "these are exponentials: divide each row by its sum.": partial(
        run_zero_shot, lambda *a: (a[-1].exp() * cosines_only(*a)).exp()
    ),
    "the logits are divided by their sum; a softmax takes exponentials first.": partial(
        run_zero_shot, lambda *a: cosines_only(*a) / cosines_only(*a).sum(-1, keepdim=True)
    ),
    "a sigmoid judges each class alone; the classes of one image compete, so their sum is 1: softmax.": partial(
        run_zero_shot, lambda *a: (a[-1].exp() * cosines_only(*a)).sigmoid()
    ),
    "these are log probabilities.": partial(
        run_zero_shot, lambda *a: (a[-1].exp() * cosines_only(*a)).log_softmax(-1)
    ),
    "these are cosines: probabilities are wanted.": partial(run_zero_shot, cosines_only),
    "these are logits: a softmax makes them probabilities.": partial(
        run_zero_shot, lambda *a: a[-1].exp() * cosines_only(*a)
    ),
    "classes and images are exchanged: (images, classes) is wanted.": lambda *a: (
        classified_by()(*a).T
    ),
    "these are numbers of classes: the probabilities of all classes are wanted.": lambda *a: (
        classified_by()(*a).argmax(1)
    ),
}
