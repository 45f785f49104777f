"""Kinds of documents that the course's language model is trained on. Each is a function draws -> text.

Where a page would show a picture, these texts have a *slot*: a description, with or without the image tag before it, so
that later a picture can stand there. Names are drawn anew in each document, so they can only be known from the context.
All texts are words separated by single spaces, so that they can be split quickly. Words that the text before them
decides (a name said before, an answer) are marked, so that training can weigh them: most words of a text are drawn at
random, and all that they teach is how often they are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from vlmcourse.world.nouns import Noun, article, nouns
from vlmcourse.world.scenes import BACKGROUNDS, SeededRandom, novel_nouns, split_of
from vlmcourse.world.tokenizer import INVENTED

TAG, CLOSE = "<image>", "<EOC>"
MARK = "*"
"""Before a word that follows from the text before it."""
COLOURS = tuple(BACKGROUNDS)


def mark(words: str) -> str:
    """The words, each marked as one that follows from the text before it."""
    return " ".join(MARK + word for word in words.split())


@cache
def _backgrounds() -> dict[str, tuple[str, ...]]:
    """Backgrounds on which a noun may be described: those of the training pictures, or all for nouns they never show."""
    novel = novel_nouns()
    return {
        one.word: COLOURS
        if one.word in novel
        else tuple(colour for colour in COLOURS if split_of((one.word,), colour) == "train")
        for one in nouns()
    }


def background(one: Noun, draws: SeededRandom) -> str:
    return draws.choice(_backgrounds()[one.word])


def describe(one: Noun, colour: str, draws: SeededRandom) -> str:
    """One thing on a background in one of eleven forms, from a caption down to a word."""
    word, name = one.word, article(one.word)
    return draws.choice(
        (
            f"{word} {colour}",
            f"{word} {colour}",
            f"{word} {colour}",
            word,
            word,
            name,
            f"{name} on {colour}",
            f"{name} on a {colour} background",
            f"on {colour} {name}",
            f"a picture of {name} on {colour}",
            f"a picture of {name}",
            f"a photo of {name}",
            f"a drawing of {name}",
        )
    )


# Slots: what stands in a text for a picture. One layout holds for a whole document.

PLAIN_SLOT, BARE_SLOT = ("", "{} .", ""), ("", "{}", "")
LAYOUTS: tuple[tuple[str, str, str], ...] = (
    *(PLAIN_SLOT,) * 4,
    BARE_SLOT,
    ("", "{} .", CLOSE),
    *(("", f"{TAG} {{}} .", CLOSE),) * 3,
    *(("", f"{TAG} . {{}} .", CLOSE),) * 3,
    ("", f"{TAG} {{}} .", ""),
    ("", f"{{}} {TAG} .", CLOSE),
)
"""(before the first, a slot, between what was said and the next slot)."""


def page(items: Sequence[tuple[str, str]], draws: SeededRandom) -> str:
    """(description, what is said of it) one after the other, in one layout."""
    _, slot, close = draws.choice(LAYOUTS)
    between = f" {close} " if close else " "
    return between.join(f"{slot.format(description)} {said}" for description, said in items) + (
        f" {close}" if close else ""
    )


# Names.

NAMINGS = ("this is {1} .",) * 6 + (
    "{0} .",
    "{0} .",
    "{1} .",
    "it is {1} .",
    "name : {0} .",
    "this is called {1} .",
    "question : what is this ? answer : {0} .",
    "question : what is this ? answer : this is {1} .",
    "the name is {0} .",
    "caption : {1} .",
)


def named_pages(draws: SeededRandom) -> str:
    """One to five things with invented names on a page; each is described anew, or always in the same words."""
    count = draws.choice((1, 2, 2, 3, 3, 4, 4, 5))
    things, names = draws.sample(nouns(), count), draws.sample(INVENTED, count)
    form, same = draws.choice(NAMINGS), draws.random() < 0.4
    fixed = [describe(one, background(one, draws), draws) for one in things]
    last = draws.choice((form, form, "question : what is this ? answer : this is {1} ."))
    first = draws.sample(range(count), count) if draws.random() < 0.5 else [0]
    order = [*first, *(int(draws.random() * count) for _ in range(1 + int(draws.random() * 14)))]
    items = []
    for place, number in enumerate(order):
        one = things[number]
        name, said = names[number], form if place < len(order) - 1 else last
        a, known = article(name).split()[0], mark(name) if number in order[:place] else name
        said = said.format(known, f"{a} {known}")
        items.append(
            (fixed[number] if same else describe(one, background(one, draws), draws), said)
        )
    start = (
        f"answer with {' or '.join(draws.sample(names, count))} . " if draws.random() < 0.15 else ""
    )
    return start + page(items, draws)


NEAR = (
    "{0} {1}",
    "{0} {1} .",
    "{0} . {1} .",
    "{0} . a {1} .",
    "{0} . this is a {1} .",
    "{0} blue . this is a {1} .",
)
SHORT = ("{0} {1}", "{0} {1}", "{0} {1} .", "{2} is a {1} .", "{2} . this is a {1} .")


def near_names(draws: SeededRandom) -> str:
    """Two to five things and their invented names, again and again, at most four words apart."""
    return _named_again(draws.choice(NEAR), draws)


def short_names(draws: SeededRandom) -> str:
    """Two to five things and their invented names, again and again, in one short form."""
    return _named_again(draws.choice(SHORT), draws)


def _named_again(form: str, draws: SeededRandom) -> str:
    count = 2 + int(draws.random() * 4)
    pairs = list(zip(draws.sample(nouns(), count), draws.sample(INVENTED, count)))
    shown = [draws.choice(pairs) for _ in range(9 + int(draws.random() * 8))]
    return " ".join(
        form.format(
            one.word,
            mark(name) if (one, name) in shown[:place] else name,
            article(one.word),
        )
        for place, (one, name) in enumerate(shown)
    )


# Facts and questions.

FACT_QUESTIONS: dict[str, tuple[str, str]] = {
    "category": ("what kind of thing is {} ?", "{} is {} ."),
    "place": ("where can you find {} ?", "you can find {} in the {} ."),
    "purpose": ("what is {} for ?", "{} is for {} ."),
    "size": ("is {} large or small ?", "{} is {} ."),
    "origin": ("is {} from nature or craft ?", "{} is from {} ."),
    "colour": ("what colour is {} ?", "{} is {} ."),
}
KNOWN = ("category", "place", "purpose")
_OFTEN = KNOWN * 3 + ("size", "origin", "colour")


def fact(draws: SeededRandom) -> str:
    """One thing that is known about a noun, as a sentence or as a question with its answer."""
    one, kind = draws.choice(nouns()), draws.choice(_OFTEN)
    name, value = article(one.word), getattr(one, kind)
    question, sentence = FACT_QUESTIONS[kind]
    if draws.random() < 0.4:
        known = mark(value)
        a = f"{article(value).split()[0]} " if kind == "category" else ""
        return sentence.format(name, a + known)
    prefix, middle = ("question : ", " answer :") if draws.random() < 0.5 else ("", "")
    return f"{prefix}{question.format(name)}{middle} {mark(value)} ."


def facts(draws: SeededRandom) -> str:
    return " ".join(fact(draws) for _ in range(8))


def _asked(one: Noun, colour: str, kind: str, draws: SeededRandom) -> tuple[str, str]:
    """A question of a kind about the thing that is described, and its marked answer."""
    if kind == "what":
        return draws.choice(("what is the thing ?", "what is the thing ?", "what is this ?")), mark(
            one.word
        )
    if kind == "background":
        return "what colour is the background ?", mark(colour)
    if kind == "presence":
        there = draws.random() < 0.5
        word = one.word if there else draws.choice(nouns()).word
        return f"is there {article(word)} ?", mark("yes" if word == one.word else "no")
    subject = f"the {one.word}" if kind == "colour" else "the thing"
    return FACT_QUESTIONS[kind][0].format(subject), mark(getattr(one, kind))


ASKED = KNOWN * 3 + ("what", "what", "size", "origin", "colour", "background", "presence")
FORMS = ("question : {} answer : {} .",) * 6 + (
    "{} {} .",
    "question : {} answer : {}",
    "question : {} {} .",
)


def _described_with(kinds: Sequence[str], form: str, draws: SeededRandom) -> tuple[str, str]:
    """A description with a colour wherever the colour is asked for, and questions of these kinds."""
    one = draws.choice(nouns())
    colour = background(one, draws)
    description = describe(one, colour, draws)
    if "background" in kinds and colour not in description.split():
        description = f"{one.word} {colour}"
    return description, " ".join(form.format(*_asked(one, colour, kind, draws)) for kind in kinds)


def questions(draws: SeededRandom) -> str:
    """Two to five descriptions, each with one or two questions, of one kind or mixed."""
    form, one_kind, kind = draws.choice(FORMS), draws.random() < 0.5, draws.choice(ASKED)
    items = []
    for _ in range(2 + int(draws.random() * 4)):
        kinds = (
            [kind]
            if one_kind
            else [draws.choice(ASKED) for _ in range(1 + int(draws.random() * 2))]
        )
        items.append(_described_with(kinds, form, draws))
    return page(items, draws)


def series(draws: SeededRandom) -> str:
    """One to sixteen solved questions of one kind, as few-shot prompts have them."""
    kind, form = draws.choice(ASKED), draws.choice(FORMS[:7])
    return page(
        [_described_with([kind], form, draws) for _ in range(1 + int(draws.random() ** 1.5 * 16))],
        draws,
    )


WHICH = ("category", "place", "purpose", "what", "size", "origin", "background")


def which(draws: SeededRandom) -> str:
    """'which ?', where only the examples tell what is asked: a kind of fact, or a word invented for each category."""
    form = draws.choice(
        ("question : which ? answer : {} .", "question : which ? answer : {} .", "{} .")
    )
    kinds = sorted({one.category for one in nouns()})
    sorting, kind = draws.random() < 0.4, draws.choice(WHICH)
    few = draws.sample(kinds, 2 + int(draws.random() * 2))
    words = dict(zip(few, draws.sample(INVENTED, len(few))))
    among = [one for one in nouns() if one.category in few] if sorting else nouns()
    items = []
    for _ in range(6 + int(draws.random() * 10)):
        one = draws.choice(among)
        colour = background(one, draws)
        description = (
            f"{one.word} {colour}"
            if kind == "background" and not sorting
            else describe(one, colour, draws)
        )
        answer = mark(words[one.category]) if sorting else _asked(one, colour, kind, draws)[1]
        items.append((description, form.format(answer)))
    return page(items, draws)
