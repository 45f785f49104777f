"""Lesson 09: the checks of the exercises on CIDEr-D: weights of n-grams, and a clipped cosine."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import partial

import torch

from teaching import capfilt_reference as reference
from teaching.exercises import Exercise, number, number_rule, rule, rule_on

WORDS = ("a", "cat", "dog", "on", "red", "sea")


def words_of(text: list[str], n: int, short: int = 0) -> list[tuple[str, ...]]:
    """The n-grams of a text; short: so many are forgotten at its end."""
    return [tuple(text[start : start + n]) for start in range(len(text) - n + 1 - short)]


def reference_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Two or three references of five to seven pictures, with words that stand twice in a text."""

    def text() -> list[str]:
        length = number(generator, 4, 6)
        return ["a", *(WORDS[number(generator, 0, 5)] for _ in range(length))]

    pictures = number(generator, 5, 7)
    texts = [[text() for _ in range(number(generator, 2, 3))] for _ in range(pictures)]
    return [texts, number(generator, 1, 2)], {}


def with_length(n: int) -> Callable:
    """The same references, with this length of n-grams."""
    return lambda generator: ([reference_inputs(generator)[0][0], n], {})


def weights(
    references: list,
    n: int,
    unit: str = "pictures",
    total: Callable = len,
    weight: Callable = lambda total, count: math.log(total / count),
    size: int = 0,
    short: int = 0,
) -> dict:
    """ngram_weights with other choices. unit: what is counted that holds an n-gram."""
    counts: Counter = Counter()
    for texts in references:
        grams = [words_of(text, n + size, short) for text in texts]
        flat = [gram for one in grams for gram in one]
        counts.update(
            {
                "pictures": set(flat),
                "texts": [gram for one in grams for gram in set(one)],
                "occurrences": flat,
                "first texts": set(grams[0]),
            }[unit]
        )
    return {gram: weight(total(references), count) for gram, count in counts.items()}


def all_texts(references: list) -> int:
    return sum(map(len, references))


WEIGHT_MISTAKES = {
    "texts are counted: an n-gram counts once for each picture, in however many references it stands.": (
        partial(weights, unit="texts")
    ),
    "occurrences are counted: an n-gram counts once for each picture, however often it stands there.": (
        partial(weights, unit="occurrences")
    ),
    "both numbers are of texts: divide pictures by pictures.": (
        partial(weights, unit="texts", total=all_texts),
    ),
    "the total is the number of texts; take the number of pictures.": partial(
        weights, total=all_texts
    ),
    "only the first reference of each picture is read.": partial(weights, unit="first texts"),
    "the logarithm is missing.": (
        partial(weights, weight=lambda total, count: total / count),
        partial(weights, weight=lambda total, count: count / total),
    ),
    "1 is added to the weight: it is the logarithm alone.": partial(
        weights, weight=lambda total, count: math.log(total / count) + 1
    ),
    "these are logarithms of counts: divide the number of pictures by the count first.": partial(
        weights, weight=lambda total, count: math.log(count)
    ),
    "the fraction is upside down: rare n-grams must weigh more.": partial(
        weights, weight=lambda total, count: math.log(count / total)
    ),
    "the logarithm has another base: the formula's ln is math.log.": (
        partial(weights, weight=lambda total, count: math.log2(total / count)),
        partial(weights, weight=lambda total, count: math.log10(total / count)),
    ),
    "1 is added to the count: the formula has none.": (
        partial(weights, weight=lambda total, count: math.log(total / (1 + count))),
        partial(weights, weight=lambda total, count: math.log((1 + total) / (1 + count))),
    ),
    "these are counts; the weight is a logarithm of a fraction.": partial(
        weights, weight=lambda total, count: float(count)
    ),
    "the n-grams are too long or too short by one word.": (
        partial(weights, size=1),
        partial(weights, size=-1),
    ),
    "the last n-gram of a text is missing: a text of T words has T - n + 1.": partial(
        weights, short=1
    ),
}


def explain_weights(got: object, wanted: dict, *_) -> str | None:
    """What the keys say."""
    if not isinstance(got, dict) or not got:
        return None
    if all(isinstance(key, str) for key in got):
        return "the keys are single strings; wanted are tuples of n words, also for n = 1."
    if not set(got) <= set(wanted):
        return "there are keys that are no n-grams of the references."
    return "n-grams are missing." if len(got) < len(wanted) else None


def count_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Counts of n-grams of a caption and of a reference, with weights; two of the caption's n-grams have none."""
    grams = [(first, second) for first in WORDS for second in WORDS]
    order = [grams[i] for i in torch.randperm(len(grams), generator=generator)[:9].tolist()]
    shared, own, other = order[:3], order[3:6], order[6:]
    caption = {gram: number(generator, 1, 3) for gram in shared + own}
    caption[shared[0]], caption[shared[1]] = 3, 2
    ours = {gram: number(generator, 1, 2) for gram in shared + other}
    ours[shared[1]] = 2
    known = {gram: 0.2 + torch.rand((), generator=generator).item() for gram in order}
    for gram in own[:2]:
        del known[gram]
    return [caption, ours, known, 1.5 + torch.rand((), generator=generator).item()], {}


