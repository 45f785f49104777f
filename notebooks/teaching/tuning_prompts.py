"""Lesson 06: the checks of the exercises on prompts, trained and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import driver_source

# Exercise 9


def prompt_logits(decode: Callable, prompt: Tensor, embeddings: Tensor) -> Tensor:
    rows = prompt.expand(len(embeddings), -1, -1)
    return decode(torch.cat([rows, embeddings], dim=1))[:, len(prompt) :]


def run_prompt(target, prompt, embeddings, weight):
    """Driver: [logits, gradient of their sum with respect to the prompt]."""
    import torch

    def decode(x):  # causal; what is further back counts less, so that order matters
        back = torch.arange(x.shape[1])[:, None] - torch.arange(x.shape[1])
        return (0.8 ** back.clamp(min=0) * (back >= 0)) @ x @ weight

    learned = prompt.clone().requires_grad_(True)
    logits = target(decode, learned, embeddings)
    if not isinstance(logits, torch.Tensor):
        return logits
    if not logits.requires_grad:
        return [logits, torch.zeros_like(prompt)]
    (found,) = torch.autograd.grad(logits.sum(), [learned], allow_unused=True)
    return [logits.detach(), torch.zeros_like(prompt) if found is None else found]


def prompt_inputs(generator: torch.Generator) -> tuple[list, dict]:
    vectors, length, width = (number(generator, low, low + 1) for low in (2, 5, 4))
    batch, words = number(generator, 2, 3), number(generator, 6, 8)
    shapes = (vectors, width), (batch, length, width), (width, words)
    return [normal(generator, *shape) for shape in shapes], {}


def with_gradient(function: Callable) -> Callable:
    def run(prompt, embeddings, weight):
        return run_prompt(lambda *args: function(*args), prompt, embeddings, weight)

    return run


def joined(decode, prompt, embeddings, order=1):
    rows = prompt.expand(len(embeddings), -1, -1)
    return decode(torch.cat([rows, embeddings][::order], dim=1))


PROMPT_MISTAKES = {
    "the logits of the prompt's own positions are still there: drop them, one for each word is left.": with_gradient(
        joined
    ),
    "the wrong positions are dropped: the prompt's logits come first.": with_gradient(
        lambda d, p, e: joined(d, p, e)[:, : e.shape[1]]
    ),
    "the prompt stands behind the text: in a causal model no word can then read it.": (
        with_gradient(lambda d, p, e: joined(d, p, e, -1)[:, len(p) :]),
        with_gradient(lambda d, p, e: joined(d, p, e, -1)),
    ),
    "the prompt has no effect: it isn't used, or it stands behind the text, where no word can read it.": (
        with_gradient(lambda d, p, e: d(e)),
        with_gradient(lambda d, p, e: joined(d, p, e, -1)[:, : e.shape[1]]),
    ),
    "the logits are right, but no gradient reaches the prompt: no detach, no no_grad.": with_gradient(
        lambda d, p, e: prompt_logits(d, p.detach(), e)
    ),
    "the prompt is added to the first words: it has positions of its own.": with_gradient(
        lambda d, p, e: d(torch.cat([e[:, : len(p)] + p, e[:, len(p) :]], 1))
    ),
    "the prompt is added to every word: it has positions of its own.": with_gradient(
        lambda d, p, e: d(e + p.mean(0))
    ),
    "the prompt takes the place of the first words: it stands before all of them.": (
        with_gradient(lambda d, p, e: joined(d, p, e[:, len(p) :])),
    ),
    "all positions of the prompt have the same vector, the mean: each has its own.": with_gradient(
        lambda d, p, e: prompt_logits(d, p.mean(0, keepdim=True).expand(len(p), -1), e)
    ),
    "the prompt's vectors stand in the opposite order.": with_gradient(
        lambda d, p, e: prompt_logits(d, p.flip(0), e)
    ),
    "that is one position too many, a logit of the prompt's last vector.": with_gradient(
        lambda d, p, e: joined(d, p, e)[:, len(p) - 1 :]
    ),
    "those are shifted by one: start at the position of the first word.": with_gradient(
        lambda d, p, e: joined(d, p, e)[:, len(p) - 1 : -1]
    ),
    "the mean of the prompt stands there once: each of its vectors has a position of its own.": with_gradient(
        lambda d, p, e: prompt_logits(d, p.mean(0, keepdim=True), e)
    ),
}  # fmt: skip

# Exercise 11


def few_shot_prompt(examples: Mapping[str, str], noun: str) -> str:
    solved = [f"{word} : {answer} ." for word, answer in examples.items()]
    return " ".join([*solved, f"{noun} :"])


def prompt_text_inputs(generator: torch.Generator) -> tuple[list, dict]:
    words = ["cat", "car", "hat", "oak", "bus", "cow"]
    places = ["house", "street", "wardrobe", "forest", "town", "farm"]
    order = torch.randperm(6, generator=generator).tolist()
    count = number(generator, 2, 4)
    return [{words[i]: places[i] for i in order[:count]}, words[order[5]]], {}


def written(
    example: str = "{} : {} .", last: str = "{} :", gap: str = " ", order: int = 1
) -> Callable:
    def write(examples: Mapping[str, str], noun: str) -> str:
        solved = [example.format(*pair) for pair in list(examples.items())[::order]]
        return gap.join([*solved, last.format(noun)])

    return write


TEXT_MISTAKES = {
    "the full stop after each answer is missing: without it the examples run into each other.": written(
        "{} : {}"
    ),
    "the last colon is missing: the prompt must end where the answer starts.": written(last="{}"),
    "nothing may follow the last colon: the answer is the model's.": (
        written(last="{} : ."),
        written(last="{} : ?"),
        lambda e, n: written()(e, n) + " ",
    ),
    "the question stands first: it must come last, after the examples.": (
        lambda e, n: " ".join([f"{n} :", *(f"{w} : {a} ." for w, a in e.items())])
    ),
    "the examples are missing.": lambda e, n: f"{n} :",
    "the question is missing: after the examples comes the noun, with its colon.": (
        lambda e, n: " ".join(f"{w} : {a} ." for w, a in e.items())
    ),
    "noun and answer are exchanged in the examples.": (
        lambda e, n: written()({a: w for w, a in e.items()}, n)
    ),
    "the examples are in another order than given.": (
        written(order=-1),
        lambda e, n: written()(dict(sorted(e.items())), n),
    ),
    "the colon between noun and answer is missing.": written("{} {} ."),
    "a full stop ends each example, no comma: see the form above.": written("{} : {} ,"),
    "words and signs must be separated by single spaces, as in the model's texts.": (
        written("{}: {}.", "{}:"),
        written(gap="  "),
        written(gap=""),
        written(gap="\n"),
    ),
}

EXERCISES = {
    "prompt_logits": Exercise(
        "The prompt is read before the words, has no logits of its own, and gets a gradient.",
        (
            rule(
                "prompt_logits",
                prompt_inputs,
                with_gradient(prompt_logits),
                PROMPT_MISTAKES,
                driver=driver_source(run_prompt),
            ),
        ),
        reference=prompt_logits,
    ),
    "few_shot_prompt": Exercise(
        "Solved examples first, then the question, and nothing after its colon.",
        (
            rule(
                "few_shot_prompt",
                prompt_text_inputs,
                few_shot_prompt,
                TEXT_MISTAKES,
            ),
        ),
        reference=few_shot_prompt,
    ),
}  # fmt: skip
