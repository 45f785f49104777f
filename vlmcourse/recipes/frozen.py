"""Frozen on the world. What it is compared with differs in what it is given: another language model (finetuned, untrained,
smaller), other pictures (blind), other texts (questions instead of captions)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn

from vlmcourse import world
from vlmcourse.evaluation import (
    choose_next_token,
    exact_match,
    noun_and_background_accuracy,
)
from vlmcourse.evaluation.generation import STOP, generate_sentences
from vlmcourse.papers.frozen import Frozen, FrozenConfig
from vlmcourse.parts.language import freeze
from vlmcourse.parts.word_hull import WordDirections, WordHull
from vlmcourse.recipes.few_shot_report import Score, binding_report, knowledge_report
from vlmcourse.recipes.recipe import Recipe, Run, Sizes
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import prompts, tokenizer
from vlmcourse.world.pages import Episode

IMAGE_PREFIX = "<image> <image> ."
"""What stands in a text for a picture: two vectors and a full stop, as after descriptions in the language model's texts."""
ONE_THING = (1, 1)
SIZES = {"smoke": Sizes(16, 20), "laptop": Sizes(64, 1500), "gpu": Sizes(512, 10_000)}
FROZEN_OPTIMISATION = Optimisation(2e-3, weight_decay=0.05, betas=(0.9, 0.95))