def cosine(
    caption: dict,
    ours: dict,
    known: dict,
    unseen: float,
    clip: Callable = min,
    skip: bool = False,
    weigh: Callable = lambda count, weight: count * weight,
    second: Callable = lambda a, b: b,
    norms: str = "both",
    root: bool = True,
) -> float:
    """clipped_cosine with other choices."""
    default = 0.0 if skip else unseen
    a = {gram: weigh(count, known.get(gram, default)) for gram, count in caption.items()}
    b = {gram: weigh(count, known.get(gram, default)) for gram, count in ours.items()}
    shared = [(clip(a[gram], b[gram]), b[gram]) for gram in a.keys() & b.keys()]
    squares = [sum(w * w for w in each.values()) for each in (a, b)]
    if norms == "clipped":
        squares[0] = sum(min(w, b.get(gram, 0)) ** 2 for gram, w in a.items())
    size = {
        "both": squares[0] * squares[1],
        "clipped": squares[0] * squares[1],
        "reference": squares[1] ** 2,
        "caption": squares[0] ** 2,
        "none": 1.0,
        "sums": (sum(a.values()) * sum(b.values())) ** 2,
        "shared": math.prod(sum(each[g] ** 2 for g in a.keys() & b.keys()) for each in (a, b)),
    }[norms]
    total = sum(one * second(one, other) for one, other in shared)
    return total / (math.sqrt(size) if root else size)


def clipped_before(caption: dict, ours: dict, known: dict, unseen: float) -> float:
    """The caption's counts are clipped to the reference's before anything else."""
    return cosine({gram: min(n, ours.get(gram, n)) for gram, n in caption.items()}, ours, known, unseen)  # fmt: skip


def clipped_to_one(caption: dict, ours: dict, known: dict, unseen: float) -> float:
    """What both have counts once: the smaller of g and one weight, in place of r."""
    sums = [cosine(each, ours, known, unseen, norms="none") for each in (dict.fromkeys(caption, 1), caption)]  # fmt: skip
    return cosine(caption, ours, known, unseen) * sums[0] / sums[1]


COSINE_MISTAKES = {
    "nothing is clipped: where the caption has more than the reference, take the reference's value.": (
        partial(cosine, clip=lambda a, b: a)
    ),
    "the larger value is taken; clipping takes the smaller one.": partial(cosine, clip=max),
    "the clipped values also enter the caption's norm: its norm is that of all of g.": (
        partial(cosine, norms="clipped"),
        clipped_before,
    ),
    "the caption's counts are clipped to 1: they are clipped to the reference's counts.": (
        clipped_to_one
    ),
    "the clipped value is squared: it is multiplied by the reference's value.": partial(
        cosine, second=lambda a, b: a
    ),
    "n-grams without a weight are left out: theirs is `unseen`.": partial(cosine, skip=True),
    "counts are not weighted.": partial(cosine, weigh=lambda count, weight: float(count)),
    "counts are not used: a value is count times weight.": partial(
        cosine, weigh=lambda count, weight: weight
    ),
    "the sum is divided by the reference's norm squared: each vector has its own norm.": partial(
        cosine, norms="reference"
    ),
    "the sum is divided by the caption's norm squared: each vector has its own norm.": partial(
        cosine, norms="caption"
    ),
    "that is the sum of products: divide by both norms.": partial(cosine, norms="none"),
    "a vector's norm is the root of its summed squares, not the sum of its values.": partial(
        cosine, norms="sums"
    ),
    "the norms are of the shared n-grams alone: they are of all.": partial(cosine, norms="shared"),
    "the norms are still squared: take the root.": partial(cosine, root=False),
}


def nothing_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """A caption without any n-gram, or whose n-grams weigh nothing."""
    _, ours, known, unseen = count_inputs(generator)[0]
    gram = next(iter(ours))
    empty = number(generator, 0, 1)
    return [{} if empty else {gram: 2}, ours, known | {gram: 0.0}, unseen], {}


EXERCISES = {
    "ngram_weights": Exercise(
        "What stands in every picture's references weighs nothing.",
        (
            rule(
                "ngram_weights",
                reference_inputs,
                reference.ngram_weights,
                WEIGHT_MISTAKES,
                explain=explain_weights,
                hidden=(with_length(1), with_length(2)),
            ),
        ),
        reference=reference.ngram_weights,
    ),
    "clipped_cosine": Exercise(
        "Repeating a word doesn't raise it.",
        (
            rule("clipped_cosine", count_inputs, reference.clipped_cosine, COSINE_MISTAKES),
            rule_on(
                "clipped_cosine",
                nothing_inputs,
                reference.clipped_cosine,
                {
                    "with a vector of norm 0 the result is 0.": lambda *_: math.nan,
                    "with a vector of norm 0 the result is 0, not 1.": lambda *_: 1.0,
                },
            ),
            number_rule("clipped_cosine", count_inputs),
        ),
        reference=reference.clipped_cosine,
    ),
}
