"""Lesson 12: the checks of the exercises on prompts, generated answers and renamed examples. Pictures are whole numbers there."""

from __future__ import annotations

from collections.abc import Callable

import torch

from teaching import few_shot_reference as reference
from teaching.exercises import Exercise, number, number_rule, pure_rule, rule
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
    return None


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
    ]
    rows = shuffled(generator, [row for row in rows for _ in range(number(generator, 1, 7))])
    return [[text for text, _ in rows], [answer for _, answer in rows]], {}


def scored(sentence: Callable, equal: Callable = lambda a, b: a == b) -> Callable:
    """The share of texts whose `sentence` is the answer."""

    def share(texts, answers):
        return sum(equal(sentence(t), a) for t, a in zip(texts, answers)) / len(answers)

    return share


def first_sentence(text: str) -> str:
    return text.split("<EOC>")[0].split(".")[0].strip()


SCORE_MISTAKES: dict[str, Callable] = {
    "the whole text is compared: what follows the first sentence doesn't count.": scored(str.strip),
    "an answer counts if it occurs anywhere: 'no dax' is not 'dax'.": scored(
        first_sentence, lambda a, b: b in a
    ),
    "an answer counts if it occurs anywhere in the whole text.": scored(
        str.strip, lambda a, b: b in a
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
    "a text that <EOC> ends without a full stop is cut too late.": (
        scored(lambda t: t.split(".")[0].strip()),
        scored(lambda t: t.replace("<EOC>", "").split(".")[0].strip()),
    ),
    "only <EOC> cuts the text; a full stop ends the sentence, too.": scored(
        lambda t: t.split("<EOC>")[0].strip()
    ),
    "spaces around the sentence are compared, too: strip them.": scored(
        lambda t: t.split("<EOC>")[0].split(".")[0]
    ),
    "small and capital letters count as the same; the sentence must be the answer as it stands.": (
        scored(lambda t: first_sentence(t).lower())
    ),
    "this is a number of texts, not a share.": lambda t, a: (
        reference.open_score(t, a) * len(a) + 0.0
    ),
    "this is a percentage, not a share.": lambda t, a: 100 * reference.open_score(t, a),
    "this is the share of wrong answers.": lambda t, a: 1 - reference.open_score(t, a),
}


def rename_inputs(generator: torch.Generator) -> tuple[list, dict]:
    options = shuffled(generator, INVENTED)[:4]
    pictures, order = shuffled(generator, range(10, 40)), shuffled(generator, range(4))
    order += [number(generator, 0, 3) for _ in range(number(generator, 1, 3))]
    words = ("this is a {}", "question : what is this ? answer : {}", "a {} again")
    examples = [
        [pictures[i], words[number(generator, 0, 2)].format(options[which])]
        for i, which in enumerate(order)
    ]
    return [examples, options[number(generator, 0, 3)], options], {}


def renamed(examples, answer, options, new=None, texts=True, answered=True) -> list:
    new = new or dict(zip(options, options[1:] + options[:1]))
    changed = [[p, " ".join(new.get(w, w) for w in s.split()) if texts else s] for p, s in examples]
    return [changed, new[answer] if answered else answer]


def one_after_the_other(examples, answer, options) -> list:
    changed, said = [list(one) for one in examples], answer
    for old, new in zip(options, options[1:] + options[:1]):
        changed = [[p, s.replace(old, new)] for p, s in changed]
    new = dict(zip(options, options[1:] + options[:1]))
    return [changed, new[said]]


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
        one_after_the_other
    ),
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
                    ]
                },
                rounds=1,
            ),
        ),
        reference.few_shot_prompt,
    ),
    "open_score": Exercise(
        "The first sentence is the answer, or the text is wrong.",
        (
            rule("open_score", score_inputs, reference.open_score, SCORE_MISTAKES),
            number_rule("open_score", score_inputs),
        ),
        reference.open_score,
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
            ),
        ),
        reference.rename,
    ),
}
