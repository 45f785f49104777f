"""Lesson 13: the checks of the exercises on invented nouns, and on nouns to ask for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from teaching import side_by_side_reference as reference
from teaching.exercises import Exercise, number, rule, rule_on
from teaching.frozen_prompts import shuffled

NOUNS = ("cat", "car", "hat", "dog", "pan", "panda", "bus", "tree")

# Exercise 6


def caption_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Captions with nouns said twice, without any noun, and with words that contain a noun."""
    captions, present = [], []
    forms = (
        "a {} and a {}",
        "a {} that is beside a {}",
        "something",
        "a {} , a {} and a {}",
        "a {}",
    )
    for form in (*forms, *shuffled(generator, list(forms))[:3]):
        there = shuffled(generator, NOUNS)[:2]
        named = [
            there[0] if torch.rand((), generator=generator) < 0.5 else shuffled(generator, NOUNS)[0]
            for _ in range(form.count("{}"))
        ]
        captions.append(form.format(*named))
        present.append(there)
    captions.append("a pan")  # isn't there, though it is a part of what is
    present.append(["panda", "tree"])
    twice = shuffled(generator, NOUNS)
    captions.append(f"a {twice[0]} and a {twice[0]}")
    present.append(twice[1:3])
    order = shuffled(generator, list(range(len(captions))))
    return [[captions[i] for i in order], [present[i] for i in order], list(NOUNS)], {}


def silent_inputs(generator: torch.Generator) -> tuple[list, dict]:
    return [["something", "a picture"], [["cat"], ["dog"]], list(NOUNS)], {}


def counted(captions, present, nouns, *, named=None, wrong=None, pair=None) -> list[float]:
    named = named or (lambda text: [word for word in text.split() if word in nouns])
    wrong = wrong or (lambda words, there: [word for word in words if word not in there])
    words = [named(text) for text in captions]
    bad = [wrong(one, there) for one, there in zip(words, present)]
    pair = pair or (
        lambda words, bad: [
            sum(map(len, bad)) / max(1, sum(map(len, words))),
            sum(map(bool, bad)) / len(bad),
        ]
    )
    return pair(words, bad)


def counting(**options) -> Callable:
    return lambda *args: counted(*args, **options)


CHAIR_MISTAKES = {
    "the two shares are exchanged: first the one of nouns, then the one of captions.": counting(
        pair=lambda words, bad: [
            sum(map(bool, bad)) / len(bad),
            sum(map(len, bad)) / sum(map(len, words)),
        ]
    ),
    "these are shares of what is right; wanted is what is not on the picture.": counting(
        wrong=lambda words, there: [word for word in words if word in there]
    ),
    "a noun that is said twice counts twice.": lambda c, p, n: counted(
        c, p, n, named=lambda text: sorted({word for word in text.split() if word in n})
    ),
    "a noun inside a longer word isn't named: split the caption into words.": lambda c, p, n: (
        counted(c, p, n, named=lambda text: [noun for noun in n if noun in text])
    ),
    "all words of the captions are counted; only nouns count.": counting(named=str.split),
    "the first share is a mean over captions; divide all invented nouns by all named ones.": counting(
        pair=lambda words, bad: [
            sum(len(b) / max(1, len(w)) for w, b in zip(words, bad)) / len(bad),
            sum(map(bool, bad)) / len(bad),
        ]
    ),
    "the second share is over captions that name something; all captions count.": counting(
        pair=lambda words, bad: [
            sum(map(len, bad)) / sum(map(len, words)),
            sum(map(bool, bad)) / sum(map(bool, words)),
        ]
    ),
    "the second share counts invented nouns; a caption with two counts once.": counting(
        pair=lambda words, bad: [
            sum(map(len, bad)) / sum(map(len, words)),
            sum(map(len, bad)) / len(bad),
        ]
    ),
    "the first share is divided by the number of captions.": counting(
        pair=lambda words, bad: [sum(map(len, bad)) / len(bad), sum(map(bool, bad)) / len(bad)]
    ),
    "a noun inside a longer noun that is there counts as there: compare whole words.": counting(
        wrong=lambda words, there: [word for word in words if word not in " ".join(there)]
    ),
    "the second share counts all captions that name something, right or wrong.": counting(
        pair=lambda words, bad: [
            sum(map(len, bad)) / sum(map(len, words)),
            sum(map(bool, words)) / len(words),
        ]
    ),
    "the second share counts captions that name nothing right; one invented noun is enough.": (
        counting(
            pair=lambda words, bad: [
                sum(map(len, bad)) / sum(map(len, words)),
                sum(bool(b) and len(b) == len(w) for w, b in zip(words, bad)) / len(bad),
            ]
        )
    ),
    "the first share is divided by what is there; divide by what is named.": lambda c, p, n: (
        counted(
            c,
            p,
            n,
            pair=lambda words, bad: [
                sum(map(len, bad)) / sum(map(len, p)),
                sum(map(bool, bad)) / len(bad),
            ],
        )
    ),
    "a caption is compared with what is on all pictures; compare it with its own.": (
        lambda c, p, n: counted(c, [sum(p, [])] * len(p), n)
    ),
    "these are counts, not shares.": counting(
        pair=lambda words, bad: [float(sum(map(len, bad))), float(sum(map(bool, bad)))]
    ),
}

