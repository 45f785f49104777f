"""Lesson 12: a small Flamingo between the shipped CLIP and the shipped language model, trained with the student's parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from teaching import few_shot_reference as reference
from vlmcourse import recipes, world
from vlmcourse.papers.flamingo import Flamingo
from vlmcourse.parts.language import freeze
from vlmcourse.recipes.features import FeatureCache
from vlmcourse.recipes.few_shot_report import NAMES
from vlmcourse.recipes.flamingo import (
    RESIDUAL_SCALE,
    flamingo_config,
    new_flamingo,
    residual_rms,
    start_tags_at_words,
)
from vlmcourse.recipes.in_context import ClassToken
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.world import few_shot, interleaved, tokenizer
from vlmcourse.world.pages import Episode, nouns_of_split
from vlmcourse.world.prompts import frame_pixels, pad_left
from vlmcourse.world.scenes import Scene

WEIGHTS = {"pages": 1.0, "pairs": 1.0}
"""The paper has 0.2 for its data sets of pairs. Our training is short, and pairs alone teach what single pictures show."""
PER_STEP = {"pages": 8, "pairs": 24}
"""Pages of each data set in a step."""
OPTIMISATION = Optimisation(2e-3, weight_decay=0.05, betas=(0.9, 0.95))
NOUNS = world.known_nouns()[:96:4]
"""The 24 nouns of the small training."""
OTHER_NOUNS = world.known_nouns()[1:96:4]
"""Nouns that it doesn't show."""
PICTURES = 7
"""Of a page of names."""
Example = tuple[Scene, str]
Page = tuple[list[Example], Scene, str, str]
"""Examples, the last picture, its open sentence, and the word that ends it."""
Prompt = Callable[[Sequence[Example], Scene, str], tuple[str, list[Scene]]]


@lru_cache(2)
def features_of(scale: Scale) -> FeatureCache:
    """What CLIP's frozen tower gives for pictures: one vector each."""
    clip = recipes.get("clip").train_or_load(scale).model
    return FeatureCache(freeze(ClassToken(clip.vision)), scale.image_size)


def build(scale: Scale, seed: int = 0) -> Flamingo:
    """An untrained Flamingo with four latents between frozen parts; gates are zero."""
    lm = freeze(recipes.get("language").train_or_load(scale).model.lm)
    config = flamingo_config(
        scale,
        latents=4,
        resampler_depth=1,
        residual_scale=tuple(RESIDUAL_SCALE * value for value in residual_rms(lm)),
    )
    model = new_flamingo(config, features_of(scale).encoder, lm, seed)
    start_tags_at_words(model)
    return model


def name_page(index: int, split: str = "train", pictures_of: int | None = None) -> Page:
    """A page on which two to four things get invented names, on PICTURES pictures.

    pictures_of  the number of another page whose pictures it shows
    """
    draws = world.SeededRandom("named page", split, index)
    count = 2 + int(draws.random() * 3)
    words, names = (
        draws.sample(nouns_of_split(split, NOUNS), count),
        draws.sample(NAMES, count),
    )
    order = [*range(count), *(int(draws.random() * count) for _ in range(PICTURES - count))]
    pictures = [draws.choice(interleaved.single_thing_scenes(split, words[n], 0)) for n in order]
    if pictures_of is not None:
        examples, query, *_ = name_page(pictures_of, split)
        pictures = [*(picture for picture, _ in examples), query]
    sentences = [f"this is {world.article(names[n])}" for n in order]
    start, answer = sentences[-1].rsplit(" ", 1)
    return list(zip(pictures, sentences))[:-1], pictures[-1], start, answer


def mismatched_page(index: int, split: str = "train") -> Page:
    """A page of names with the next page's pictures."""
    return name_page(index, split, index + 1)


def pair(index: int, split: str = "train") -> Page:
    """A picture and its caption: a page without examples."""
    web = interleaved.WebPages(split, noun_subset=NOUNS, pool=480)
    scene = web.single_thing(index)
    (word,) = scene.words
    forms = (
        f"this is {world.article(word)}",
        f"a picture of {world.article(word)}",
        f"{world.article(word)} on {scene.background}",
        word,
    )
    *start, answer = web.rng("pairs", index).choice(forms).split()
    return [], scene, " ".join(start), answer


SOURCES = {"pages": name_page, "pairs": pair}


