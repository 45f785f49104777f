"""Scenes: one to four things on a coloured background, sampled as a pure function of (seed, split, index).

Splits are decided by stable hashes, so that they can never mix:

    train   known nouns, no held-out composition
    test    known nouns, at least one composition that training never contains: two nouns together, or, for a thing
            alone, a noun on that background
    novel   at least one noun that neither of the others ever shows
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations
from random import Random
from zlib import crc32

from vlmcourse.world.nouns import Noun, noun, nouns

BACKGROUNDS = {
    "white": (255, 255, 255),
    "grey": (184, 179, 168),
    "pink": (255, 196, 214),
    "blue": (176, 212, 255),
    "green": (190, 232, 178),
    "yellow": (255, 243, 160),
    "purple": (212, 192, 245),
    "brown": (222, 196, 164),
}
"""Grey is a warm one: a Vision Transformer normalises lengths away, so a neutral grey would look like a fainter white."""
SPLITS = ("train", "test", "novel")
QUARTERS = (
    (0.27, 0.27),
    (0.73, 0.27),
    (0.27, 0.73),
    (0.73, 0.73),
)  # x, y: top left, top right, bottom left, ...


@dataclass(frozen=True)
class Thing:
    """A noun's word at (x, y), the centre, with a size: all as fractions of the picture; y grows downwards."""

    word: str
    x: float
    y: float
    size: float

    def __post_init__(self):
        noun(self.word)  # an unknown word is an error here, where it was written

    @property
    def noun(self) -> Noun:
        return noun(self.word)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2 as fractions."""
        half = self.size / 2
        return self.x - half, self.y - half, self.x + half, self.y + half


@dataclass(frozen=True)
class Scene:
    """Things on a background (one of BACKGROUNDS). Later things are drawn over earlier ones."""

    things: tuple[Thing, ...]
    background: str

    def __post_init__(self):
        if self.background not in BACKGROUNDS:
            raise ValueError(
                f"no background '{self.background}'; expected one of {', '.join(BACKGROUNDS)}."
            )

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(thing.word for thing in self.things)


class SeededRandom(Random):
    """Random choices that are the same everywhere: seeded by text, built on random() alone, which never changes."""

    def __init__(self, *of):
        super().__init__("/".join(map(str, of)))

    def choice(self, options):
        return options[int(self.random() * len(options))]

    def sample(self, options, count: int) -> list:
        """`count` different ones, in random order."""
        remaining = list(options)
        return [remaining.pop(int(self.random() * len(remaining))) for _ in range(count)]


def _one_in(count: int, *words: str) -> bool:
    return crc32("+".join(sorted(words)).encode()) % count == 0


@cache
def novel_nouns() -> frozenset[str]:
    """About one noun in ten, held out of train and test."""
    return frozenset(noun.word for noun in nouns() if _one_in(10, noun.word))


@cache
def known_nouns() -> tuple[str, ...]:
    """The nouns that training shows."""
    return tuple(noun.word for noun in nouns() if noun.word not in novel_nouns())


def held_out(words: tuple[str, ...], background: str) -> bool:
    """Does this scene contain a composition that training never shows? One pair in five is held out."""
    if len(words) == 1:
        return _one_in(5, words[0], f"on {background}")
    return any(_one_in(5, *pair) for pair in combinations(words, 2))


def split_of(words: tuple[str, ...], background: str) -> str:
    """The one split a scene of these words can belong to."""
    if novel_nouns() & set(words):
        return "novel"
    return "test" if held_out(words, background) else "train"


@cache
def _all_words() -> tuple[str, ...]:
    return tuple(noun.word for noun in nouns())


@lru_cache(4096)  # a batch asks for each of its scenes several times
def sample(
    split: str,
    index: int,
    seed: int = 0,
    things: tuple[int, int] = (1, 4),
    noun_subset: tuple[str, ...] = (),
) -> Scene:
    """Scene number `index` of a split, with things[0] to things[1] different things.

    among  a smaller world: only these nouns are shown, so that each is met often. Default: all
    """
    if split not in SPLITS:
        raise ValueError(f"no split '{split}'; expected one of {', '.join(SPLITS)}.")
    if not 1 <= things[0] <= things[1] <= 4:
        raise ValueError(f"scenes of {things[0]} to {things[1]} things; expected between 1 and 4.")
    rng = (
        SeededRandom("among", seed, split, index)
        if noun_subset
        else SeededRandom(seed, split, index)
    )
    count = things[0] + int(rng.random() * (things[1] - things[0] + 1))
    pool = noun_subset or (_all_words() if split == "novel" else known_nouns())
    while True:  # about one try in three succeeds
        words, background = tuple(rng.sample(pool, count)), rng.choice(tuple(BACKGROUNDS))
        if split_of(words, background) == split:
            return arrange(words, background, rng)


def arrange(words: tuple[str, ...], background: str, rng: SeededRandom) -> Scene:
    """Puts words somewhere: one thing in a quarter or the middle, several in different quarters."""
    places = (
        rng.sample(QUARTERS, len(words))
        if len(words) > 1
        else [rng.choice((*QUARTERS, (0.5, 0.5)))]
    )
    return Scene(
        tuple(
            Thing(
                word,
                x + 0.06 * (rng.random() - 0.5),
                y + 0.06 * (rng.random() - 0.5),
                0.36 + 0.1 * rng.random(),
            )
            for word, (x, y) in zip(words, places)
        ),
        background,
    )
