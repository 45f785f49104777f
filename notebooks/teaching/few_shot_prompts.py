"""Lesson 12: the checks of the exercises on prompts and renamed examples. Pictures are whole numbers there."""

from __future__ import annotations

from collections.abc import Callable

import torch

from teaching import few_shot_reference as reference
from teaching.exercises import Exercise, number, pure_rule, rule
from teaching.frozen_prompts import shuffled
from vlmcourse.world.tokenizer import INVENTED


def prompt_inputs(generator: torch.Generator) -> tuple[list, dict]:
    count = number(generator, 2, 4)
    pictures, names = shuffled(generator, range(10, 30)), shuffled(generator, INVENTED)
    examples = [[pictures[i], f"this is a {names[i]}"] for i in range(count)]
    return [examples, pictures[-1], "this is a"], {}


def no_examples(generator: torch.Generator) -> tuple[list, dict]:
    return [[], number(generator, 10, 30), "this is a"], {}


def joined(examples, query, start, *, each=None, last="<image> . {}", pictures=None, sep=" "):
    """The prompt with another text for each example, another end, or other pictures."""
    each = each or (lambda sentence, i: f"<image> . {sentence} . <EOC>")
    texts = [each(sentence, i) for i, (_, sentence) in enumerate(examples)]
    shown = [*[picture for picture, _ in examples], query] if pictures is None else pictures
    return [sep.join([*texts, last.format(start)]), shown]


def example(text: str) -> Callable:
    """The prompt with this text for each example."""
    return lambda e, q, s: joined(e, q, s, each=lambda sentence, i: text.format(sentence))


PROMPT_MISTAKES: dict = {
    "<EOC> is missing: it closes the text of each example.": example("<image> . {} ."),
    "<EOC> stands at the end, too: the query's text is still open.": lambda e, q, s: joined(
        e, q, s, last="<image> . {} <EOC>"
    ),
    "<EOC> stands before the first picture: nothing is closed there.": lambda e, q, s: joined(
        e, q, s, each=lambda t, i: f"<EOC> <image> . {t} .", last="<EOC> <image> . {}"
    ),
    "<EOC> comes after the last example only; each example has its own.": lambda e, q, s: joined(
        e, q, s, each=lambda t, i: f"<image> . {t} ." + " <EOC>" * (i == len(e) - 1)
    ),
    "<EOC> stands before the full stop: the sentence ends first.": example("<image> . {} <EOC> ."),
    "the full stops after <image> are missing.": (
        lambda e, q, s: joined(
            e, q, s, each=lambda t, i: f"<image> {t} . <EOC>", last="<image> {}"
        ),
        example("<image> {} . <EOC>"),
        lambda e, q, s: joined(e, q, s, last="<image> {}"),
    ),
    "the full stop after each example's sentence is missing.": example("<image> . {} <EOC>"),
    "a full stop needs a space before it: ' .' is a token of its own.": (
        example("<image> . {}. <EOC>"),
        example("<image>. {} . <EOC>"),
        lambda e, q, s: joined(
            e, q, s, each=lambda t, i: f"<image>. {t}. <EOC>", last="<image>. {}"
        ),
    ),
    "the open sentence ends with a full stop: the answer is to follow.": lambda e, q, s: joined(
        e, q, s, last="<image> . {} ."
    ),
    "the text ends with a space: end with `start`.": lambda e, q, s: joined(
        e, q, s, last="<image> . {} "
    ),
    "`start` is missing at the end.": lambda e, q, s: joined(e, q, s, last="<image> ."),
    "the query's <image> is missing in the text.": lambda e, q, s: joined(e, q, s, last="{}"),
    "each <image> stands after its sentence; it comes before it.": lambda e, q, s: joined(
        e, q, s, each=lambda t, i: f"{t} . <image> . <EOC>"
    ),
    "the query's picture is missing in the list.": lambda e, q, s: joined(
        e, q, s, pictures=[picture for picture, _ in e]
    ),
    "the query's picture stands first in the list; its tag is the last.": lambda e, q, s: joined(
        e, q, s, pictures=[q, *[picture for picture, _ in e]]
    ),
    "the examples' pictures are missing in the list.": lambda e, q, s: joined(
        e, q, s, pictures=[q]
    ),
    "the pictures are in another order than their tags.": lambda e, q, s: joined(
        e, q, s, pictures=[q, *[picture for picture, _ in e]][::-1]
    ),
    "the order of the examples is reversed.": lambda e, q, s: joined(e[::-1], q, s),
    "the texts are joined without a space.": lambda e, q, s: joined(e, q, s, sep=""),
    "text and pictures are exchanged in your result.": lambda e, q, s: joined(e, q, s)[::-1],
}