def frozen_config(scale: Scale, **changes) -> FrozenConfig:
    """Frozen's sizes at a scale; `changes` replace fields of FrozenConfig."""
    return FrozenConfig(
        **{
            "image_token_id": tokenizer.world_tokenizer().convert_tokens_to_ids("<image>"),
            "image_size": scale.image_size,
            "vision_width": scale.width,
            "vision_depth": max(1, scale.vision_depth // 2),
            "vision_heads": scale.heads,
            **changes,
        }
    )


def new_frozen(
    config: FrozenConfig,
    lm: nn.Module,
    seed: int = 0,
    start: Tensor | None = None,
    ending: nn.Module | None = None,
) -> Frozen:
    """An untrained image encoder, which depends on the seed alone, before this language model. start, ending: see Frozen."""
    with seeded(seed):
        return Frozen(config, lm, start, ending)


def mean_embedding(lm: nn.Module, words: Sequence[str]) -> Tensor:
    """The mean of these words' embeddings, (D,)."""
    return embeddings(lm, words).mean(0)


def embeddings(lm: nn.Module, words: Sequence[str]) -> Tensor:
    """The embeddings of words, (N, D)."""
    return lm.get_input_embeddings().weight.detach()[tokenizer.encode(words)[:, 1]]


def _nouns_and_backgrounds() -> tuple[list[str], list[str]]:
    return [noun.word for noun in world.nouns()], list(world.BACKGROUNDS)


def mean_noun_and_background(lm: nn.Module) -> Tensor:
    """The mean embedding of all nouns, and of all backgrounds, (2, D): where the two vectors of a picture start."""
    return torch.stack([mean_embedding(lm, words) for words in _nouns_and_backgrounds()])


def word_directions(lm: nn.Module, steps: int) -> WordDirections:
    """The prefix keeps to half of all directions, those in which nouns and backgrounds differ most: see WordDirections."""
    kinds = [embeddings(lm, words) for words in _nouns_and_backgrounds()]
    words = torch.cat([rows - rows.mean(0) for rows in kinds])
    return WordDirections(words, mean_noun_and_background(lm), words.shape[1] // 2)


def word_hull(lm: nn.Module, steps: int) -> nn.Module:
    """The same, and then it ends in the hull of all words, an addition of the course: see WordHull."""
    rows = lm.get_input_embeddings().weight
    hull = WordHull(rows[len(tokenizer.SPECIAL) :], steps)
    return nn.Sequential(word_directions(lm, steps), hull)


def thing_and_background(scene: world.Scene, rng: world.SeededRandom) -> str:
    """The caption that is learnt: "banana pink ."

    The language model reads "banana pink ." more often than any other description, and after one it expects the same words
    again. A former language model had a loss of 0.12 on these captions with the right words instead of the picture, and of
    2.67 without any. So vectors that are the right words predict the caption as well as anything can, and nothing
    else is to be learnt.
    """
    return f"{scene.words[0]} {scene.background} {STOP}"


def descriptive_caption(scene: world.Scene, rng: world.SeededRandom) -> str:
    """A caption in any form that descriptions have in the language model's texts, and a full stop.

    Which form comes next, no picture tells: with the right words the loss is 1.59, of which most is "a", "picture", "of".
    Vectors that announce the form instead lower it more than the right words do, and then answer worse (lesson 07 compares).
    """
    return f"{world.documents.describe(scene, rng)} {STOP}"


def caption_data(
    scale: Scale, seed: int = 0, view: prompts.View = world.to_pixels
) -> prompts.CaptionDataset:
    """Single things with captions."""
    pairs = world.Pairs("train", scale.image_size, seed, ONE_THING, thing_and_background)
    return prompts.CaptionDataset(pairs, IMAGE_PREFIX, view)


def vqa_data(
    scale: Scale, kinds: Sequence[str], seed: int = 0, view: prompts.View = world.to_pixels
) -> prompts.VQADataset:
    """Single things with questions of these kinds, to train on instead of captions."""
    pairs = world.Pairs("train", scale.image_size, seed, ONE_THING)
    return prompts.VQADataset(world.questions.VQAPairs(pairs, tuple(kinds)), IMAGE_PREFIX, view)


def setup(
    scale: Scale,
    sizes: Sizes,
    seed: int,
    stage,
    *,
    lm: nn.Module | None = None,
    data=None,
    start: Callable[[nn.Module], Tensor | None] = mean_noun_and_background,
    ending: Callable[[nn.Module, int], nn.Module] | None = None,
    **changes,
) -> Run:
    """lm       default: the tiny language model, frozen. Of a model that is not frozen a copy is trained, too
    data     of caption_data or vqa_data; default: caption_data(scale, seed)
    start    lm -> where the vectors of a picture start, or None: see Frozen
    ending   (lm, steps) -> what becomes of the vectors at last, such as word_hull: see Frozen
    changes  of FrozenConfig
    """
    lm = freeze(stage("language").lm) if lm is None else deepcopy(lm)
    data, config = data or caption_data(scale, seed), frozen_config(scale, **changes)
    model = new_frozen(config, lm, seed, start(lm), ending and ending(lm, sizes.steps))
    return Run(model, data, config, (lm, start, ending))


def generate_captions(
    model: nn.Module,
    scenes: Sequence[world.Scene],
    view: prompts.View = world.to_pixels,
    image_prefix: str = IMAGE_PREFIX,
    size: int | None = None,
    start: str = "a picture of",
) -> list[str]:
    """What a model says of each scene after `start`, greedily, up to the full stop. size: default, of its config."""
    pages = [(scene, start) for scene in scenes]
    data = prompts.Prompts(pages, size or model.config.image_size, image_prefix, view)
    return generate_sentences(model, data, max_new_tokens=8)


def caption_report(
    model: Frozen, count: int = 256, view: prompts.View = world.to_pixels
) -> dict[str, float]:
    """Captions of held-out scenes of one thing, as it learnt them: share with the right noun, with the right background,
    beside chance."""
    scenes = [world.sample("test", index, 0, ONE_THING) for index in range(count)]
    return noun_and_background_accuracy(generate_captions(model, scenes, view, start=""), scenes)


def naming_episodes(shots: int, count: int = 256, **options) -> list[Episode]:
    """Fast binding of invented names: held-out episodes. options: ways, repeats, induction of pages.naming_episode."""
    return [
        world.pages.naming_episode("test", index, shots=shots, **options) for index in range(count)
    ]


def vqa_episodes(kind: str, shots: int, count: int = 256) -> list[Episode]:
    """Questions of a kind about single held-out things, after so many answered ones."""
    return [
        world.pages.vqa_episode("test", index, kind, shots, things=ONE_THING)
        for index in range(count)
    ]


def episode_accuracy(
    model: nn.Module,
    episodes: Sequence[Episode],
    view: prompts.View = world.to_pixels,
    shuffled: bool = False,
    written: bool = False,
    image_prefix: str = IMAGE_PREFIX,
    size: int | None = None,
) -> float:
    """Share of episodes answered rightly: by the likeliest of the choices, or, `written`, by what the model writes.

    view, shuffled  the controls: blank pictures; the pictures of another episode
    """
    pages = [episode.prompt for episode in episodes]
    pages = prompts.swap_pictures(pages) if shuffled else pages
    data = prompts.Prompts(pages, size or model.config.image_size, image_prefix, view)
    if written:
        answers = generate_sentences(model, data, max_new_tokens=4)
    else:
        answers = choose_next_token(model, data, [episode.choices for episode in episodes])
    return exact_match(answers, [episode.answer for episode in episodes])


def text_only_accuracy(lm: nn.Module, episodes: Sequence[Episode]) -> float:
    """The same with the right words, thing and background, instead of each picture: what the language model would answer
    if it saw perfectly. lm: a LanguageModel."""

    def in_words(part) -> str:
        return part if isinstance(part, str) else f"{part.words[0]} {part.background} {STOP}"

    data = prompts.Prompts(
        [(" ".join(map(in_words, episode.prompt)),) for episode in episodes], size=1
    )
    answers = choose_next_token(lm, data, [episode.choices for episode in episodes])
    return exact_match(answers, [episode.answer for episode in episodes])


def score(model: Frozen, view: prompts.View = world.to_pixels) -> Score:
    """Episodes -> share of right answers, for few_shot_report."""
    return lambda episodes: episode_accuracy(model, episodes, view)


def frozen_report(model: Frozen, scale: Scale, count: int = 256) -> dict:
    """Captions; names bound by number of examples, with controls; what is known of things on pictures."""
    return {
        "captions": caption_report(model, count),
        **binding_report(score(model), score(model, prompts.blank_images), count),
        "knowledge": knowledge_report(score(model), count),
    }


recipe = Recipe(
    "frozen",
    SIZES,
    partial(setup, ending=word_directions),
    FROZEN_OPTIMISATION,
    frozen_report,
)
"""The paper's linear prefix, in the directions in which words differ."""
word_hull_recipe = Recipe(
    "frozen_word_hull",
    SIZES,
    partial(setup, ending=word_hull),
    FROZEN_OPTIMISATION,
    frozen_report,
    shipped_dtype=torch.float16,
)
"""The prefix ends in the hull of the words' embeddings: an addition of the course."""
