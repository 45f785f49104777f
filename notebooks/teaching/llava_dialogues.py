"""Lesson 14: the checks of the exercises on dialogues from symbols, and on how answers are counted."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable

import torch

from teaching import llava_reference as reference
from teaching.exercises import Exercise, number, rule
from teaching.llava_chat import WORDS, shuffled
from vlmgrader.checks import driver_source

COLOURS = ("pink", "grey", "blue", "green", "yellow")

# Exercise 7


def dialogue_inputs(generator: torch.Generator) -> tuple[list, dict]:
    places = shuffled(generator, [(0.25, 0.3), (0.7, 0.25), (0.3, 0.75), (0.72, 0.7)])
    count = number(generator, 3, 4)
    things = [[word, x, y] for word, (x, y) in zip(shuffled(generator, WORDS), places[:count])]
    return [things, shuffled(generator, COLOURS)[0]], {}


def spoken(things, background, *, count=None, place=None, each=None, order=None) -> list:
    place = place or (
        lambda x, y: f"{'top' if y < 0.5 else 'bottom'} {'left' if x < 0.5 else 'right'}"
    )
    each = each or (lambda word, where: [f"what is the thing in the {where} ?", word])
    number_of = count or (lambda n: reference.NUMBERS[n])
    turns = [["how many things are there ?", number_of(len(things))]]
    turns += [each(word, place(x, y)) for word, x, y in things]
    turns += [["what colour is the background ?", background]]
    return order(turns) if order else turns


def speaking(**options) -> Callable:
    return lambda things, background: spoken(things, background, **options)


DIALOGUE_MISTAKES = {
    "top and bottom are exchanged: y grows downwards.": speaking(
        place=lambda x, y: f"{'bottom' if y < 0.5 else 'top'} {'left' if x < 0.5 else 'right'}"
    ),
    "left and right are exchanged: x grows to the right.": speaking(
        place=lambda x, y: f"{'top' if y < 0.5 else 'bottom'} {'right' if x < 0.5 else 'left'}"
    ),
    "x and y are exchanged: x says left or right, y says top or bottom.": speaking(
        place=lambda x, y: f"{'top' if x < 0.5 else 'bottom'} {'left' if y < 0.5 else 'right'}"
    ),
    "the words of the place are in the wrong order: 'top left', not 'left top'.": speaking(
        place=lambda x, y: f"{'left' if x < 0.5 else 'right'} {'top' if y < 0.5 else 'bottom'}"
    ),
    "the number of things is a digit: the world's word is wanted, such as 'two'.": (
        speaking(count=str),
        speaking(count=lambda n: n),
    ),
    "the number of things is off by one.": (
        speaking(count=lambda n: reference.NUMBERS[n - 1]),
        speaking(count=lambda n: (*reference.NUMBERS, "five")[n + 1]),
    ),
    "the background is counted or asked as a thing; it has a question of its own.": lambda t, b: (
        spoken(t, b)[:-1]
    ),
    "the question how many is missing.": lambda t, b: spoken(t, b)[1:],
    "only the first thing is asked for: each thing has its question.": lambda t, b: [
        spoken(t, b)[0],
        spoken(t, b)[1],
        spoken(t, b)[-1],
    ],
    "only the last thing is asked for: each thing has its question.": lambda t, b: [
        spoken(t, b)[0],
        *spoken(t, b)[-2:],
    ],
    "the question how many comes last; it comes first.": speaking(
        order=lambda turns: [*turns[1:], turns[0]]
    ),
    "the question about the background stands before the things; it comes last.": speaking(
        order=lambda turns: [turns[0], turns[-1], *turns[1:-1]]
    ),
    "the things are in reverse order.": speaking(
        order=lambda turns: [turns[0], *turns[1:-1][::-1], turns[-1]]
    ),
    "the question names the thing and the answer its place; it is asked the other way round.": speaking(
        each=lambda word, where: [f"where is the {word} ?", where]
    ),
    "question and answer are exchanged.": lambda t, b: [[a, q] for q, a in spoken(t, b)],
    "the question marks are missing: they are words of the questions.": lambda t, b: [
        [q.removesuffix(" ?"), a] for q, a in spoken(t, b)
    ],
    "the question marks need a space before them: ' ?' is a token of its own.": lambda t, b: [
        [q.replace(" ?", "?"), a] for q, a in spoken(t, b)
    ],
    "the answers end with a full stop: the template adds it.": lambda t, b: [
        [q, f"{a} ."] for q, a in spoken(t, b)
    ],
    "questions and answers are one flat list: each turn is a tuple of two.": lambda t, b: [
        part for turn in spoken(t, b) for part in turn
    ],
}

# Exercise 8


def score_inputs(generator: torch.Generator) -> tuple[list, dict]:
    kinds = shuffled(generator, ["what"] * 5 + ["where"] * 3 + ["how many"] * 2)
    right = [WORDS[number(generator, 0, 7)] for _ in kinds]
    wrong = {"what": ["not {}", "{:.2}"], "where": ["not {}", "{:.0}"], "how many": ["{:.1}"]}
    answers = []
    for kind, word in zip(kinds, right):  # wrong ones contain the right one, or are a part of it
        answers.append((wrong[kind].pop() if wrong[kind] else "{}").format(word))
    return [kinds, answers, right], {}


def scored(kinds, answers, right, *, share=None, mean=None, equal=operator.eq) -> dict:
    found = defaultdict(list)
    for kind, answer, wanted in zip(kinds, answers, right):
        found[kind].append(float(equal(answer, wanted)))
    share = share or (lambda hits: sum(hits) / len(hits))
    scores = {kind: share(hits) for kind, hits in found.items()}
    mean = mean or (lambda scores, found: sum(scores.values()) / len(scores))
    return scores | {"mean": mean(scores, found)}


def scoring(**options) -> Callable:
    return lambda *args: scored(*args, **options)


def over_questions(scores, found) -> float:
    hits = [hit for one in found.values() for hit in one]
    return sum(hits) / len(hits)


SCORE_MISTAKES = {
    "the mean is over questions: a kind with many questions would count more. Take the mean over kinds.": (
        scoring(mean=over_questions)
    ),
    "the mean is a sum: divide by the number of kinds.": scoring(
        mean=lambda scores, found: sum(scores.values())
    ),
    "the mean is divided by the number of kinds and one more.": scoring(
        mean=lambda scores, found: sum(scores.values()) / (len(scores) + 1)
    ),
    "the mean is the largest share.": scoring(mean=lambda scores, found: max(scores.values())),
    "those are numbers of right answers, not shares.": (
        scoring(share=sum),
        scoring(share=sum, mean=over_questions),
    ),
    "right answers of a kind are divided by the number of all questions.": lambda k, a, r: scored(
        k, a, r, share=lambda hits: sum(hits) / len(k)
    ),
    "those are shares of wrong answers.": lambda k, a, r: scored(
        k, ["right" if x != y else "wrong" for x, y in zip(a, r)], ["right"] * len(r)
    ),
    "those are percentages; wanted are shares between 0 and 1.": (
        scoring(share=lambda hits: 100 * sum(hits) / len(hits))
    ),
    "the entry 'mean' is missing.": lambda *args: {
        kind: share for kind, share in scored(*args).items() if kind != "mean"
    },
    "only the mean is returned: each kind has an entry, too.": lambda *args: {
        "mean": scored(*args)["mean"]
    },
    "an answer counts as right where it is only a part of the right one: compare with ==.": scoring(
        equal=lambda answer, wanted: answer in wanted
    ),
    "an answer counts as right where it only contains the right one: compare with ==.": scoring(
        equal=lambda answer, wanted: wanted in answer
    ),
    "every answer counts as right.": scoring(equal=lambda answer, wanted: True),
    "all kinds have the same share: count each kind's questions alone.": lambda *args: {
        kind: scored(*args, mean=over_questions)["mean"] for kind in scored(*args)
    },
}


def run_scores(target, kinds, answers, right):
    """Driver: the scores as plain numbers by the names of kinds."""
    found = target(kinds, answers, right)
    if not isinstance(found, dict):
        return found
    return {str(kind): float(share) for kind, share in found.items()}


def explain_turns(got: object, wanted: list, *_: object) -> str | None:
    if isinstance(got, (list, tuple)) and len(got) == len(wanted):
        for turn, (found, right) in enumerate(zip(got, wanted), start=1):
            if isinstance(found, (list, tuple)) and list(found) != list(right):
                return f"turn {turn} is {tuple(found)}; expected {tuple(right)}."
    return None


EXERCISES = {
    "write_dialogue": Exercise(
        "Questions and answers from words and places alone, without a look at any picture.",
        (
            rule(
                "write_dialogue",
                dialogue_inputs,
                spoken,
                DIALOGUE_MISTAKES,
                explain=explain_turns,
            ),
        ),
        reference=reference.write_dialogue,
    ),
    "accuracy_by_kind": Exercise(
        "Each kind counts the same, however many questions it has.",
        (
            rule(
                "accuracy_by_kind",
                score_inputs,
                scored,
                SCORE_MISTAKES,
                driver=driver_source(run_scores),
            ),
        ),
        reference=reference.accuracy_by_kind,
    ),
}
