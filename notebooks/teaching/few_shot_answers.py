"""Lesson 12: the checks of the exercises on generated answers, and on what more examples add."""

from __future__ import annotations

from collections.abc import Callable

import torch

from teaching import few_shot_reference as reference
from teaching.exercises import Exercise, number, number_rule, rule
from teaching.frozen_prompts import shuffled
from vlmcourse.world.tokenizer import INVENTED


def score_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """One text of each kind that a shortcut gets wrong, some right ones, in random order."""
    a, b, c, d, e, f, g, h = shuffled(generator, INVENTED)[:8]
    rows = [
        (f"{a} .", a),
        (f"{b} . this is a {c} .", b),
        (f" {c} . <EOC> <image> . this is a {d} .", c),
        (f"{d} <EOC>", d),
        (f"{e} {f} .", f"{e} {f}"),
        (f"no {e} .", e),
        (f"{f} {g} .", f),
        (f"{g} . {h} .", h),
        (f"{h} . <EOC>", a),
        (f"{a} <EOC> {b} .", a),
        (b, b),
        (f" {c} ", c),
        (f"{b} .", c),
        (f"{d.capitalize()} .", d),
        (f"{e} .", f"{e} {h}"),
        (f"{h} .", f"{e} {h}"),
        (f"{g} {f} .", f"{f} {g}"),
        (f"{a}{b} .", f"{a} {b}"),
        (f"{f} . {g}", g),
    ]
    rows = shuffled(generator, [row for row in rows for _ in range(number(generator, 1, 20))])
    return [[text for text, _ in rows], [answer for _, answer in rows]], {}


def scored(sentence: Callable, equal: Callable = lambda a, b: a == b) -> Callable:
    """The share of texts whose `sentence` is the answer."""

    def share(texts, answers):
        return sum(equal(sentence(t), a) for t, a in zip(texts, answers)) / len(answers)

    return share


def uncut(text: str) -> str:
    """The first sentence with the spaces around it."""
    return text.split("<EOC>")[0].split(".")[0]


def first_sentence(text: str) -> str:
    return uncut(text).strip()


SCORE_MISTAKES: dict = {
    "the whole text is compared: what follows the first sentence doesn't count.": (
        scored(str.strip),
        scored(lambda t: t.strip(" .")),
        scored(lambda t: t.replace("<EOC>", "").replace(".", "").strip()),
    ),
    "the last sentence is compared; only the first one counts.": (
        scored(lambda t: t.split("<EOC>")[-1].split(".")[-1].strip()),
        scored(lambda t: t.strip(" .").split(".")[-1].strip()),
    ),
    "an answer counts if it occurs anywhere: 'no dax' is not 'dax'.": (
        scored(first_sentence, lambda a, b: b in a),
        scored(first_sentence, lambda a, b: b in a.split()),
    ),
    "an answer counts if it occurs anywhere in the whole text.": (
        scored(str.strip, lambda a, b: b in a),
        scored(str.split, lambda a, b: b in a),
    ),
    "a part of the answer counts, too: the sentence must be all of it.": (
        scored(first_sentence, lambda a, b: a in b),
        scored(first_sentence, lambda a, b: b.startswith(a)),
        scored(first_sentence, lambda a, b: b.endswith(a)),
        scored(first_sentence, lambda a, b: a in b.split()),
    ),
    "an answer counts if the sentence begins with it: it must be all of it.": scored(
        first_sentence, lambda a, b: a.startswith(b)
    ),
    "an answer counts if the sentence ends with it: it must be all of it.": scored(
        first_sentence, lambda a, b: a.endswith(b)
    ),
    "only the last word of the sentence is compared; answers can have two.": scored(
        lambda t: first_sentence(t).split()[-1]
    ),
    "only the first word is compared; answers can have two.": scored(
        lambda t: first_sentence(t).split()[0]
    ),
    "the answer's words count in any order; the sentence must be the answer as it stands.": (
        scored(lambda t: set(first_sentence(t).split()), lambda a, b: a == set(b.split()))
    ),
    "spaces within the sentence are gone; only those around it don't count.": scored(
        lambda t: first_sentence(t).replace(" ", ""), lambda a, b: a == b.replace(" ", "")
    ),
    "a text that <EOC> ends without a full stop is cut too late.": (
        scored(lambda t: t.split(".")[0].strip()),
        scored(lambda t: t.replace("<EOC>", "").split(".")[0].strip()),
    ),
    "only <EOC> cuts the text; a full stop ends the sentence, too.": (
        scored(lambda t: t.split("<EOC>")[0].strip()),
        scored(lambda t: t.split("<EOC>")[0].strip(" .")),
    ),
    "spaces around the sentence are compared, too: strip them.": (
        scored(uncut),
        scored(lambda t: uncut(t).rstrip()),
        scored(lambda t: uncut(t).lstrip()),
    ),
    "small and capital letters count as the same; the sentence must be the answer as it stands.": (
        scored(lambda t: first_sentence(t).lower())
    ),
    "a text counts if it is any of the answers; each has its own.": lambda t, a: (
        sum(first_sentence(text) in a for text in t) / len(a)
    ),
    "this is a number of texts, not a share.": lambda t, a: (
        reference.open_score(t, a) * len(a) + 0.0
    ),
    "this is a percentage, not a share.": lambda t, a: 100 * reference.open_score(t, a),
    "this is the share of wrong answers.": lambda t, a: 1 - reference.open_score(t, a),
}


