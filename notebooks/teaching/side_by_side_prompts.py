"""Lesson 13: the checks of the exercises on where an answer comes from: covered squares, spoiled examples, and what is left."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from teaching import side_by_side_reference as reference
from teaching.exercises import Exercise, normal, number, rule, rule_on
from teaching.frozen_prompts import shuffled
from vlmcourse.world.tokenizer import INVENTED
from vlmgrader.checks import driver_source

# Exercise 10


def run_occlusion(target, weights, picture, side):
    """Driver: the map for a score that weighs pixels, and whether the picture is as it was."""

    def score(views):
        summed = (views * weights).flatten(1).sum(1)
        return summed + 0.05 * summed.square()

    before = picture.clone()
    found = target(score, picture, side)
    return [found, bool((picture == before).all())]


def picture_inputs(generator: torch.Generator) -> tuple[list, dict]:
    side, rows, columns = 2, 2, 3
    shape = 3, side * rows, side * columns
    return [normal(generator, *shape), normal(generator, *shape), side], {}


def covered_map(
    weights, picture, side, *, cover=None, value=None, keep=False, order=None, step=None
) -> Tensor:
    """cover: (picture, rows, columns) changes a copy;  value: (whole, covered) -> entry;  keep: squares stay covered

    step: from one square to the next, where it isn't `side`
    """

    def score(view):
        summed = (view * weights).sum()
        return summed + 0.05 * summed**2

    def grey(view, rows, columns):
        view[:, rows, columns] = 0

    whole, view, step = score(picture), picture.clone(), step or side
    found = torch.zeros(picture.shape[1] // side, picture.shape[2] // side)
    for r in range(found.shape[0]):
        for c in range(found.shape[1]):
            view = view if keep else picture.clone()
            squares = slice(r * step, r * step + side), slice(c * step, c * step + side)
            (cover or grey)(view, *squares)
            found[r, c] = (value or (lambda whole, part: whole - part))(whole, score(view))
    return order(found) if order else found


def white(view, rows, columns):
    view[:, rows, columns] = 1


def black(view, rows, columns):
    view[:, rows, columns] = -1


def half(view, rows, columns):
    view[:, rows, columns] = 0.5


def one_pixel(view, rows, columns):
    view[:, rows.start, columns.start] = 0


def first_colour(view, rows, columns):
    view[0, rows, columns] = 0


def all_but(view, rows, columns):
    inside = view[:, rows, columns].clone()
    view.zero_()
    view[:, rows, columns] = inside


def mean_colour(view, rows, columns):
    view[:, rows, columns] = view.mean((1, 2))[:, None, None]


def covering(untouched: bool = True, **options) -> Callable:
    return lambda *args: [covered_map(*args, **options), untouched]


OCCLUSION_MISTAKES = {
    "the caller's picture was changed: cover a copy, picture.clone().": (
        covering(False),
        covering(False, keep=True),
        covering(False, keep=True, value=lambda whole, part: part),
    ),
    "the sign is turned round: a drop is the whole picture's score minus the covered one's.": covering(
        value=lambda whole, part: part - whole
    ),
    "these are the scores of the covered pictures; how much does each square take away?": covering(
        value=lambda whole, part: part
    ),
    "squares stay covered: begin each time with a fresh copy of the picture.": covering(keep=True),
    "the map is transposed: rows go down, columns to the right.": covering(order=lambda x: x.T),
    "the squares are white (1); grey is 0.": covering(cover=white),
    "the squares are black (-1); grey is 0.": covering(cover=black),
    "only the first colour is covered: all three are.": covering(cover=first_colour),
    "all but the square is covered.": covering(cover=all_but),
    "the squares have the picture's mean colour; grey is 0.": covering(cover=mean_colour),
    "drops below 0 were cut off: covering a square can help, too.": covering(
        order=lambda x: x.clamp(min=0)
    ),
    "the squares have the value 0.5; grey is 0, as pixels run from -1 to 1.": covering(cover=half),
    "drops are divided by the largest one: leave them as they are.": covering(
        order=lambda x: x / x.max()
    ),
    "the rows and columns count pixels, not squares: multiply them by `side`.": (
        lambda weights, picture, side: [covered_map(weights, picture, side, step=1), True]
    ),
    "a single pixel of each square is covered.": covering(cover=one_pixel),
    "sizes of drops are returned: the sign says whether a square helps.": covering(order=torch.abs),
}

# Exercise 11


def run_wrong(target, examples, options):
    """Driver: what is true of the new examples, tried with many generators of random numbers."""
    import random

    facts = dict.fromkeys(
        ("form", "pictures", "other words", "options", "wrong", "input", "rng", "alone", "reached"), True
    )  # fmt: skip
    before = [list(one) for one in examples]
    given = [tuple(one) for one in examples]
    reached, differ, seen = set(), False, set()
    for seed in range(60):
        new = target(given, list(options), random.Random(seed))
        if new is None:
            return None
        again = target(given, list(options), random.Random(seed))
        shaped = isinstance(new, (list, tuple)) and len(new) == len(given)
        if not shaped or not all(
            isinstance(one, (list, tuple)) and len(one) == 2 and isinstance(one[1], str)
            for one in new
        ):
            facts["form"] = False
            return facts
        facts["input"] &= [list(one) for one in given] == before
        facts["rng"] &= [list(one) for one in new] == [list(one) for one in again]
        answers = []
        for (picture, text), (old, sentence) in zip(new, before):
            words, own = text.split(), sentence.split()
            facts["pictures"] &= picture == old
            facts["other words"] &= words[:-2] + words[-1:] == own[:-2] + own[-1:]
            answer = words[-2] if len(words) > 1 else ""
            facts["options"] &= answer in options
            facts["wrong"] &= answer != own[-2]
            answers.append(answer)
        reached.add(answers[0])
        seen.add(tuple(answers))
        differ |= answers[0] != answers[1]  # both had the same answer
    own = before[0][1].split()[-2]
    facts["alone"] = differ
    facts["reached"] = reached >= set(options) - {own}
    facts["rng"] &= len(seen) > 1
    return facts


FACTS = {
    "form": "expected a list with a pair (picture, sentence) for each example.",
    "input": "the examples that you were given were changed: make new ones.",
    "pictures": "the pictures changed their places; only answers change.",
    "other words": "other words changed: only the last word before the full stop does, even where the same word stands "
    "earlier.",
    "options": "an answer is none of the options.",
    "wrong": "an example still has its right answer: leave it out of what is drawn from.",
    "rng": "draw with `rng`: the same rng must give the same answers, another one others.",
    "alone": "two examples with the same answer always get the same new one: that only renames, and the examples still "
    "tell the names. Draw anew for each example.",
    "reached": "some wrong options are never drawn: any other option may come.",
}


def sentence_inputs(generator: torch.Generator) -> tuple[list, dict]:
    options = shuffled(generator, INVENTED)[:4]
    a, b, c, _ = options
    examples = [[f"picture {n}", f"this is a {name} ."] for n, name in enumerate((a, a, b, c))]
    return [examples, options], {}


def question_inputs(generator: torch.Generator) -> tuple[list, dict]:
    options = shuffled(generator, ["animal", "fruit", "tool", "vehicle", "toy"])
    asked = "question : what kind of thing is the {} ? answer : {} ."
    answers = [options[0], options[0], options[number(generator, 1, 4)]]
    return [
        [[f"picture {n}", asked.format(one, one)] for n, one in enumerate(answers)],
        options,
    ], {}


def explain_facts(got: object, wanted: dict, *_: object) -> str | None:
    if not isinstance(got, dict):
        return None
    return next((said for name, said in FACTS.items() if not got.get(name)), None)


def wrong_rule(inputs: Callable):
    return rule_on(
        "wrong_answers",
        inputs,
        lambda *_: dict.fromkeys(FACTS, True),
        driver=driver_source(run_wrong),
        explain=explain_facts,
        rounds=2,
    )


EXERCISES = {
    "occlusion": Exercise(
        "A test that needs to know nothing of the model's inside.",
        (
            rule(
                "occlusion",
                picture_inputs,
                lambda *args: [covered_map(*args), True],
                OCCLUSION_MISTAKES,
                driver=driver_source(run_occlusion),
            ),
        ),
        reference=reference.occlusion,
    ),
    "wrong_answers": Exercise(
        "The form of the examples is whole; what they say is not.",
        (wrong_rule(sentence_inputs), wrong_rule(question_inputs)),
        reference=reference.wrong_answers,
    ),
}