def explain_prompt(got: object, wanted: list, *_) -> str | None:
    if isinstance(got, (list, tuple)) and len(got) == 2 and not isinstance(got[0], str):
        return "the first part of your result isn't a text: join the pieces to one string."
    if isinstance(got, str):
        return "return two things: the text, and the list of pictures."
    if isinstance(got, (list, tuple)) and len(got) == 2 and got[0] != wanted[0]:
        return f"your text is '{got[0]}'; it should be '{wanted[0]}'."
    if isinstance(got, (list, tuple)) and len(got) == 2:
        return f"your list of pictures is {got[1]}; it should be {wanted[1]}."
    return None


def rename_inputs(generator: torch.Generator) -> tuple[list, dict]:
    options = shuffled(generator, INVENTED)[:4]
    pictures, order = shuffled(generator, range(10, 40)), shuffled(generator, range(4))
    order += [number(generator, 0, 3) for _ in range(number(generator, 1, 3))]
    words = ("this is a {}", "question : what is this ? answer : {}", "a {} again")
    examples = [
        [pictures[i], words[number(generator, 0, 2)].format(options[which])]
        for i, which in enumerate(order)
    ]
    examples.append([pictures[-1], "a {} beside a {}".format(*shuffled(generator, options)[:2])])
    return [examples, options[number(generator, 0, 3)], options], {}


def renamed(examples, answer, options, new=None, texts=True, answered=True) -> list:
    new = new or dict(zip(options, options[1:] + options[:1]))
    changed = [[p, " ".join(new.get(w, w) for w in s.split()) if texts else s] for p, s in examples]
    return [changed, new[answer] if answered else answer]


def one_after_the_other(turn: int = 1, answered: bool = False) -> Callable:
    """replace() for one name after the other. turn: -1 from the last name on; answered: in the answer, too."""

    def answer_by(examples, answer, options) -> list:
        pairs = list(zip(options, options[1:] + options[:1]))[::turn]

        def replaced(text: str) -> str:
            for old, new in pairs:
                text = text.replace(old, new)
            return text

        changed = [[p, replaced(s)] for p, s in examples]
        return [changed, replaced(answer) if answered else dict(pairs)[answer]]

    return answer_by


def first_name_only(examples, answer, options) -> list:
    new, changed = dict(zip(options, options[1:] + options[:1])), []
    for picture, sentence in examples:
        old = next(word for word in sentence.split() if word in options)
        changed.append([picture, sentence.replace(old, new[old], 1)])
    return [changed, new[answer]]


def moved_pictures(examples, answer, options) -> list:
    pictures = [p for p, _ in examples]
    return [
        [[p, s] for p, (_, s) in zip(pictures[1:] + pictures[:1], examples)],
        renamed(examples, answer, options)[1],
    ]


def end_only(examples, answer, options) -> list:
    new = dict(zip(options, options[1:]))
    return renamed(examples, answer, options, {o: new.get(o, o) for o in options})


