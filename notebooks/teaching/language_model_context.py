"""Lesson 05's checks of in-context learning: the prompt, the induction rule, scores of heads, a head removed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from teaching import language_model_answers as answers
from teaching.exercises import Exercise, number, rule
from vlmcourse.world import documents, tokenizer

Examples = Sequence[Sequence[str]]


def drawn(words: Sequence[str], count: int, generator: torch.Generator) -> list[str]:
    """Different words in random order."""
    return [words[i] for i in torch.randperm(len(words), generator=generator)[:count].tolist()]


def prompt_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Two to four (description, name), and the description that is asked about: the first example's thing, in other words."""
    count = number(generator, 2, 4)
    things = drawn(documents.NOUN_WORDS, count, generator)
    names = drawn(tokenizer.INVENTED, count, generator)
    examples = [[f"{thing} blue", name] for thing, name in zip(things, names)]
    return [examples, f"{things[0]} green"], {}


def no_example_inputs(generator: torch.Generator) -> tuple[list, dict]:
    return [[], prompt_inputs(generator)[0][1]], {}


def written(example: str, question: str = "{0} . this is a", order: int = 1, joint: str = " "):
    """A prompt from the forms of an example and of the question."""
    return lambda examples, description: joint.join(
        [*(example.format(*pair) for pair in examples[::order]), question.format(description)]
    )


SHOWN = "{0} . this is a {1} ."
PROMPT_MISTAKES = {
    "the question is closed: the prompt ends with 'a', and the model goes on with the name.": (
        written(SHOWN, "{0} . this is a ."),
        written(SHOWN, "{0} . this is a."),
        written(SHOWN, "{0} ."),
        written(SHOWN, "{0}"),
    ),
    "the stop after each name is missing.": written("{0} . this is a {1}"),
    "the stop after each description is missing.": (
        written("{0} this is a {1} ."),
        written("{0} this is a {1} .", "{0} this is a"),
    ),
    "the examples stand in the opposite order.": written(SHOWN, order=-1),
    "the question stands first; the model must have read the examples before it.": lambda e, d: (
        " ".join([f"{d} . this is a", *(SHOWN.format(*pair) for pair in e)])
    ),
    "name and description of the examples are exchanged.": written("{1} . this is a {0} ."),
    "each example begins with its name: the description must come first.": (
        written("this is a {1} . {0} ."),
        written("this is a {1} {0} ."),
    ),
    "the examples show the description that is asked about: each has its own.": lambda e, d: (
        written(SHOWN)([(d, name) for _, name in e], d)
    ),
    "only the last example is there.": lambda e, d: written(SHOWN)(e[-1:], d),
    "only the first example is there.": lambda e, d: written(SHOWN)(e[:1], d),
    "the examples have no names: then nothing tells them.": written("{0} . this is a"),
    "words and stops must be separated by single spaces, also between two examples, and none at the end.": (
        written(SHOWN, joint=""),
        written(SHOWN, joint="  "),
        written("{0}. this is a {1}.", "{0}. this is a"),
        lambda e, d: written(SHOWN)(e, d) + " ",
    ),
    "put the examples on one line, with spaces between them.": written(SHOWN, joint="\n"),
    "the answer to the question is already in the prompt.": lambda e, d: (
        f"{written(SHOWN)(e, d)} {e[0][1]}"
    ),
}


def repeating_ids(generator: torch.Generator) -> tuple[list, dict]:
    """ids (T,) of a few different tokens, so that some come three times, and one only once."""
    ids = torch.randint(1, 5, (number(generator, 9, 12),), generator=generator)
    ids[number(generator, 3, 5)] = 9
    return [ids], {}


def rule_variant(ids: Tensor, first: bool = False, shift: int = 1, back: int = 1) -> Tensor:
    """`induction_rule` with the first earlier occurrence, another neighbour of it, or only places at least `back` before."""
    predicted = torch.full_like(ids, -1)
    for t in range(len(ids)):
        earlier = [i for i in range(t - back + 1) if ids[i] == ids[t]]
        if earlier:
            i = (earlier[0] if first else earlier[-1]) + shift
            predicted[t] = ids[i] if i >= 0 else -1
    return predicted


RULE_MISTAKES = {
    "the first earlier occurrence is used; the last one is wanted.": partial(
        rule_variant, first=True
    ),
    "that is the earlier occurrence itself: what came after it is wanted.": partial(
        rule_variant, shift=0
    ),
    "that is the token before the earlier occurrence; the one after it is wanted.": partial(
        rule_variant, shift=-1
    ),
    "that is the next token of the text, which is to be predicted: a position is no earlier occurrence of itself.": (
        lambda ids: torch.cat([ids[1:], torch.tensor([-1])])
    ),
    "a token that comes twice in a row is missed: the position just before t is an earlier one, too.": partial(
        rule_variant, back=2
    ),
    "that is simply the token before: where did the same token stand earlier?": lambda ids: (
        torch.cat([torch.tensor([-1]), ids[:-1]])
    ),
    "without an earlier occurrence the answer is -1, not 0.": lambda ids: answers.induction_rule(
        ids
    ).clamp(min=0),
    "without an earlier occurrence the answer is -1, not the token itself.": lambda ids: (
        torch.where(answers.induction_rule(ids) < 0, ids, answers.induction_rule(ids))
    ),
    "those are positions; the ids of the tokens at these positions are wanted.": lambda ids: (
        rule_positions(ids)
    ),
    "the predictions stand one place too late: position t has the prediction for t + 1.": lambda ids: (
        torch.cat([torch.tensor([-1]), answers.induction_rule(ids)[:-1]])
    ),
}


def rule_positions(ids: Tensor) -> Tensor:
    """Positions that the rule copies from, or -1."""
    found = torch.full_like(ids, -1)
    for t in range(len(ids)):
        for earlier in range(t):
            if ids[earlier] == ids[t]:
                found[t] = earlier + 1
    return found


PROMPT = Exercise(
    "The prompt ends where the name must come.",
    (
        rule(
            "few_shot_prompt",
            prompt_inputs,
            answers.few_shot_prompt,
            PROMPT_MISTAKES,
        ),
        rule(
            "few_shot_prompt",
            no_example_inputs,
            answers.few_shot_prompt,
            {
                "with no examples your prompt begins with a space.": (
                    lambda *texts: " " + answers.few_shot_prompt(*texts)
                ),
                "with no examples your prompt begins with a stop: a joint stands before the question even if nothing comes before it.": (
                    lambda *texts: " . " + answers.few_shot_prompt(*texts),
                    lambda *texts: ". " + answers.few_shot_prompt(*texts),
                ),
            },
            explain=lambda *_: (
                "with examples it is right; with no examples the prompt is the question alone."
            ),
        ),
    ),
    reference=answers.few_shot_prompt,
)
RULE = Exercise(
    "A rule without any weights, and it reads from the context alone.",
    (
        rule(
            "induction_rule",
            repeating_ids,
            answers.induction_rule,
            RULE_MISTAKES,
        ),
    ),
    reference=answers.induction_rule,
)
