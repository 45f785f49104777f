"""Pages with pictures and films in the text, as Flamingo trains on them, and prompts of the same form.

    <image> a cat on blue . <EOC> <image> a dog moves left . <EOC>

Four sources, as in the paper (Sec. 2.4): pages with several pictures (M3W), pictures with what the web writes under them
(ALIGN), pictures with longer descriptions (LTIP), films (VTP). Page number i of a source is a pure function of (seed, split, i).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from vlmcourse.lab import tokens
from vlmcourse.lab.world import captions
from vlmcourse.lab.world.motion import Film, film
from vlmcourse.lab.world.nouns import article
from vlmcourse.lab.world.pages import Episode, alone, naming, open_question, page, tagged
from vlmcourse.lab.world.questions import ask, quarter
from vlmcourse.lab.world.render import render, to_pixels
from vlmcourse.lab.world.scenes import Draws, Scene, known_nouns, sample

Part = str | Scene | Film
Frames = tuple[Scene, ...]
View = Callable[[np.ndarray], Tensor]
TAG, CLOSE = "<image>", "<EOC>"
EIGHTH = 8
"""Frames of a film."""


def written(parts: Sequence[Part]) -> str:
    """A page as text: <image> for each picture or film, <EOC> before each but a first one, and at the end."""
    return tagged([part.frames[0] if isinstance(part, Film) else part for part in parts], TAG, CLOSE)


def shown(parts: Sequence[Part]) -> list[Frames]:
    """The pictures (one frame) and films (several), in the order of their tags."""
    return [part.frames if isinstance(part, Film) else (part,) for part in parts if not isinstance(part, str)]


def read(text: str, pictures: Sequence[Scene | Film]) -> tuple[Part, ...]:
    """A page from a text with tags and its pictures: how one writes a prompt by hand.

    Raises ValueError for more tags than pictures or fewer, and for a tag in the middle of a word.
    """
    if inside := re.search(rf"\S*\w{TAG}\w\S*", text):
        raise ValueError(f"a tag in the middle of a word: '{inside.group()}'. Expected spaces around {TAG}.")
    if (count := text.count(TAG)) != len(pictures):
        raise ValueError(f"{count} times {TAG} in the text, and {len(pictures)} pictures; expected one tag for each, where it "
                         "belongs.")
    pieces, given = re.split(f"({TAG})", text.replace(CLOSE, " ")), iter(pictures)
    return tuple(next(given) if piece == TAG else piece.strip() for piece in pieces if piece.strip())


def pixels(films: Sequence[Frames], size: int, view: View = to_pixels) -> Tensor | list[Tensor]:
    """Pictures (M, 3, size, size); where there are films, (M, T, 3, size, size), or a list if they differ in length."""
    made = [view(np.stack([render(scene, size) for scene in frames])) for frames in films]
    if len({len(one) for one in made}) > 1:
        return made
    if not made:
        return torch.empty(0, 3, size, size)
    return torch.cat(made) if len(made[0]) == 1 else torch.stack(made)


@dataclass(frozen=True)
class Source:
    """Pages to learn from. `batch(indices)`: `ids` (B, T) padded on the right, `scored` (B, T), True at words, and pictures.

    page  index -> parts
    see   pictures and films -> what the batch says of them: {"pixels": ...}, or {"features": ...} of a tower
    """

    page: Callable[[int], Sequence[Part]]
    see: Callable[[list[Frames]], dict]

    def batch(self, indices: Sequence[int]) -> dict:
        pages = [self.page(index) for index in indices]
        ids = tokens.encode([written(parts) for parts in pages])
        tag = tokens.tokenizer().convert_tokens_to_ids(TAG)
        scored = (ids != tokens.PAD) & (ids != tokens.BOS) & (ids != tokens.EOS) & (ids != tag)
        return {"ids": ids, "scored": scored, **self.see([frames for parts in pages for frames in shown(parts)])}


@dataclass(frozen=True)
class Prompts:
    """Open pages, for a model to go on with: `batch(indices)` has `ids` (B, T) padded on the left, `real` (B, T), `pixels`."""

    pages: Sequence[Sequence[Part]]
    size: int
    view: View = to_pixels

    def __len__(self) -> int:
        return len(self.pages)

    def batch(self, indices: Sequence[int]) -> dict:
        pages = [self.pages[index] for index in indices]
        ids = tokens.encode([written(parts).removesuffix(CLOSE) for parts in pages])
        lengths = ids.ne(tokens.PAD).sum(1) - 1  # the page goes on: its end token is left out
        source = torch.arange(int(lengths.max())) - (int(lengths.max()) - lengths)[:, None]  # negative at padding
        real = source >= 0
        return {"ids": ids.gather(1, source.clamp(min=0)).where(real, tokens.PAD), "real": real,
                "pixels": pixels([frames for parts in pages for frames in shown(parts)], self.size, self.view)}


# The four sources. Scenes come from a pool of `pool` numbers, so that what a frozen tower makes of them can be kept.

@dataclass(frozen=True)
class Web:
    """Where pages come from: `split`, `seed`, and how many different scenes (and films) there are."""

    split: str = "train"
    seed: int = 0
    pool: int = 8192
    frames: int = EIGHTH

    def draws(self, kind: str, index: int) -> Draws:
        return Draws(kind, self.seed, self.split, index)

    def single(self, index: int) -> Scene:
        return sample(self.split, index % self.pool, self.seed, (1, 1))

    def several(self, index: int) -> Scene:
        return sample(self.split, index % self.pool, self.seed + 1, (1, 3))

    def film(self, index: int) -> Film:
        return _film(self, index % (self.pool // 8))

    # Each of these is a `page` of a Source.

    def pairs(self, index: int) -> tuple[Part, ...]:
        """ALIGN: a picture and a short text; one in ten belongs to another picture."""
        draws = self.draws("pairs", index)
        scene = self.several(index)
        said = self.several(index + 1) if draws.random() < 0.1 else scene
        return scene, f"{captions.varied(said, draws)} ."

    def described(self, index: int) -> tuple[Part, ...]:
        """LTIP: a picture and all that can be seen on it."""
        draws = self.draws("described", index)
        scene = self.single(index) if draws.random() < 0.6 else self.several(index)
        details = [f"the {one.word} is in the {quarter(one)} ." if draws.random() < 0.5 else f"the {one.word} is {one.noun.colour} ."
                   for one in scene.things]
        return scene, " ".join([f"{captions.detailed(scene, draws)} .", *draws.several(details, len(details))])

    def films(self, index: int) -> tuple[Part, ...]:
        """VTP: a film and a sentence, or a question with its answer."""
        draws, one = self.draws("films", index), self.film(index)
        question = draws.pick(one.questions())
        return one, draws.pick((f"{one.caption} .", f"{open_question(question)} {question.answer} ."))

    def pages(self, index: int) -> tuple[Part, ...]:
        """M3W: articles, pages where things get invented names, and pages of questions and answers, in equal parts.

        On half of the articles the text about a picture stands before it, and half of all pages are read as if it did: their
        pictures move before the text that precedes them (p_next = 1/2, Sec. A.3.2). Neither knows of the other.
        """
        draws = self.draws("pages", index)
        kind = draws.pick((self.article, self.names, self.questions))
        return kind(index, draws)

    def article(self, index: int, draws: Draws) -> tuple[Part, ...]:
        parts = page(self.split, index % (self.pool // 4), self.seed, (1, 4))
        return earlier(parts) if draws.random() < 0.5 else parts

    def names(self, index: int, draws: Draws) -> tuple[Part, ...]:
        """'this is a dax .' of several pictures of two to four things; the names mean nothing on any other page."""
        count = 2 + int(draws.random() * 3)
        words, names = self._things(index, draws, count), draws.several(tokens.INVENTED, count)
        order = [int(draws.random() * count) for _ in range(9 - count)]
        form = draws.pick(("this is {} .", "this is {} .", "question : what is this ? answer : this is {} ."))
        parts: list[Part] = []
        for number in (*range(count), *order):
            scenes = words[number]
            parts += [draws.pick(scenes), form.format(article(names[number]))]
        return tuple(parts)

    def _things(self, index: int, draws: Draws, count: int) -> list[list[Scene]]:
        """Pictures of `count` different things, several of each, out of one pool."""
        return [portraits(self.split, word, self.seed) for word in draws.several(portrayed(self.split), count)]

    def questions(self, index: int, draws: Draws) -> tuple[Part, ...]:
        parts: list[Part] = []
        kind = draws.pick(("what", "what", "colour", "presence", "category", "place"))
        for number in range(2 + int(draws.random() * 3)):
            scene = self.single(4 * index + number)
            one = ask(scene, draws, (kind,))
            parts += [scene, f"{open_question(one)} {one.answer} ."]
        return tuple(parts)


def earlier(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Every picture one text earlier: the text before it becomes the text after it."""
    made = list(parts)
    for place in range(1, len(made)):
        if not isinstance(made[place], str) and isinstance(made[place - 1], str):
            made[place - 1], made[place] = made[place], made[place - 1]
    return tuple(made)


