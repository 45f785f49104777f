"""Lesson 07: the checks of the exercises on prompts. Pictures are whole numbers there."""

from __future__ import annotations

from collections.abc import Callable

import torch

from teaching import frozen_reference as reference
from teaching.exercises import Exercise, distinguishing, number, pure_rule, rule
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
    "the colons need a space before them: ' :' is a token of its own.": (glued(" ."), glued(".")),
    "there are two question marks: `question` already ends with one.": lambda e, p, q: joined(
        [[picture, f"{asked} ?", answer] for picture, asked, answer in e], p, f"{q} ?"
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
    "the parts are nested: return one flat list.": lambda e, p, q: [
        *[[one[0], solved(*one[1:])] for one in e],
        [p, open_text(q)],
    ],
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
    "the names are sorted: they come in the order of their first example.": lambda e, q, i, r: (
        naming(e, q, i, r, names=sorted({n for _, n in e}))
    ),
    "the first sentence joins the names with 'and'; it is 'or'.": lambda e, q, i, r: naming(
        e, q, i, r, first=f"answer with {' and '.join(dict.fromkeys(n for _, n in e))} ."
    ),
    "the first sentence joins the names with commas; it is 'or'.": lambda e, q, i, r: naming(
        e, q, i, r, first=f"answer with {', '.join(dict.fromkeys(n for _, n in e))} ."
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


def swap_inputs(generator: torch.Generator) -> tuple[list, dict]:
    count, shots = number(generator, 3, 4), number(generator, 2, 3)
    pictures, prompts = shuffled(generator, range(10, 60)), []
    for _ in range(count):
        names, prompt = shuffled(generator, INVENTED)[:shots], []
        for name in names:
            prompt += [pictures.pop(), f"this is a {name} ."]
        prompts.append([*prompt, pictures.pop(), "this is a"])
    return [prompts], {}


def with_pictures(prompts, choose) -> list:
    """The prompts with other pictures: choose(own pictures, those of the next, those of the one before)."""
    own = [[part for part in prompt if not isinstance(part, str)] for prompt in prompts]
    found = []
    for i, prompt in enumerate(prompts):
        given = iter(choose(own[i], own[(i + 1) % len(own)], own[i - 1]))
        found.append([part if isinstance(part, str) else next(given) for part in prompt])
    return found


SWAP_MISTAKES: dict[str, Callable] = {
    "nothing was swapped.": lambda p: with_pictures(p, lambda a, b, c: a),
    "the query's picture was swapped, too: then the right answer is another one.": lambda p: (
        with_pictures(p, lambda a, b, c: b)
    ),
    "only the query's picture was swapped; it is the one that stays.": lambda p: with_pictures(
        p, lambda a, b, c: [*a[:-1], b[-1]]
    ),
    "the examples' pictures come from the prompt before; take the next one's.": lambda p: (
        with_pictures(p, lambda a, b, c: [*c[:-1], a[-1]])
    ),
    "the pictures come from the prompt before, the query's too.": lambda p: with_pictures(
        p, lambda a, b, c: c
    ),
    "the examples' pictures changed their order: keep the next prompt's.": lambda p: with_pictures(
        p, lambda a, b, c: [*b[:-1][::-1], a[-1]]
    ),
    "the prompt's own pictures were mixed: take those of the next prompt.": (
        lambda p: with_pictures(p, lambda a, b, c: [*a[:-1][::-1], a[-1]]),
        lambda p: with_pictures(p, lambda a, b, c: [*a[1:-1], a[0], a[-1]]),
    ),
    "the texts moved, too: only pictures do.": (
        lambda p: [*p[1:], p[0]],
        lambda p: [[*b[:-2], *a[-2:]] for a, b in zip(p, [*p[1:], p[0]])],
    ),
    "the last prompt is missing or unchanged: its next one is the first.": (
        lambda p: with_pictures(p, lambda a, b, c: [*b[:-1], a[-1]])[:-1],
        lambda p: with_pictures(p, lambda a, b, c: [*b[:-1], a[-1]])[:-1] + [p[-1]],
    ),
}

EXERCISES = {
    "few_shot_prompt": Exercise(
        "Pictures and texts in turn, answered questions first, then the open one.",
        (
            pure_rule(
                "few_shot_prompt",
                distinguishing(few_shot_inputs, reference.few_shot_prompt, FEW_SHOT_MISTAKES),
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
    "swap_examples": Exercise(
        "Other pictures in the examples, the same texts, and the query as it was.",
        (
            pure_rule(
                "swap_examples",
                distinguishing(swap_inputs, reference.swap_examples, SWAP_MISTAKES),
                reference.swap_examples,
                SWAP_MISTAKES,
                "the caller's prompts were changed: build new lists.",
            ),
        ),
        reference=reference.swap_examples,
    ),
}
