"""Lesson 07: the checks of the exercises on prompts. Pictures are whole numbers there."""

from __future__ import annotations

from collections.abc import Callable

import torch

from teaching import frozen_reference as reference
from teaching.exercises import Exercise, number, pure_rule, rule
from vlmcourse.world.tokenizer import INVENTED

THINGS = ("cat", "dog", "fox", "owl", "car", "hat", "key", "bus")


def shuffled(generator: torch.Generator, values) -> list:
    return [values[i] for i in torch.randperm(len(values), generator=generator).tolist()]


def few_shot_inputs(generator: torch.Generator) -> tuple[list, dict]:
    count = number(generator, 2, 4)
    pictures, words = shuffled(generator, range(10, 30)), shuffled(generator, THINGS)
    asked = [f"is there a {word} ?" for word in words]
    answers = shuffled(generator, ["yes", "no", "maybe", "both", "none"])
    examples = [[pictures[i], asked[i], answers[i]] for i in range(count)]
    return [examples, pictures[-1], asked[-1]], {}


def solved(question: str, answer: str, stop: str = " .") -> str:
    return f"question : {question} answer : {answer}{stop}"


def open_text(question: str) -> str:
    return f"question : {question} answer :"


def joined(examples, query, question, *, each=None, last=None) -> list:
    """The prompt with other parts for each example, (picture, question, answer) -> list, and for the end."""
    each = each or (lambda p, q, a: [p, solved(q, a)])
    last = last or (lambda p, q: [p, open_text(q)])
    return [part for one in examples for part in each(*one)] + last(query, question)


def glued(stop: str) -> Callable:
    """The prompt with colons that touch the word before them."""
    return lambda e, p, q: joined(
        e,
        p,
        q,
        each=lambda p, q, a: [p, f"question: {q} answer: {a}{stop}"],
        last=lambda p, q: [p, f"question: {q} answer:"],
    )


FEW_SHOT_MISTAKES: dict = {
    "the colons need a space before them: ' :' is a token of its own.": (
        glued(" ."),
        glued("."),
        lambda e, p, q: joined(e, p, q, each=lambda p, q, a: [p, f"question: {q} answer: {a} ."]),
    ),
    "there are two question marks: `question` already ends with one.": (
        lambda e, p, q: joined([[one, f"{asked} ?", a] for one, asked, a in e], p, f"{q} ?"),
        lambda e, p, q: joined([[one, f"{asked} ?", a] for one, asked, a in e], p, q),
        lambda e, p, q: joined(e, p, f"{q} ?"),
    ),
    "question and answer of the examples are exchanged.": lambda e, p, q: joined(
        e, p, q, each=lambda p, q, a: [p, solved(a, q)]
    ),
    "question and answer of an example are two parts: they are one text.": lambda e, p, q: joined(
        e, p, q, each=lambda p, q, a: [p, f"question : {q}", f"answer : {a} ."]
    ),
    "the query's picture comes after the open question; it comes before it.": lambda e, p, q: (
        joined(e, p, q, last=lambda p, q: [open_text(q), p])
    ),
    "all parts of the examples are reversed: each picture stands before its text.": lambda e, p, q: (
        joined(e, p, q)[:-2][::-1] + [p, open_text(q)]
    ),
    "the picture comes after its text: it comes before it.": lambda e, p, q: joined(
        e, p, q, each=lambda p, q, a: [solved(q, a), p], last=lambda p, q: [open_text(q), p]
    ),
    "the pictures of the examples come after their texts; each comes before its own.": lambda e, p, q: (
        joined(e, p, q, each=lambda p, q, a: [solved(q, a), p])
    ),
    "the query's picture is missing.": lambda e, p, q: joined(
        e, p, q, last=lambda p, q: [open_text(q)]
    ),
    "the open question is missing at the end.": lambda e, p, q: joined(
        e, p, q, last=lambda p, q: [p]
    ),
    "the examples' pictures are missing.": lambda e, p, q: joined(
        e, p, q, each=lambda p, q, a: [solved(q, a)]
    ),
    "all pictures come first: each stands right before its own text.": lambda e, p, q: [
        *[one[0] for one in e],
        p,
        *[solved(*one[1:]) for one in e],
        open_text(q),
    ],
    "the full stops after the examples' answers are missing.": lambda e, p, q: joined(
        e, p, q, each=lambda p, q, a: [p, solved(q, a, "")]
    ),
    "the full stops need a space before them: ' .' is a token of its own.": lambda e, p, q: joined(
        e, p, q, each=lambda p, q, a: [p, solved(q, a, ".")]
    ),
    "the open question ends with a full stop: the answer is to follow.": lambda e, p, q: joined(
        e, p, q, last=lambda p, q: [p, f"{open_text(q)} ."]
    ),
    "the open question ends with a space: end with 'answer :'.": lambda e, p, q: joined(
        e, p, q, last=lambda p, q: [p, f"{open_text(q)} "]
    ),
    "the open question lacks 'answer :' at its end.": lambda e, p, q: joined(
        e, p, q, last=lambda p, q: [p, f"question : {q}"]
    ),
    "the examples' questions are missing: each has its own.": lambda e, p, q: joined(
        e, p, q, each=lambda p, q, a: [p, f"answer : {a} ."]
    ),
    "the examples ask the query's question: each has its own.": lambda e, p, q: joined(
        e, p, q, each=lambda p, _, a: [p, solved(q, a)]
    ),
    "the examples' answers are missing.": lambda e, p, q: joined(
        e, p, q, each=lambda p, q, a: [p, open_text(q)]
    ),
    "the order of the examples is reversed.": lambda e, p, q: joined(e[::-1], p, q),
    "the query comes first: it comes after the examples.": lambda e, p, q: [
        p,
        open_text(q),
        *joined(e, p, q)[:-2],
    ],
    "the examples are missing.": lambda e, p, q: joined([], p, q),
    "the parts are nested: return one flat list.": (
        lambda e, p, q: [*[[one[0], solved(*one[1:])] for one in e], [p, open_text(q)]],
        lambda e, p, q: [*[[one[0], solved(*one[1:])] for one in e], p, open_text(q)],
    ),
}