@lru_cache(8192)
def _film(web: Web, index: int) -> Film:
    draws = web.draws("film", index)
    return film(sample(web.split, index, web.seed + 2, (1, 2)), draws, web.frames)


@lru_cache(4)
def portrayed(split: str) -> tuple[str, ...]:
    return tuple(word for word in known_nouns() if portraits(split, word, 0))


@lru_cache(1024)
def portraits(split: str, word: str, seed: int, count: int = 16) -> list[Scene]:
    """Pictures of a thing alone; none if the split has none."""
    draws = Draws("portrait", seed, split, word)
    try:
        return [alone(word, split, draws) for _ in range(count)]
    except ValueError:
        return []


# Few-shot prompts.

def shots(split: str, index: int, count: int, ways: int = 4, seed: int = 0) -> Episode:
    """Fast binding with `count` solved examples of `ways` things: every name once, then every name again, and so on.

    The question is the same for every count, and so are the examples that were there (the later ones stand first). With
    fewer examples than ways the right name may not have been said: then one can only exclude.
    """
    draws = Draws("shots", seed, split, index, ways)
    words, names = draws.several(portrayed(split), ways), draws.several(tokens.INVENTED, ways)
    asked = int(draws.random() * ways)
    query = alone(words[asked], split, draws)
    examples: list[tuple[Scene, str]] = []
    while len(examples) < count:
        examples += [(alone(words[way], split, draws), names[way]) for way in draws.several(range(ways), ways)]
    parts: list[Part] = []
    for scene, name in reversed(examples[:count]):
        parts += [scene, f"this is {article(name)} ."]
    return Episode((*parts, query, "this is a"), names[asked], tuple(names))


