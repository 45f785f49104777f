"""Frozen: the stage of lesson 05, the rows of its tables, and what each row is tested on.

The rows differ in what they are given, never in a switch: another language model (finetuned, scratch, smaller), other
pictures (blind), other texts (questions in the place of captions).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from vlmcourse import world
from vlmcourse.evaluation import (
    choose_next_token,
    exact_match,
    generate_texts,
    noun_and_background_accuracy,
)
from vlmcourse.papers.frozen import Frozen, FrozenConfig
from vlmcourse.parts.language import freeze
from vlmcourse.parts.word_hull import WordHull
from vlmcourse.recipes.language import language, text_prompts
from vlmcourse.training import checkpoint
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import TrainedStage, seeded, train_or_load
from vlmcourse.world import prompts, tokenizer

IMAGE_PREFIX = "<image> <image> ."
"""What stands in a text for a picture: two vectors and a full stop, as descriptions have in the language model's texts."""
ONE_THING = (1, 1)
FROZEN_OPTIMISATION = Optimisation(2e-3, weight_decay=0.05, betas=(0.9, 0.95))
STOP = "."


def frozen_config(scale: Scale, **changes) -> FrozenConfig:
    """Frozen's sizes at a scale; `changes` replace fields of FrozenConfig."""
    image_token_id = tokenizer.world_tokenizer().convert_tokens_to_ids("<image>")
    return FrozenConfig(
        **{
            "image_token_id": image_token_id,
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
    return lm.get_input_embeddings().weight.detach()[tokenizer.encode(words)[:, 1]].mean(0)


def mean_noun_and_background(lm: nn.Module) -> Tensor:
    """The mean of all nouns' embeddings, and of all backgrounds': (2, D). Where the two vectors of a picture start."""
    return torch.stack(
        [
            mean_embedding(lm, words)
            for words in ([one.word for one in world.nouns()], list(world.BACKGROUNDS))
        ]
    )


def word_hull(lm: nn.Module, steps: int) -> WordHull:
    """The prefix ends in the hull of all words, an addition of the course: see WordHull."""
    rows = lm.get_input_embeddings().weight
    return WordHull(rows[len(tokenizer.SPECIAL) :], steps)


def descriptive_caption(scene: world.Scene, draws: world.scenes.SeededRandom) -> str:
    """A caption as the language model's texts go on after a description: in any of their forms, then a full stop.

    So, were the vectors of a picture the right words, they would predict its captions as well as anything can. With captions
    of another kind they would have to announce that kind as well, and end up as no words at all (lesson 05 compares).
    """
    return f"{world.documents.describe(scene, draws)} {STOP}"


def caption_data(
    scale: Scale, seed: int = 0, view: prompts.View = world.to_pixels
) -> prompts.CaptionDataset:
    """Things alone with captions of many forms, such as the language model's texts have after a description."""
    pairs = world.Pairs("train", scale.image_size, seed, ONE_THING, descriptive_caption)
    return prompts.CaptionDataset(pairs, IMAGE_PREFIX, view)


def vqa_data(
    scale: Scale, kinds: Sequence[str], seed: int = 0, view: prompts.View = world.to_pixels
) -> prompts.VQADataset:
    """Things alone with questions of these kinds, to train on questions in the place of captions."""
    pairs = world.Pairs("train", scale.image_size, seed, ONE_THING)
    return prompts.VQADataset(world.questions.VQAPairs(pairs, tuple(kinds)), IMAGE_PREFIX, view)


def frozen(
    scale: Scale | str | None = None,
    seed: int = 0,
    *,
    lm: nn.Module | None = None,
    data=None,
    start: Callable[[nn.Module], Tensor | None] = mean_noun_and_background,
    ending: Callable[[nn.Module, int], nn.Module] | None = None,
    steps: int | None = None,
    on_step: Callable[[Step], None] | None = None,
    **changes,
) -> TrainedStage:
    """Frozen on the world, trained or loaded.

    lm       default: the tiny language model, frozen. A model that is not frozen learns too (a copy of it does).
    data     of captioned() or answered(); default: captioned(scale, seed)
    start    lm -> where the vectors of a picture start, or None: see Frozen
    ending   (lm, steps) -> what becomes of the vectors at last, such as word_hull: see Frozen
    changes  of FrozenConfig
    """
    size = Scale.of(scale)
    steps = steps or size.frozen_steps
    lm = freeze(language(size).model.lm) if lm is None else deepcopy(lm)
    data, config = data or caption_data(size, seed), frozen_config(size, **changes)
    learns = any(parameter.requires_grad for parameter in lm.parameters())
    asked_of = getattr(data, "asked", None)  # questions, or captions of pairs
    pairs = asked_of.pairs if asked_of else data.pairs
    fingerprint = {
        "config": str(config),
        "language model": checkpoint.checksum(lm.state_dict()),
        "batch": size.frozen_batch,
        "language model learns": learns,
        "data": type(data).__name__,
        "view": data.view.__name__,
        "start": start.__name__,
        "kinds": asked_of and asked_of.kinds,
        "caption": pairs.caption.__qualname__,
        "data seed": pairs.seed,
        "nouns": getattr(pairs, "noun_subset", ()),
        "ending": ending and ending.__name__,
    }
    return train_or_load(
        "frozen",
        new_frozen(config, lm, seed, start(lm), ending and ending(lm, steps)),
        Batches(data.batch, size.frozen_batch),
        steps,
        FROZEN_OPTIMISATION,
        fingerprint=fingerprint,
        seed=seed,
        on_step=on_step,
    )


def generate_sentences(model: nn.Module, asked, most: int) -> list[str]:
    """What a model goes on with after each prompt, up to the full stop. Greedy. asked: prompts as evaluate.texts takes them."""
    stop = tokenizer.encode([STOP])[0, 1].item()
    return [
        text.removesuffix(STOP).strip()
        for text in generate_texts(model, asked, most=most, stop=stop)
    ]


def generate_captions(
    model: Frozen, scenes: Sequence[world.Scene], view: prompts.View = world.to_pixels
) -> list[str]:
    """What the model says of each scene after "a picture of", up to the full stop. Greedy."""
    asked = prompts.Prompts(
        [(scene, "a picture of") for scene in scenes], model.config.image_size, IMAGE_PREFIX, view
    )
    return generate_sentences(model, asked, most=8)


def caption_report(
    model: Frozen, count: int = 256, view: prompts.View = world.to_pixels
) -> dict[str, float]:
    """What the model says of held-out scenes of one thing after "a picture of": is it the right noun, the right background?
    Greedy, exact."""
    scenes = [world.sample("test", index, 0, ONE_THING) for index in range(count)]
    return noun_and_background_accuracy(generate_captions(model, scenes, view), scenes)


def naming_episodes(shots: int, count: int = 256, **options) -> list[world.pages.Episode]:
    """Fast binding of invented names: `count` held-out episodes. options: ways, repeats, induction of pages.naming."""
    return [
        world.pages.naming_episode("test", index, shots=shots, **options) for index in range(count)
    ]


def vqa_episodes(kind: str, shots: int, count: int = 256) -> list[world.pages.Episode]:
    """Questions of a kind about held-out things alone, after so many solved ones."""
    return [
        world.pages.vqa_episode("test", index, kind, shots, things=ONE_THING)
        for index in range(count)
    ]


def episode_accuracy(
    model: Frozen,
    episodes: Sequence[world.pages.Episode],
    view: prompts.View = world.to_pixels,
    shuffled: bool = False,
    written: bool = False,
) -> float:
    """Share of episodes answered rightly: the likeliest of the choices, or, `written`, whatever the model writes.

    view, shuffled  the controls: grey pictures; the pictures of another episode
    """
    pages = [episode.prompt for episode in episodes]
    data = prompts.Prompts(
        prompts.swap_pictures(pages) if shuffled else pages,
        model.config.image_size,
        IMAGE_PREFIX,
        view,
    )
    if written:
        said = generate_sentences(model, data, most=4)
    else:
        said = choose_next_token(model, data, [episode.choices for episode in episodes])
    return exact_match(said, [one.answer for one in episodes])


def text_only_accuracy(lm: nn.Module, episodes: Sequence[world.pages.Episode]) -> float:
    """The same with two right words, thing and background, in the place of each picture: what the language model would
    answer if it saw perfectly. lm: recipes.language().model."""
    texts_ = [
        " ".join(
            part if isinstance(part, str) else f"{part.words[0]} {part.background} {STOP}"
            for part in one.prompt
        )
        for one in episodes
    ]
    return exact_match(
        choose_next_token(lm, text_prompts(texts_), [one.choices for one in episodes]),
        [one.answer for one in episodes],
    )
