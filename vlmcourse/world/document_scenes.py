"""More kinds of documents for the language model: who is where, what moves which way, and numbers. See document_kinds."""

from __future__ import annotations

from vlmcourse.world.document_kinds import mark, page
from vlmcourse.world.nouns import article, nouns
from vlmcourse.world.scenes import BACKGROUNDS, SeededRandom
from vlmcourse.world.videos import DIRECTIONS

COLOURS = tuple(BACKGROUNDS)
RELATIONS = (
    ("left of", "right of"),
    ("right of", "left of"),
    ("above", "below"),
    ("below", "above"),
)


def _said(a: str, relation: str, b: str) -> str:
    """'a cat *left of a *dog': who is where, said again."""
    first, *of = relation.split()
    article, word = b.split()
    return " ".join((a, mark(first), *of, article, mark(word)))


def relations(draws: SeededRandom) -> str:
    """Who is left of, right of, above or below whom: said again, also with the order exchanged, and asked."""
    items, asks = [], draws.random() < 0.25
    for _ in range(3 + int(draws.random() * 3)):
        one, other = (thing.word for thing in draws.sample(nouns(), 2))
        relation, back = draws.choice(RELATIONS)
        a, b = article(one), article(other)
        straight, again, turned = f"{a} {relation} {b}", _said(a, relation, b), _said(b, back, a)
        if asks:
            said, true = draws.choice(
                (
                    (f"is the {one} {relation} the {other} ?", "yes"),
                    (f"is the {other} {back} the {one} ?", "yes"),
                    (f"is the {one} {back} the {other} ?", "no"),
                    (f"is the {other} {relation} the {one} ?", "no"),
                )
            )
            said_again = f"question : {said} answer : {mark(true)} ."
        else:
            said_again = f"{draws.choice((again, turned))} ."
        items.append(
            (draws.choice((straight, straight + f" on {draws.choice(COLOURS)}")), said_again)
        )
    return page(items, draws)


def motion(draws: SeededRandom) -> str:
    """Things that move left, right, up or down: said again, and asked."""
    items = []
    for _ in range(3 + int(draws.random() * 4)):
        word, way = draws.choice(nouns()).word, draws.choice(tuple(DIRECTIONS))
        sentence = f"{article(word)} moves {way}"
        items.append(
            (
                draws.choice((sentence, f"{word} {way}", sentence)),
                draws.choice(
                    (
                        f"{article(word)} moves {mark(way)} .",
                        f"question : where does the {word} move ? answer : {mark(way)} .",
                        f"question : what moves ? answer : {mark(word)} .",
                    )
                ),
            )
        )
    return page(items, draws)


def numbers(draws: SeededRandom) -> str:
    """Digits: read again, and sums below ten."""
    if draws.random() < 0.5:
        pairs = [(a := int(draws.random() * 10), int(draws.random() * (10 - a))) for _ in range(8)]
        form = draws.choice(("{} + {} = {} .", "{} {} . = {} ."))
        return " ".join(form.format(a, b, mark(str(a + b))) for a, b in pairs)
    items = []
    for _ in range(3 + int(draws.random() * 4)):
        number = " ".join(str(int(draws.random() * 10)) for _ in range(1 + int(draws.random() * 3)))
        items.append(
            (
                draws.choice((number, f"the number {number} on {draws.choice(COLOURS)}")),
                draws.choice(
                    (
                        f"the number {mark(number)} .",
                        f"question : what number can you see ? answer : {mark(number)} .",
                    )
                ),
            )
        )
    return page(items, draws)