@dataclass(frozen=True)
class Source:
    """Batches of one data set. prompt: how examples and a query become a text and its pictures."""

    page: Callable[..., Page]
    prompt: Prompt
    cache: FeatureCache
    split: str = "train"

    def batch(self, indices: Iterable[int]) -> dict:
        """`ids` (B, T), `loss_mask` (B, T), True at words, and `features` (M, 1, P, D)."""
        texts, pictures = [], []
        for index in indices:
            *open_page, answer = self.page(index, self.split)
            text, shown = self.prompt(*open_page)
            texts.append(f"{text} {answer} . {interleaved.END_OF_CHUNK}")
            pictures += shown
        return {
            **scored(tokenizer.encode(texts)),
            **self.cache([(picture,) for picture in pictures]),
        }


def scored(ids: Tensor) -> dict[str, Tensor]:
    """Texts with what is predicted of them: words, not tags, nor the full stop after <image>."""
    image, end = special_ids()
    none = torch.tensor([tokenizer.PAD, tokenizer.BOS, tokenizer.EOS, image, end])
    loss_mask = ~torch.isin(ids, none)
    loss_mask[:, 1:] &= ids[:, :-1] != image
    return {"ids": ids, "loss_mask": loss_mask}


def special_ids() -> list[int]:
    """Of <image> and <EOC>."""
    return tokenizer.world_tokenizer().convert_tokens_to_ids(
        [interleaved.IMAGE_TOKEN, interleaved.END_OF_CHUNK]
    )


def sources(
    scale: Scale, prompt: Prompt = reference.few_shot_prompt, split: str = "train"
) -> dict[str, Source]:
    """Both data sets, in the student's prompt format."""
    cache = features_of(scale)
    return {name: Source(page, prompt, cache, split) for name, page in SOURCES.items()}


def train(
    model: Flamingo,
    data: Mapping[str, Source],
    update: Callable,
    steps: int,
    weights: Mapping[str, float] = WEIGHTS,
    in_turns: bool = False,
) -> list[dict[str, float]]:
    """Trains in place; the losses that `update` returned at each step.

    update    (loss, batches, weights, optimiser) -> {name: loss}
    in_turns  one data set at a step (round robin). For as many pages it needs as many times more steps as there are data sets
    """
    optimiser = OPTIMISATION.optimiser(model, torch.device("cpu"))
    learns = [p for p in model.parameters() if p.requires_grad]
    optimiser.register_step_pre_hook(
        lambda *_: nn.utils.clip_grad_norm_(learns, OPTIMISATION.max_norm) and None
    )
    names, history = list(data), []
    model.train()
    for step in range(steps):
        OPTIMISATION.set_learning_rate(optimiser, step, steps)
        chosen = [names[step % len(names)]] if in_turns else names
        number = step // len(names) if in_turns else step
        batches = {
            name: data[name].batch(range(number * PER_STEP[name], (number + 1) * PER_STEP[name]))
            for name in chosen
        }
        history.append(
            update(lambda batch: sum(model.losses(batch).values()), batches, weights, optimiser)
        )
    model.eval()
    return history


@dataclass(frozen=True)
class TextPrompts:
    """Prompts of the student's, to be continued: see vlmcourse.evaluation.generation."""

    prompts: Sequence[tuple[str, list]]
    size: int

    def __len__(self) -> int:
        return len(self.prompts)

    def batch(self, rows: Sequence[int]) -> dict:
        part = [self.prompts[row] for row in rows]
        pixels = frame_pixels([(picture,) for _, shown in part for picture in shown], self.size)
        return {**pad_left(tokenizer.encode([text for text, _ in part])), "pixel_values": pixels}


def open_prompts(episodes: Sequence[Episode], prompt: Prompt) -> list[tuple[str, list]]:
    """Episodes in the student's prompt format."""
    found = []
    for episode in episodes:
        *parts, query, start = episode.prompt
        examples = [
            (picture, text.removesuffix(" .")) for picture, text in zip(parts[0::2], parts[1::2])
        ]
        found.append(prompt(examples, query, start))
    return found


def episodes(count: int, shots: int, nouns: Sequence[str] = NOUNS) -> list[Episode]:
    """Held-out prompts of new names."""
    return [
        few_shot.binding_episode("test", index, shots, noun_subset=tuple(nouns))
        for index in range(count)
    ]
