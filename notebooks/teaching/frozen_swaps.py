"""Lesson 07: the check of the exercise on swapped examples. Pictures are whole numbers there."""

from __future__ import annotations

from collections.abc import Callable

import torch

from teaching import frozen_reference as reference
from teaching.exercises import Exercise, number, pure_rule
from teaching.frozen_prompts import shuffled
from vlmcourse.world.tokenizer import INVENTED


def swap_inputs(generator: torch.Generator) -> tuple[list, dict]:
    count, shots = number(generator, 3, 4), number(generator, 2, 3)
    pictures, prompts = shuffled(generator, range(10, 60)), []
    for _ in range(count):
        names, prompt = shuffled(generator, INVENTED)[:shots], []
        for name in names:
            prompt += [pictures.pop(), f"this is a {name} ."]
        prompts.append([*prompt, pictures.pop(), "this is a"])
    prompts[number(generator, 0, count - 1)].insert(0, f"answer with {' or '.join(INVENTED[:2])} .")
    return [prompts], {}


def with_pictures(prompts, choose) -> list:
    """The prompts with other pictures: choose(own pictures, those of the next, those of the one before)."""
    own = [[part for part in prompt if not isinstance(part, str)] for prompt in prompts]
    found = []
    for i, prompt in enumerate(prompts):
        given = iter(choose(own[i], own[(i + 1) % len(own)], own[i - 1]))
        found.append([part if isinstance(part, str) else next(given) for part in prompt])
    return found


def by_index(prompts) -> list:
    """The next prompt's part at the index of each example's picture, whatever it is."""
    found = []
    for prompt, other in zip(prompts, [*prompts[1:], prompts[0]]):
        *_, query = [i for i, part in enumerate(prompt) if not isinstance(part, str)]
        found.append(
            [
                part if isinstance(part, str) or i == query else other[i]
                for i, part in enumerate(prompt)
            ]
        )
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
    "the next prompt's query stands among the examples, and its first example is left out.": lambda p: (
        with_pictures(p, lambda a, b, c: [*b[1:], a[-1]])
    ),
    "all examples show the same picture, the next prompt's first.": lambda p: with_pictures(
        p, lambda a, b, c: [*[b[0]] * (len(b) - 1), a[-1]]
    ),
    "the examples have no pictures any more: they get those of the next prompt.": lambda p: (
        with_pictures(p, lambda a, b, c: [*[None] * (len(a) - 1), a[-1]])
    ),
    "the next prompt's parts are taken by their index: one that begins with a text has its pictures one later.": by_index,
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
    "swap_examples": Exercise(
        "Other pictures in the examples, the same texts, and the query as it was.",
        (
            pure_rule(
                "swap_examples",
                swap_inputs,
                reference.swap_examples,
                SWAP_MISTAKES,
                "the caller's prompts were changed: build new lists.",
            ),
        ),
        reference=reference.swap_examples,
    ),
}
