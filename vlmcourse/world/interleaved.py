"""Pages with pictures and films in the text, as Flamingo trains on them, and prompts of the same form.

    <image> a cat on blue . <EOC> <image> a dog moves left . <EOC>

Four sources, as in the paper (Sec. 2.4): pages with several pictures (M3W), pictures with what the web writes under them
(ALIGN), pictures with longer descriptions (LTIP), films (VTP). Page number i of a source is a pure function of (seed, split, i).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from vlmcourse.world import captions, tokenizer
from vlmcourse.world.nouns import article
from vlmcourse.world.pages import page, page_text, question_prompt, single_thing
from vlmcourse.world.prompts import pad_left
from vlmcourse.world.questions import ask, quarter
from vlmcourse.world.rendering import render, to_pixels
from vlmcourse.world.scenes import Scene, SeededRandom, known_nouns, sample
from vlmcourse.world.videos import Video, make_video

Part = str | Scene | Video
Frames = tuple[Scene, ...]
View = Callable[[np.ndarray], Tensor]
IMAGE_TOKEN, END_OF_CHUNK = "<image>", "<EOC>"
IMAGE_TEXT = f"{IMAGE_TOKEN} ."
"""What stands in a text for a picture: a full stop follows the tag, as one follows descriptions in the language model's texts.
Without it, and with rows of the tags that no text has trained, no name is bound to a picture in as many steps."""
NUM_FRAMES = 8
"""Frames of a film."""


def interleaved_text(parts: Sequence[Part]) -> str:
    """A page as text: "<image> ." for each picture or film, <EOC> before each but a first one, and at the end."""
    return page_text(
        [part.frames[0] if isinstance(part, Video) else part for part in parts],
        IMAGE_TEXT,
        END_OF_CHUNK,
    )


def pictures_of(parts: Sequence[Part]) -> list[Frames]:
    """The pictures (one frame) and films (several), in the order of their tags."""
    return [
        part.frames if isinstance(part, Video) else (part,)
        for part in parts
        if not isinstance(part, str)
    ]


def parse_page(text: str, pictures: Sequence[Scene | Video]) -> tuple[Part, ...]:
    """A page from a text with tags ("<image>" or "<image> .") and its pictures: how one writes a prompt by hand.

    Raises ValueError for more tags than pictures or fewer, and for a tag in the middle of a word.
    """
    if inside := re.search(rf"\S*\w{IMAGE_TOKEN}\w\S*", text):
        raise ValueError(
            f"a tag in the middle of a word: '{inside.group()}'. Expected spaces around {IMAGE_TOKEN}."
        )
    if (count := text.count(IMAGE_TOKEN)) != len(pictures):
        raise ValueError(
            f"{count} times {IMAGE_TOKEN} in the text, and {len(pictures)} pictures; expected one tag for each, where it "
            "belongs."
        )
    text = re.sub(rf"{IMAGE_TOKEN}\s*\.(?=\s|$)", IMAGE_TOKEN, text.replace(END_OF_CHUNK, " "))
    pieces, given = re.split(f"({IMAGE_TOKEN})", text), iter(pictures)
    return tuple(
        next(given) if piece == IMAGE_TOKEN else piece.strip() for piece in pieces if piece.strip()
    )


def frame_pixels(
    films: Sequence[Frames], size: int, view: View = to_pixels
) -> Tensor | list[Tensor]:
    """Pictures (M, 3, size, size); where there are films, (M, T, 3, size, size), or a list if they differ in length."""
    made = [view(np.stack([render(scene, size) for scene in frames])) for frames in films]
    if len({len(one) for one in made}) > 1:
        return made
    if not made:
        return torch.empty(0, 3, size, size)
    return torch.cat(made) if len(made[0]) == 1 else torch.stack(made)


@dataclass(frozen=True)
class PageDataset:
    """Pages to learn from. `batch(indices)`: `ids` (B, T) padded on the right, `loss_mask` (B, T), True at words, and pictures.

    <EOC> is read and not asked for. (The paper's model says it, with an output row that learns.)

    page  index -> parts
    see   pictures and films -> what the batch says of them: {"pixels": ...}, or {"features": ...} of a tower
    """

    page: Callable[[int], Sequence[Part]]
    see: Callable[[list[Frames]], dict]

    def batch(self, indices: Sequence[int]) -> dict:
        pages = [self.page(index) for index in indices]
        ids = tokenizer.encode([interleaved_text(parts) for parts in pages])
        image, end = tokenizer.world_tokenizer().convert_tokens_to_ids([IMAGE_TOKEN, END_OF_CHUNK])
        given = (tokenizer.PAD, tokenizer.BOS, tokenizer.EOS, image, end)
        words = ~torch.isin(ids, torch.tensor(given))
        words[:, 1:] &= ids[:, :-1] != image  # the full stop after a tag is given, too
        return {
            "ids": ids,
            "loss_mask": words,
            **self.see([frames for parts in pages for frames in pictures_of(parts)]),
        }


@dataclass(frozen=True)
class Prompts:
    """Open pages, for a model to go on with: `batch(indices)` has `ids` (B, T) padded on the left, `padding_mask` (B, T), `pixel_values`."""

    pages: Sequence[Sequence[Part]]
    size: int
    view: View = to_pixels

    def __len__(self) -> int:
        return len(self.pages)

    def batch(self, indices: Sequence[int]) -> dict:
        pages = [self.pages[index] for index in indices]
        texts = tokenizer.encode(
            [interleaved_text(parts).removesuffix(END_OF_CHUNK) for parts in pages]
        )
        return {
            **pad_left(texts),
            "pixel_values": frame_pixels(
                [frames for parts in pages for frames in pictures_of(parts)], self.size, self.view
            ),
        }


# The four sources. Scenes come from a pool of `pool` numbers, so that what a frozen tower makes of them can be kept.


@dataclass(frozen=True)
class WebPages:
    """Where pages come from: `split`, `seed`, how many different scenes (and films) there are.

    words     a smaller world: only these nouns are shown. Models learn it in fewer steps. Default: all known nouns
    invented  the names that pages of names give to things
    """

    split: str = "train"
    seed: int = 0
    pool: int = 8192
    frames: int = NUM_FRAMES
    words: tuple[str, ...] = ()
    invented: tuple[str, ...] = tuple(tokenizer.INVENTED)

    def rng(self, kind: str, index: int) -> SeededRandom:
        return SeededRandom(kind, self.seed, self.split, index)

    def scene(self, index: int, most: int, part: int = 0) -> Scene:
        """Scene number `index` with 1 to `most` things; `part` keeps the scenes of different uses apart."""
        return sample(self.split, index % self.pool, self.seed + part, (1, most), self.words)

    def single_thing(self, index: int) -> Scene:
        return self.scene(index, 1)

    def several_things(self, index: int) -> Scene:
        return self.scene(index, 3, part=1)

    def video(self, index: int) -> Video:
        return _video(self, index % (self.pool // 4))  # eight pictures each

    # Each of these is a `page` of a Source.

    def pairs(self, index: int) -> tuple[Part, ...]:
        """ALIGN: a picture and a short text; one in ten belongs to another picture."""
        draws = self.rng("pairs", index)
        scene = self.several_things(index)
        said = self.several_things(index + 1) if draws.random() < 0.1 else scene
        return scene, f"{captions.varied(said, draws)} ."

    def described(self, index: int) -> tuple[Part, ...]:
        """LTIP: a picture and all that can be seen on it."""
        draws = self.rng("described", index)
        scene = self.single_thing(index) if draws.random() < 0.6 else self.several_things(index)
        details = [
            f"the {one.word} is {f'in the {quarter(one)}' if draws.random() < 0.5 else one.noun.colour} ."
            for one in scene.things
        ]
        return scene, " ".join(
            [f"{captions.detailed(scene, draws)} .", *draws.sample(details, len(details))]
        )

    def videos(self, index: int) -> tuple[Part, ...]:
        """VTP: a film and a sentence, or a question with its answer."""
        draws, one = self.rng("films", index), self.video(index)
        question = draws.choice(one.questions())
        return one, draws.choice(
            (f"{one.caption} .", f"{question_prompt(question)} {question.answer} .")
        )

    def pages(self, index: int) -> tuple[Part, ...]:
        """M3W: articles, pages where things get invented names, and pages of questions and answers, in equal parts.

        On half of the articles the text about a picture stands before it, and half of all pages are read as if it did: their
        pictures move before the text that precedes them (p_next = 1/2, Sec. A.3.2). Neither knows of the other.
        """
        draws = self.rng("pages", index)
        kind = draws.choice((self.article, self.names, self.questions))
        return kind(index, draws)

    def article(self, index: int, draws: SeededRandom) -> tuple[Part, ...]:
        parts = page(self.split, index % (self.pool // 4), self.seed, (1, 4))
        if self.words:
            shown = [
                self.several_things(4 * index + number)
                for number in range(1 + int(draws.random() * 4))
            ]
            parts = tuple(
                part for scene in shown for part in (scene, f"{captions.detailed(scene, draws)} .")
            )
        return pictures_first(parts) if draws.random() < 0.5 else parts

    def names(self, index: int, draws: SeededRandom) -> tuple[Part, ...]:
        """'this is a dax .' of several pictures of two to four things; the names mean nothing on any other page."""
        count = 2 + int(draws.random() * 3)
        words, names = self._things(index, draws, count), draws.sample(self.invented, count)
        order = [int(draws.random() * count) for _ in range(9 - count)]
        form = draws.choice(
            ("this is {} .", "this is {} .", "question : what is this ? answer : this is {} .")
        )
        parts: list[Part] = []
        for number in (*range(count), *order):
            scenes = words[number]
            parts += [draws.choice(scenes), form.format(article(names[number]))]
        return tuple(parts)

    def _things(self, index: int, draws: SeededRandom, count: int) -> list[list[Scene]]:
        """Pictures of `count` different things, several of each, out of one pool."""
        return [
            single_thing_scenes(self.split, word, self.seed)
            for word in draws.sample(nouns_of_split(self.split, self.words), count)
        ]

    def questions(self, index: int, draws: SeededRandom) -> tuple[Part, ...]:
        parts: list[Part] = []
        kind = draws.choice(("what", "what", "colour", "presence", "category", "place"))
        for number in range(2 + int(draws.random() * 3)):
            scene = self.single_thing(4 * index + number)
            one = ask(scene, draws, (kind,))
            parts += [scene, f"{question_prompt(one)} {one.answer} ."]
        return tuple(parts)


def pictures_first(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Every picture one text earlier: the text before it becomes the text after it."""
    made = list(parts)
    for place in range(1, len(made)):
        if not isinstance(made[place], str) and isinstance(made[place - 1], str):
            made[place - 1], made[place] = made[place], made[place - 1]
    return tuple(made)


@lru_cache(8192)
def _video(web: WebPages, index: int) -> Video:
    draws = web.rng("film", index)
    return make_video(web.scene(index, 2, part=2), draws, web.frames)


@lru_cache(8)
def nouns_of_split(split: str, words: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The nouns (out of `words`, or all known ones) that can be alone on a picture of a split."""
    return tuple(word for word in words or known_nouns() if single_thing_scenes(split, word, 0))


@lru_cache(1024)
def single_thing_scenes(split: str, word: str, seed: int, count: int = 16) -> list[Scene]:
    """Pictures of a thing alone; none if the split has none."""
    draws = SeededRandom("portrait", seed, split, word)
    try:
        return [single_thing(word, split, draws) for _ in range(count)]
    except ValueError:
        return []
