"""Pages with pictures and videos in the text, as Flamingo trains on them.

    <image> a cat on blue . <EOC> <image> a dog moves left . <EOC>

Four data sets, as in the paper (Sec. 2.4): pages with several pictures (M3W), pictures with alternative texts of the web (ALIGN),
pictures with longer descriptions (LTIP), videos (VTP). Page number i of each is a pure function of (seed, split, i).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from vlmcourse.world import captions, tokenizer
from vlmcourse.world.digits import Picture
from vlmcourse.world.nouns import article
from vlmcourse.world.pages import (
    Page,
    Part,
    nouns_of_split,
    page,
    page_text,
    question_prompt,
    single_thing,
)
from vlmcourse.world.prompts import Frames, Prompts, View, frames_of
from vlmcourse.world.questions import ask, quarter
from vlmcourse.world.rendering import to_pixels
from vlmcourse.world.scenes import Scene, SeededRandom, sample
from vlmcourse.world.videos import Video, make_video

IMAGE_TOKEN, END_OF_CHUNK = "<image>", "<EOC>"
IMAGE_TEXT = f"{IMAGE_TOKEN} ."
"""What stands in a text for a picture: a full stop follows the tag, as one follows descriptions in the language model's texts.
Without it, and with rows of the tags that no text has trained, no name is bound to a picture in as many steps."""
NUM_FRAMES = 8
"""Frames of a video."""


def interleaved_text(page: Page) -> str:
    """A page as text: "<image> ." for each picture or video, <EOC> before each but a first one, and at the end."""
    return f"{page_text(page, IMAGE_TEXT, END_OF_CHUNK)} {END_OF_CHUNK}"


def chunked_prompts(pages: Sequence[Page], size: int, view: View = to_pixels) -> Prompts:
    """Open pages for Flamingo to continue, with <EOC> before each picture but a first one."""
    return Prompts(pages, size, IMAGE_TEXT, view, end_of_chunk=END_OF_CHUNK)


def parse_page(text: str, pictures: Sequence[Picture | Video]) -> tuple[Part, ...]:
    """A page from a text with image tokens ("<image>" or "<image> .") and its pictures: how one writes a prompt by hand.

    Raises ValueError for more tokens than pictures or fewer, and for a token in the middle of a word.
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