def gain_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """A table with four numbers of examples; asked for are the two in the middle, so none can be guessed."""
    tasks = ["OKVQA", "VQAv2", "COCO", "VATEX", "STAR", "RareAct", "VizWiz", "NextQA"]
    tasks = tasks[: number(generator, 6, 8)]
    low, high = sorted(shuffled(generator, (1, 2, 4, 8, 16))[:2])
    least, most = 0, 32
    scores: dict[str, dict[int, float | None]] = {
        task: {
            n: round(20 + 60 * torch.rand((), generator=generator).item(), 1)
            for n in (least, low, high, most)
        }
        for task in tasks
    }
    scores[tasks[1]][high] = scores[tasks[1]][low]  # neither rises nor falls
    scores[tasks[2]][high] = None
    scores[tasks[3]][low] = None
    scores[tasks[4]][high] = 0.0  # a score, not a gap
    scores[tasks[0]][(least, most)[number(generator, 0, 1)]] = None  # a gap that doesn't matter
    return [scores, low, high], {}


def kept(scores, low, high, left=None, right=None) -> list[tuple[float, float]]:
    """Both scores of the tasks that have them. left, right: what stands for a missing score."""
    pairs = [(row[low], row[high]) for row in scores.values()]
    pairs = [(left if a is None else a, right if b is None else b) for a, b in pairs]
    return [(a, b) for a, b in pairs if a is not None and b is not None]


def gains(
    scores, low, high, *, value=lambda a, b: b - a, none=None, of_all=False, rises=lambda g: g > 0
):
    """gain with a mistake. none: what stands for a missing score; of_all: divided by the number of all tasks."""
    found = [value(a, b) for a, b in kept(scores, low, high, none, none)]
    count = len(scores) if of_all else len(found)
    return [sum(found) / count, sum(map(rises, found)) / count]


def changed(**options) -> Callable:
    return lambda *args: gains(*args, **options)


def first_by(mean: Callable, left=None, right=None) -> Callable:
    """The first number by another formula of the gains."""
    return lambda *args: [
        mean([b - a for a, b in kept(*args, left, right)]),
        gains(*args)[1],
    ]


def filled(left, right) -> Callable:
    """A missing score on one side counts as this."""

    def answer(*args):
        found = [b - a for a, b in kept(*args, left, right)]
        return [sum(found) / len(found), sum(g > 0 for g in found) / len(found)]

    return answer


def between(pick: Callable) -> Callable:
    """The gain between other numbers of examples: pick (all numbers, low, high)."""
    return lambda scores, low, high: gains(
        scores, *pick(sorted(next(iter(scores.values()))), low, high)
    )


