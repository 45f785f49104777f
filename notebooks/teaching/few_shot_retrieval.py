"""Lesson 12: the checks of the exercises on retrieved examples and on copying."""

from __future__ import annotations

from collections.abc import Callable

import torch

from teaching import few_shot_reference as reference
from teaching.exercises import Exercise, normal, number, pure_rule, rule
from teaching.frozen_prompts import shuffled
from vlmcourse.world.tokenizer import INVENTED
from vlmgrader.checks import differs


def rices_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Vectors of different lengths; more pictures than queries, and k smaller than both."""
    queries, pool, k = number(generator, 4, 5), number(generator, 7, 9), 3
    lengths = 0.3 + 4 * torch.rand(pool, 1, generator=generator)
    return [normal(generator, queries, 6), normal(generator, pool, 6) * lengths, k], {}


def nearest(queries, pool, k, *, norm=True, flip=True, largest=True, values=False, scores=None):
    if norm:
        queries, pool = (x / x.norm(dim=-1, keepdim=True) for x in (queries, pool))
    found = (queries @ pool.T if scores is None else scores(queries, pool)).topk(
        k, dim=-1, largest=largest
    )
    best = found.values if values else found.indices
    return best.flip(-1) if flip else best


def rices_with(**options) -> Callable:
    return lambda q, p, k: nearest(q, p, k, **options)


RICES_MISTAKES: dict = {
    "the most similar stands first; it stands last, next to the query.": rices_with(flip=False),
    "dot products depend on lengths: divide each vector of the pool by its norm.": (
        rices_with(norm=False),
        rices_with(norm=False, flip=False),
    ),
    "each column was divided by its norm; vectors are rows: dim=-1.": lambda q, p, k: nearest(
        q / q.norm(dim=0), p / p.norm(dim=0), k, norm=False
    ),
    "these are the least similar pictures.": (
        rices_with(largest=False),
        rices_with(largest=False, flip=False),
    ),
    "these are the similarities, not the numbers of the pictures.": (
        rices_with(values=True),
        rices_with(values=True, flip=False),
    ),
    "the rows changed places: flip(-1) turns the pictures of a query, flip(0) the queries.": (
        lambda q, p, k: nearest(q, p, k, flip=False).flip(0),
        lambda q, p, k: nearest(q, p, k).flip(0),
    ),
    "the k best queries for each picture are not asked; rows are queries, and topk runs over the pool.": (
        lambda q, p, k: nearest(p, q, k)
    ),
    "the order is neither by similarity up nor down: sort them.": lambda q, p, k: (
        nearest(q, p, k).sort(-1).values
    ),
    "distances in place of cosines choose other pictures where lengths differ.": rices_with(
        norm=False, scores=lambda q, p: -torch.cdist(q, p)
    ),
    "all queries got the first one's pictures.": lambda q, p, k: nearest(q[:1], p, k).expand(
        len(q), -1
    ),
}


def copy_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Lists of four to six names: with a majority, with ties that the answer wins or loses, and with the answer absent."""
    shown, answers = [], []
    kinds = {
        "first": "abbc",
        "last": "bbca",
        "pairs": "baba",
        "absent": "bcbd",
        "majority": "aaab",
        "lost": "abab",
        "tie": "bcad",
        "nested": "abba",
        "nested, lost": "baab",
        "most of five": "acadb",
        "lost of six": "adcbba",
    }
    for names in kinds.values():
        for _ in range(number(generator, 1, 6)):
            letters = dict(zip("abcd", shuffled(generator, INVENTED)))
            shown.append([letters[letter] for letter in names])
            answers.append(letters["a"])
    return [shown, answers], {}


def copying(shown, answers, *, last=-1, late=True, count=None, most=max, last_of=None):
    """copy_scores with a mistake. last_of: the names in their order, where `shown` has another one."""
    votes = [
        most(names[::-1] if late else names, key=lambda n, names=names: names.count(n))
        for names in shown
    ]
    count = len(answers) if count is None else count(shown, answers)
    pairs = list(zip(shown, votes, answers))
    return [
        sum(names[last] == a for names, a in zip(last_of or shown, answers)) / count,
        sum(vote == a for _, vote, a in pairs) / count,
        sum(a in names for names, _, a in pairs) / count,
    ]


def third_share(shown, answers, count: Callable) -> list[float]:
    """copying with another count of each prompt in its third number."""
    third = sum(count(names, answer) for names, answer in zip(shown, answers))
    return [*copying(shown, answers)[:2], third / len(answers)]


def leaders(names: list[str]) -> list[str]:
    """The names that none is more frequent than."""
    most = max(map(names.count, names))
    return [name for name in dict.fromkeys(names) if names.count(name) == most]


def vote(names: list[str]) -> str:
    """The most frequent name, of several the one nearest to the end."""
    return max(names[::-1], key=names.count)