def naming_inputs(generator: torch.Generator, induction: bool, repeats: int) -> tuple[list, dict]:
    names, pictures = shuffled(generator, INVENTED)[:2], shuffled(generator, range(10, 30))
    names = sorted(names, reverse=True)  # so that sorting them is a mistake
    order = [names[0], names[1], names[1], names[0]]
    examples = [[picture, name] for picture, name in zip(pictures, order)]
    return [examples, pictures[-1], induction, repeats], {}


def naming(e, q, induction, repeats, *, names=None, examples=None, first=None, last=None) -> list:
    """naming_prompt with other names, examples, a first sentence or an end."""
    names = list(dict.fromkeys(n for _, n in e)) if names is None else names
    examples = list(e) * (1 + repeats) if examples is None else examples
    sentence = first if first is not None else f"answer with {' or '.join(names)} ."
    parts = [sentence] if induction else []
    for picture, name in examples:
        parts += [picture, f"this is a {name} ."]
    return parts + ([q, "question : what is this ? answer : this is a"] if last is None else last)


NAMING_MISTAKES: dict[str, Callable] = {
    "with `repeats` the examples are shown once too seldom: 0 repeats still show them once.": (
        lambda e, q, i, r: naming(e, q, i, r, examples=list(e) * r)
    ),
    "the repeats are missing.": lambda e, q, i, r: naming(e, q, i, r, examples=list(e)),
    "the examples are shown once too often.": lambda e, q, i, r: naming(e, q, i, r + 1),
    "each example is repeated right after itself: repeat the whole list.": lambda e, q, i, r: (
        naming(e, q, i, r, examples=[one for one in e for _ in range(1 + r)])
    ),
    "a name stands more than once in the first sentence: name each once.": lambda e, q, i, r: (
        naming(e, q, i, r, names=[n for _, n in e])
    ),
    "the names are in another order: they come in the order of their first example.": lambda e, q, i, r: (
        naming(e, q, i, r, names=sorted({n for _, n in e}))
    ),
    "the first sentence joins the names with 'and'; it is 'or'.": lambda e, q, i, r: naming(
        e, q, i, r, first=f"answer with {' and '.join(dict.fromkeys(n for _, n in e))} ."
    ),
    "the first sentence joins the names with commas; it is 'or'.": lambda e, q, i, r: naming(
        e, q, i, r, first=f"answer with {', '.join(dict.fromkeys(n for _, n in e))} ."
    ),
    "the first sentence joins the names with ' , '; it is 'or'.": lambda e, q, i, r: naming(
        e, q, i, r, first=f"answer with {' , '.join(dict.fromkeys(n for _, n in e))} ."
    ),
    "the full stop of the first sentence is missing.": lambda e, q, i, r: naming(
        e, q, i, r, first=f"answer with {' or '.join(dict.fromkeys(n for _, n in e))}"
    ),
    "the full stop after each example is missing.": lambda e, q, i, r: [
        part.removesuffix(" .") if isinstance(part, str) and part.startswith("this") else part
        for part in naming(e, q, i, r)
    ],
    "the sentence with the names comes last; it is the first part.": lambda e, q, i, r: (
        lambda parts: [*parts[1:-2], parts[0], *parts[-2:]] if i else parts
    )(naming(e, q, i, r)),
    "the sentence with the names is repeated with the examples: it stands once.": lambda e, q, i, r: (
        naming(e, q, i, r)[: 1 if i else 0] * r + naming(e, q, i, r)
    ),
    "the first sentence stands in the wrong case: only with `induction`.": lambda e, q, i, r: (
        naming(e, q, not i, r)
    ),
    "the query's picture is missing.": lambda e, q, i, r: naming(
        e, q, i, r, last=["question : what is this ? answer : this is a"]
    ),
    "the open question is missing at the end.": lambda e, q, i, r: naming(e, q, i, r, last=[q]),
    "the open question stands before the query's picture.": lambda e, q, i, r: naming(
        e, q, i, r, last=["question : what is this ? answer : this is a", q]
    ),
    "the order of the examples is reversed.": lambda e, q, i, r: naming(
        e, q, i, r, examples=(list(e) * (1 + r))[::-1], names=list(dict.fromkeys(n for _, n in e))
    ),
    "the sentence with the names is repeated, too: it stands once, at the beginning.": lambda e, q, i, r: (
        naming(e, q, i, 0, last=[]) * (1 + r) + naming([], q, False, 0)
    ),
}


