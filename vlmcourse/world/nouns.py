"""The things of the world, and what is known about them that no picture shows."""

import csv
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files

PLURAL = frozenset(
    "grapes scissors trousers socks gloves jeans shears mittens cherries bread corn cheese maize".split()
)
"""Words that take 'some' instead of 'a'."""


@dataclass(frozen=True)
class Noun:
    """One drawable thing, with its facts: the colour of its artwork, and five that must be known, not seen."""

    word: str
    synonyms: tuple[str, ...]
    emoji: str
    category: str  # an animal, a fruit, ...
    colour: str
    place: str  # where one finds it
    purpose: str  # what it does or is for
    size: str  # small or large, in life
    origin: str  # nature or craft

    def __str__(self) -> str:
        return self.word


@cache
def nouns() -> tuple[Noun, ...]:
    """All nouns, in the order of nouns.csv."""
    with files(__package__).joinpath("nouns.csv").open(encoding="utf-8") as file:
        return tuple(
            Noun(**{**row, "synonyms": tuple(row["synonyms"].split())})
            for row in csv.DictReader(file)
        )


@cache
def _by_word() -> dict[str, Noun]:
    return {word: noun for noun in nouns() for word in (noun.word, *noun.synonyms)}


def noun(word: str) -> Noun:
    """The noun called `word`, or one of its synonyms. Raises ValueError, with the nearest known words."""
    if word not in _by_word():
        near = get_close_matches(word, _by_word(), n=3)
        raise ValueError(
            f"no noun '{word}' in the world"
            + (f"; did you mean {', '.join(near)}?" if near else "; ")
            + f" There are {len(nouns())}: {', '.join(map(str, nouns()[:6]))}, ... (vlmcourse.world.nouns())."
        )
    return _by_word()[word]


def article(word: str) -> str:
    """'a cat', 'an apple', 'some grapes'."""
    return f"some {word}" if word in PLURAL else f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