def mean_difference(scores, low, high):
    """The difference of two means over different tasks."""
    before, after = ([r[n] for r in scores.values() if r[n] is not None] for n in (low, high))
    return [sum(after) / len(after) - sum(before) / len(before), gains(scores, low, high)[1]]


def without_unchanged(*args):
    found = [b - a for a, b in kept(*args) if a != b]
    return [sum(found) / len(found), sum(g > 0 for g in found) / len(found)]


GAIN_MISTAKES: dict = {
    "a missing score counts as 0; a task without both scores is left out.": (
        changed(none=0.0),
        filled(0.0, None),
        filled(None, 0.0),
    ),
    "a score of 0 is a score; only None is missing.": lambda scores, low, high: gains(
        {task: row for task, row in scores.items() if row[low] and row[high]}, low, high
    ),
    "the gain is between `low` and `high`; yours is between other numbers of examples.": (
        between(lambda all, low, high: (all[0], high)),
        between(lambda all, low, high: (low, all[-1])),
        between(lambda all, low, high: (all[0], all[-1])),
    ),
    "the sums are divided by the number of all tasks, those with a missing score too.": (
        changed(of_all=True)
    ),
    "only the share is divided by the number of all tasks; tasks with a gap don't count there, either.": (
        lambda *args: [gains(*args)[0], gains(*args, of_all=True)[1]]
    ),
    "a task was left out whose gap is at another number of examples; only `low` and `high` matter.": (
        lambda scores, low, high: gains(
            {task: row for task, row in scores.items() if None not in row.values()}, low, high
        )
    ),
    "tasks whose score stays as it is were left out; only a missing score leaves a task out.": (
        without_unchanged
    ),
    "the second number is a percentage, not a share.": lambda *args: [
        gains(*args)[0],
        100 * gains(*args)[1],
    ],
    "the sign is wrong: after minus before.": changed(value=lambda a, b: a - b),
    "a task that stays as it is counts as one that rises.": changed(rises=lambda g: g >= 0),
    "the second number is the share of tasks that fall.": changed(rises=lambda g: g < 0),
    "a task that falls counts as one that rises.": changed(rises=lambda g: g != 0),
    "the second number counts the tasks; its share is wanted.": lambda *args: [
        gains(*args)[0],
        gains(*args)[1] * len(kept(*args)),
    ],
    "these are relative gains; the plain difference is wanted.": changed(
        value=lambda a, b: (b - a) / a
    ),
    "these are sizes of gains without their signs.": changed(value=lambda a, b: abs(b - a)),
    "each gain was divided by the number of further examples; the plain difference is wanted.": (
        lambda scores, low, high: gains(
            scores, low, high, value=lambda a, b: (b - a) / (high - low)
        )
    ),
    "the first number is a sum; a mean is wanted.": first_by(sum),
    "the first number is the mean of the tasks that rise; all count.": (
        first_by(lambda found: sum(g for g in found if g > 0) / max(1, sum(g > 0 for g in found))),
        first_by(lambda found: sum(g for g in found if g > 0) / len(found)),
    ),
    "two means over different tasks were subtracted; only tasks with both scores count.": (
        mean_difference
    ),
    "the share was rounded; return it as it is.": lambda *args: [
        gains(*args)[0],
        round(gains(*args)[1], 1),
    ],
    "both numbers are exchanged.": lambda *args: gains(*args)[::-1],
    "the first number is the median.": (
        first_by(lambda found: float(torch.tensor(found).double().quantile(0.5))),
        first_by(lambda found: sorted(found)[len(found) // 2]),
    ),
}


EXERCISES = {
    "open_score": Exercise(
        "The first sentence is the answer, or the text is wrong.",
        (
            rule("open_score", score_inputs, reference.open_score, SCORE_MISTAKES),
            number_rule("open_score", score_inputs),
        ),
        reference.open_score,
    ),
    "gain": Exercise(
        "The mean gain, and how many tasks rise, of those with both scores.",
        (rule("gain", gain_inputs, lambda *a: list(reference.gain(*a)), GAIN_MISTAKES),),
        reference.gain,
    ),
}