def nearest(queries: Tensor, pool: Tensor, count: int) -> Tensor:
    """RICES (Sec. B.1.5): the `count` nearest of a pool by cosine, the nearest last, beside the question: (Q, E), (N, E) -> (Q, k)."""
    queries, pool = (torch.nn.functional.normalize(one, dim=-1) for one in (queries, pool))
    return (queries @ pool.T).topk(count, dim=-1).indices.flip(-1)


def swapped(pages: Sequence[Sequence[Part]], seed: int = 0) -> list[tuple[Part, ...]]:
    """The same pages with the pictures of their examples mixed up among each other; the question's own, the last, stays."""
    mixed = []
    for number, parts in enumerate(pages):
        draws = Draws("swapped", seed, number)
        *support, last = [part for part in parts if not isinstance(part, str)]
        given = iter([*draws.several(support, len(support)), last])
        mixed.append(tuple(part if isinstance(part, str) else next(given) for part in parts))
    return mixed


def exchanged(episodes: Sequence[Episode]) -> list[Episode]:
    """Each question's examples show the pictures of another episode's examples: names say nothing about what is asked."""
    made = []
    for one, other in zip(episodes, [*episodes[1:], episodes[0]]):
        given = iter([*shown_scenes(other)[:-1], shown_scenes(one)[-1]])
        made.append(replace(one, prompt=tuple(part if isinstance(part, str) else next(given) for part in one.prompt)))
    return made


def shown_scenes(episode: Episode) -> list[Scene]:
    return [part for part in episode.prompt if not isinstance(part, str)]


def motions(split: str, count: int, seed: int = 0, frames: int = EIGHTH) -> list[tuple[Film, Episode]]:
    """Films of one thing with the question which way it moves, to go on with: 'a dog moves' -> left."""
    made = []
    for index in range(count):
        one = film(sample(split, index, seed, (1, 1)), Draws("motion", seed, split, index), frames)
        made.append((one, Episode((one, f"{article(one.mover)} moves"), one.direction, ("left", "right", "up", "down"))))
    return made


def naming_page(split: str, index: int, **options) -> Episode:
    """An episode of pages.naming, whose question is put as the pages put it."""
    one = naming(split, index, induction=False, **options)
    return replace(one, prompt=(*one.prompt[:-1], "this is a"))