# Exercise 7


def shown_inputs(adversarial: bool, generator: torch.Generator) -> tuple[list, dict]:
    """Training pictures, the words of one picture, and how many nouns are wanted."""
    shown = []
    for _ in range(22):
        first = NOUNS[int(8 * torch.rand((), generator=generator) ** 1.6)]
        others = [word for word in shuffled(generator, NOUNS) if word != first]
        shown.append([first, *others[: number(generator, 0, 2)]])
    return [shown, shuffled(generator, NOUNS)[:2], 3, adversarial], {}


def ranked(shown, present, k, adversarial, *, weight=None, words=None, key=None, end=None) -> list:
    weight = weight or (
        lambda here, present: sum(word in here for word in present) if adversarial else 1
    )
    counts: dict[str, float] = {}
    for here in shown:
        for word in here:
            counts[word] = counts.get(word, 0) + weight(here, present)
    words = words or (lambda counts: [word for word in counts if word not in present])
    key = key or (lambda counts: lambda word: (-counts[word], word))
    found = sorted(words(counts), key=key(counts))[:k]
    return end(found, counts) if end else found


def ranking(**options) -> Callable:
    return lambda *args: ranked(*args, **options)


def together(shown, word: str, others) -> list[int]:
    """In how many pictures the word stands together with each of the others."""
    return [sum(word in here and other in here for here in shown) for other in others]


def ranked_by(size: Callable, shown, present, k: int) -> list[str]:
    """size: (word, counts together with each of the present nouns) -> what it is ranked by"""
    sizes = {
        word: size(word, together(shown, word, present))
        for word in {word for here in shown for word in here} - {*present}
    }
    return sorted(sizes, key=lambda word: (-sizes[word], word))[:k]


def per_noun(shown, present, k, adversarial) -> list[str]:
    return ranked_by(
        lambda word, counts: sum(counts) / sum(word in here for here in shown), shown, present, k
    )


def by_best(shown, present, k, adversarial) -> list[str]:
    return ranked_by(lambda word, counts: max(counts), shown, present, k)


def either(adversarial: bool) -> dict:
    """Mistakes in one of the two ways to choose."""
    common = {
        "nouns that are on the picture are among them: only absent ones are wanted.": ranking(
            words=list
        ),
        "these are the least frequent ones.": (
            ranking(key=lambda c: lambda word: (c[word], word)),
            ranking(key=lambda c: lambda word: c[word]),
        ),
        "where counts are equal, the alphabet decides.": (
            ranking(key=lambda c: lambda word: -c[word]),
            ranking(key=lambda c: lambda word: (-c[word], [-ord(x) for x in word])),
        ),
        "these are counts; wanted are the nouns.": ranking(
            end=lambda found, c: [float(c[word]) for word in found]
        ),
        "the nouns are in the wrong order: the most frequent first.": ranking(
            end=lambda found, c: found[::-1]
        ),
        "these are the absent nouns in the order of the alphabet; count them.": ranking(
            key=lambda c: lambda word: word
        ),
        "first drop the present nouns, then take k.": lambda shown, present, k, way: [
            word for word in ranked(shown, present, k, way, words=list) if word not in present
        ],
        "all absent nouns are returned; the first k are wanted.": lambda shown, present, k, way: (
            ranked(shown, present, len(NOUNS), way)
        ),
    }
    if adversarial:
        return common | {
            "these are the popular ones: count only pictures that show one of the present nouns.": (
                ranking(weight=lambda here, present: 1)
            ),
            "a picture that shows two of the present nouns counts twice, once for each.": ranking(
                weight=lambda here, present: any(word in here for word in present)
            ),
            "a picture needn't show all of the present nouns: one is enough.": ranking(
                weight=lambda here, present: all(word in here for word in present)
            ),
            "the counts are divided by how often the noun is shown; only the counts matter.": per_noun,
            "only the best companion of each noun counts; add the counts for all present nouns.": (
                by_best
            ),
            "only the first of the present nouns is looked at.": ranking(
                weight=lambda here, present: present[0] in here
            ),
            "only the last of the present nouns is looked at.": ranking(
                weight=lambda here, present: present[-1] in here
            ),
        }
    return common | {
        "these are the adversarial ones: popular nouns are counted over all pictures.": ranking(
            weight=lambda here, present: sum(word in here for word in present)
        ),
        "only pictures without the present nouns are counted; all pictures count.": ranking(
            weight=lambda here, present: not any(word in here for word in present)
        ),
    }


EXERCISES = {
    "chair": Exercise(
        "Nouns that were named, and captions that name one wrongly.",
        (
            rule("chair", caption_inputs, counted, CHAIR_MISTAKES),
            rule_on("chair", silent_inputs, lambda *_: [0.0, 0.0], rounds=1),
        ),
        reference=reference.chair,
    ),
    "absent_nouns": Exercise(
        "POPE's two harder ways to choose what isn't there.",
        tuple(
            rule("absent_nouns", partial(shown_inputs, way), ranked, either(way))
            for way in (False, True)
        ),
        reference=reference.absent_nouns,
    ),
}