def voted(shown, answers, choose: Callable) -> list[float]:
    """copying with another choice of the most frequent name."""
    second = sum(choose(names) == answer for names, answer in zip(shown, answers))
    first, _, third = copying(shown, answers)
    return [first, second / len(answers), third]


COPY_MISTAKES: dict[str, Callable] = {
    "the first name was taken for the last: the nearest example stands last.": (
        lambda s, a: copying(s, a, last=0)
    ),
    "among names that are equally frequent the one nearest to the end is meant; yours takes the first.": (
        lambda s, a: copying(s, a, late=False)
    ),
    "a tie counts as right for each of its names; only the one nearest to the end is the rule's answer.": (
        lambda s, a: [
            copying(s, a)[0],
            sum(n.count(b) == max(map(n.count, n)) for n, b in zip(s, a)) / len(a),
            copying(s, a)[2],
        ]
    ),
    "a tie was broken by the alphabet; the name nearest to the end counts.": (
        lambda s, a: copying([sorted(n) for n in s], a, late=False, last_of=s),
        lambda s, a: copying([sorted(n) for n in s], a, last_of=s),
    ),
    "a tie was broken by where a name stands first; its last place counts.": lambda s, a: voted(
        s, a, lambda n: max(n, key=lambda name: (n.count(name), n.index(name)))
    ),
    "a tie counts as wrong; the name nearest to the end is the rule's answer.": lambda s, a: voted(
        s, a, lambda n: leaders(n)[0] if len(leaders(n)) == 1 else None
    ),
    "the most frequent name need not be in more than half of the examples.": lambda s, a: voted(
        s, a, lambda n: next((name for name in n if n.count(name) > len(n) / 2), None)
    ),
    "the last example has a vote, too.": lambda s, a: voted(s, a, lambda n: vote(n[:-1])),
    "the second number adds the answer's shares; count the prompts whose most frequent name it is.": (
        lambda s, a: [
            copying(s, a)[0],
            sum(n.count(b) / len(n) for n, b in zip(s, a)) / len(a),
            copying(s, a)[2],
        ]
    ),
    "this isn't the last name: names[-1].": (
        lambda s, a: copying(s, a, last=3),
        lambda s, a: copying(s, a, last=-2),
    ),
    "the last example shows the answer, too.": lambda s, a: third_share(
        s, a, lambda n, b: b in n[:-1]
    ),
    "the last two numbers are exchanged.": lambda s, a: [copying(s, a)[i] for i in (0, 2, 1)],
    "the last two numbers are shares of the prompts that show the answer; all prompts count.": (
        lambda s, a: [
            copying(s, a)[0],
            *[x * len(a) / sum(b in n for n, b in zip(s, a)) for x in copying(s, a)[1:]],
        ]
    ),
    "these are counts, not shares.": lambda s, a: [x * len(a) for x in copying(s, a)],
    "these are percentages, not shares.": lambda s, a: [100 * x for x in copying(s, a)],
    "the third number counts a prompt once, however often the answer stands in it.": (
        lambda s, a: third_share(s, a, lambda n, b: n.count(b)),
        lambda s, a: third_share(s, a, lambda n, b: n.count(b) / len(n)),
        lambda s, a: third_share(s, a, lambda n, b: n.count(b) / len(set(n))),
        lambda s, a: third_share(s, a, lambda n, b: (b in n) / len(set(n))),
    ),
    "the rarest name was taken for the most frequent.": lambda s, a: copying(s, a, most=min),
    "the most frequent name of all prompts together was taken; each prompt has its own.": (
        lambda s, a: [
            copying(s, a)[0],
            sum(b == max(sum(s, []), key=sum(s, []).count) for b in a) / len(a),
            copying(s, a)[2],
        ]
    ),
    "the first two numbers are exchanged.": lambda s, a: [copying(s, a)[i] for i in (1, 0, 2)],
}


def explain_copying(got: object, wanted: list, *_) -> str | None:
    """Which of the three numbers is wrong, if it is the second alone."""
    if (
        isinstance(got, (list, tuple))
        and len(got) == 3
        and not differs(got[::2], wanted[::2], 1e-4)
    ):
        return (
            "the second number isn't right: the most frequent name is the rule's answer, "
            "of several the one nearest to the end."
        )
    return None


EXERCISES = {
    "rices": Exercise(
        "The most similar pictures by cosine, the nearest last.",
        (rule("rices", rices_inputs, reference.rices, RICES_MISTAKES),),
        reference.rices,
    ),
    "copy_scores": Exercise(
        "What a prompt's names are worth without any model.",
        (
            pure_rule(
                "copy_scores",
                copy_inputs,
                reference.copy_scores,
                COPY_MISTAKES,
                "the caller's lists were changed: names[::-1] is a new list, names.reverse() isn't.",
                explain_copying,
                rounds=4,
            ),
        ),
        reference.copy_scores,
    ),
}