@dataclass(frozen=True)
class PageDataset:
    """Pages to learn from: `ids` (B, T) padded on the right, `loss_mask` (B, T), True at words, and the pictures.

    <EOC> is read, but is no target. (The paper's model learns to write it, with an output row that learns.)

    page         index -> page
    to_features  pictures and videos -> what a batch holds of them: {"pixel_values": ...}, or {"features": ...} of a tower
    """

    page: Callable[[int], Page]
    to_features: Callable[[Sequence[Frames]], dict]

    def batch(self, indices: Sequence[int]) -> dict:
        pages = [self.page(index) for index in indices]
        ids = tokenizer.encode([interleaved_text(page) for page in pages])
        image, end = tokenizer.world_tokenizer().convert_tokens_to_ids([IMAGE_TOKEN, END_OF_CHUNK])
        no_targets = torch.tensor([tokenizer.PAD, tokenizer.BOS, tokenizer.EOS, image, end])
        loss_mask = ~torch.isin(ids, no_targets)
        loss_mask[:, 1:] &= ids[:, :-1] != image  # the full stop after a tag is given, too
        return {"ids": ids, "loss_mask": loss_mask, **self.to_features(frames_of(pages))}


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
    noun_subset: tuple[str, ...] = ()
    invented: tuple[str, ...] = tuple(tokenizer.INVENTED)

    def rng(self, kind: str, index: int) -> SeededRandom:
        return SeededRandom(kind, self.seed, self.split, index)

    def scene(self, index: int, max_things: int, part: int = 0) -> Scene:
        """Scene number `index` with 1 to `max_things` things; `part` keeps the scenes of different uses apart."""
        return sample(
            self.split, index % self.pool, self.seed + part, (1, max_things), self.noun_subset
        )

    def single_thing(self, index: int) -> Scene:
        return self.scene(index, 1)

    def several_things(self, index: int) -> Scene:
        return self.scene(index, 3, part=1)

    def video(self, index: int) -> Video:
        return _video(self, index % (self.pool // 4))  # eight pictures each

    # Each of these is a `page` of a PageDataset.

    def pairs(self, index: int) -> tuple[Part, ...]:
        """ALIGN: a picture and a short text; one in ten belongs to another picture."""
        rng = self.rng("pairs", index)
        scene = self.several_things(index)
        caption_scene = self.several_things(index + 1) if rng.random() < 0.1 else scene
        return scene, f"{captions.varied(caption_scene, rng)} ."

    def described(self, index: int) -> tuple[Part, ...]:
        """LTIP: a picture and a full description. Of a thing alone, half begin with its word, as the language model's texts do.

        With sentences alone, later blocks can learn to say the word after "a picture of a", and what stands at the tag needn't
        be a thing: then the language model knows few facts about it.
        """
        rng = self.rng("described", index)
        scene = self.single_thing(index) if rng.random() < 0.6 else self.several_things(index)
        details = [
            f"the {thing.word} is {f'in the {quarter(thing)}' if rng.random() < 0.5 else thing.noun.colour} ."
            for thing in scene.things
        ]
        text = captions.detailed(scene, rng)
        if len(scene.things) == 1 and rng.random() < 0.5:
            (word,) = scene.words
            text = rng.choice((f"{word} {scene.background}", word))
        return scene, " ".join([f"{text} .", *rng.sample(details, len(details))])

    def videos(self, index: int) -> tuple[Part, ...]:
        """VTP: a video and a sentence, or a question with its answer."""
        rng, video = self.rng("films", index), self.video(index)
        question = rng.choice(video.questions())
        return video, rng.choice(
            (f"{video.caption} .", f"{question_prompt(question)} {question.answer} .")
        )

    def pages(self, index: int) -> tuple[Part, ...]:
        """M3W: of four pages two ask questions and answer them, one gives things invented names, one is an article.

        On half of the articles the text about a picture stands before it, and half of all pages are read as if it did: their
        pictures move before the text that precedes them (p_next = 1/2, Sec. A.3.2). Neither knows of the other.
        """
        rng = self.rng("pages", index)
        kind = rng.choice((self.article, self.names, self.questions, self.questions))
        return kind(index, rng)

    def article(self, index: int, rng: SeededRandom) -> tuple[Part, ...]:
        parts = page(self.split, index % (self.pool // 4), self.seed, (1, 4))
        if self.noun_subset:
            shown = [
                self.several_things(4 * index + number)
                for number in range(1 + int(rng.random() * 4))
            ]
            parts = tuple(
                part for scene in shown for part in (scene, f"{captions.detailed(scene, rng)} .")
            )
        return pictures_first(parts) if rng.random() < 0.5 else parts

    def names(self, index: int, rng: SeededRandom) -> tuple[Part, ...]:
        """'this is a dax .' of several pictures of two to four things; the names mean nothing on any other page."""
        count = 2 + int(rng.random() * 3)
        words, names = self._things(index, rng, count), rng.sample(self.invented, count)
        order = [int(rng.random() * count) for _ in range(9 - count)]
        form = rng.choice(
            ("this is {} .", "this is {} .", "question : what is this ? answer : this is {} .")
        )
        parts: list[Part] = []
        for number in (*range(count), *order):
            scenes = words[number]
            parts += [rng.choice(scenes), form.format(article(names[number]))]
        return tuple(parts)

    def _things(self, index: int, rng: SeededRandom, count: int) -> list[list[Scene]]:
        """Pictures of `count` different things, several of each, out of one pool."""
        return [
            single_thing_scenes(self.split, word, self.seed)
            for word in rng.sample(nouns_of_split(self.split, self.noun_subset), count)
        ]

    def questions(self, index: int, rng: SeededRandom) -> tuple[Part, ...]:
        """One to five questions of one kind, each about a picture of its own. What a thing is for is never asked."""
        parts: list[Part] = []
        kind = rng.choice((*2 * ("what", "category", "place"), "colour", "presence"))
        for number in range(1 + int(rng.random() * 5)):
            scene = self.single_thing(5 * index + number)
            question = ask(scene, rng, (kind,))
            parts += [scene, f"{question_prompt(question)} {question.answer} ."]
        return tuple(parts)


def pictures_first(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Every picture one text earlier: the text before it becomes the text after it."""
    reordered = list(parts)
    for position in range(1, len(reordered)):
        if not isinstance(reordered[position], str) and isinstance(reordered[position - 1], str):
            reordered[position - 1], reordered[position] = (
                reordered[position],
                reordered[position - 1],
            )
    return tuple(reordered)


@lru_cache(8192)
def _video(web: WebPages, index: int) -> Video:
    rng = web.rng("film", index)
    return make_video(web.scene(index, 2, part=2), rng, web.frames)


@lru_cache(1024)
def single_thing_scenes(split: str, word: str, seed: int, count: int = 16) -> list[Scene]:
    """Pictures of a single thing; none if the split has none."""
    if word not in nouns_of_split(split):
        return []
    rng = SeededRandom("portrait", seed, split, word)
    return [single_thing(word, split, rng) for _ in range(count)]