def without_alike(induction: bool, repeats: int) -> dict[str, Callable]:
    """The mistakes that give another prompt in this case than the right answer and than the mistakes before them."""
    args, _ = naming_inputs(torch.Generator().manual_seed(0), induction, repeats)
    seen, kept = [reference.naming_prompt(*args)], {}
    for words, wrong in NAMING_MISTAKES.items():
        if (value := wrong(*args)) not in seen:
            seen.append(value)
            kept[words] = wrong
    return kept


def explain_naming(got: object, wanted: list, *_) -> str | None:
    if isinstance(got, list) and got[:-1] == wanted[:-1] and isinstance(got[-1], str):
        return f"the last text is '{got[-1]}'; it should be '{wanted[-1]}'."
    return None


def naming_rule(induction: bool, repeats: int):
    return rule(
        "naming_prompt",
        lambda generator: naming_inputs(generator, induction, repeats),
        reference.naming_prompt,
        without_alike(induction, repeats),
        explain=explain_naming,
        rounds=2,
    )


EXERCISES = {
    "few_shot_prompt": Exercise(
        "Pictures and texts in turn, answered questions first, then the open one.",
        (
            pure_rule(
                "few_shot_prompt",
                few_shot_inputs,
                reference.few_shot_prompt,
                FEW_SHOT_MISTAKES,
                "the caller's examples were changed: build a new list.",
            ),
        ),
        reference=reference.few_shot_prompt,
    ),
    "naming_prompt": Exercise(
        "The task's names, the examples with their repeats, and the open question.",
        tuple(
            naming_rule(induction, repeats)
            for induction, repeats in ((True, 0), (False, 0), (True, 2), (False, 1))
        ),
        reference=reference.naming_prompt,
    ),
}