RENAME_MISTAKES: dict = {
    "nothing was renamed.": lambda e, a, o: renamed(e, a, o, texts=False, answered=False),
    "the answer keeps its old name; the right answer is renamed, too.": lambda e, a, o: renamed(
        e, a, o, answered=False
    ),
    "only the answer was renamed; the examples keep their names.": lambda e, a, o: renamed(
        e, a, o, texts=False
    ),
    "each name became the option before it; take the next one.": lambda e, a, o: renamed(
        e, a, o, dict(zip(o, o[-1:] + o[:-1]))
    ),
    "the last option has a next one, too: the first.": end_only,
    "a renamed name was renamed again: one replace() after the other changes it several times.": (
        one_after_the_other(),
        one_after_the_other(answered=True),
        one_after_the_other(-1),
        one_after_the_other(-1, answered=True),
    ),
    "the examples are right, but the answer was renamed twice.": lambda e, a, o: [
        renamed(e, a, o)[0],
        renamed(e, renamed(e, a, o)[1], o)[1],
    ],
    "examples and answer are exchanged in your result.": lambda e, a, o: renamed(e, a, o)[::-1],
    "the order of the examples is reversed.": lambda e, a, o: [
        renamed(e, a, o)[0][::-1],
        renamed(e, a, o)[1],
    ],
    "a sentence may have several names: yours changes the first only.": first_name_only,
    "only the first example was renamed.": lambda e, a, o: [
        [renamed(e, a, o)[0][0], *e[1:]],
        renamed(e, a, o)[1],
    ],
    "the pictures moved; rename the texts, and leave the pictures.": moved_pictures,
    "only the answer's own name was changed; all names change.": lambda e, a, o: renamed(
        e, a, o, {x: x if x != a else dict(zip(o, o[1:] + o[:1]))[a] for x in o}
    ),
    "the sentences lost their words: only the name changes.": lambda e, a, o: [
        [[p, next(w for w in s.split() if w in o)] for p, s in renamed(e, a, o)[0]],
        renamed(e, a, o)[1],
    ],
}


def explain_rename(got: object, wanted: list, *_) -> str | None:
    """The first example that is wrong, beside what it should be."""
    if not isinstance(got, (list, tuple)) or len(got) != 2 or not isinstance(got[0], list):
        return "return two things: the list of examples, and the answer."
    if len(got[0]) != len(wanted[0]):
        return f"there are {len(wanted[0])} examples; yours has {len(got[0])}."
    for number_, (one, right) in enumerate(zip(got[0], wanted[0]), start=1):
        if not isinstance(one, (list, tuple)) or len(one) != 2:
            return "an example is a pair, (picture, sentence)."
        if not isinstance(one[1], str):
            return "a sentence is one text: join its words with spaces."
        if list(one) != list(right):
            return f"example {number_} is {tuple(one)}; it should be {tuple(right)}."
    return f"the answer is {got[1]!r}; it should be {wanted[1]!r}."


EXERCISES = {
    "few_shot_prompt": Exercise(
        "A text with one tag for each picture, closed examples, and an open end.",
        (
            pure_rule(
                "few_shot_prompt",
                prompt_inputs,
                lambda *args: list(reference.few_shot_prompt(*args)),
                PROMPT_MISTAKES,
                "the caller's examples were changed: build a new list.",
                explain_prompt,
            ),
            rule(
                "few_shot_prompt",
                no_examples,
                lambda *args: list(reference.few_shot_prompt(*args)),
                {
                    "without examples the text begins with a space.": lambda e, q, s: [
                        f" <image> . {s}",
                        [q],
                    ],
                    "without examples nothing is closed, but your text begins with <EOC>.": (
                        lambda e, q, s: [f" <EOC> <image> . {s}", [q]],
                        lambda e, q, s: [f"<EOC> <image> . {s}", [q]],
                    ),
                },
                explain=explain_prompt,
                rounds=1,
            ),
        ),
        reference.few_shot_prompt,
    ),
    "rename": Exercise(
        "All names move on by one, and the right answer with them.",
        (
            pure_rule(
                "rename",
                rename_inputs,
                lambda *args: list(
                    ([list(one) for one in reference.rename(*args)[0]], reference.rename(*args)[1])
                ),
                RENAME_MISTAKES,
                "the caller's examples were changed: build new ones.",
                explain_rename,
            ),
        ),
        reference.rename,
    ),
}
