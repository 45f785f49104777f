"""Flamingo on the world's pages, between CLIP's frozen image tower and the frozen tiny language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vlmcourse import world
from vlmcourse.evaluation import choose_next_token, exact_match, noun_accuracy
from vlmcourse.evaluation.generation import generate_sentences
from vlmcourse.papers.flamingo import Flamingo, FlamingoConfig
from vlmcourse.parts.language import freeze
from vlmcourse.parts.vision import ViT
from vlmcourse.recipes import recipe as registry
from vlmcourse.recipes.features import FeatureCache, PixelSource
from vlmcourse.recipes.frozen import mean_embedding
from vlmcourse.recipes.recipe import Recipe, Run
from vlmcourse.training.mixture import JointDatasets, WeightedLosses
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import few_shot, tokenizer
from vlmcourse.world.interleaved import (
    END_OF_CHUNK,
    IMAGE_TOKEN,
    NUM_FRAMES,
    PageDataset,
    WebPages,
    chunked_prompts,
)
from vlmcourse.world.pages import Episode
from vlmcourse.world.prompts import Frames, View
from vlmcourse.world.videos import Video

FLAMINGO_OPTIMISATION = Optimisation(2e-3, weight_decay=0.05, betas=(0.9, 0.95))
"""The paper: AdamW, 1e-4 after 5,000 steps of warm-up, weight decay 0.1 (none on the resampler), 500,000 steps."""
PAPER_DATASET_WEIGHTS = {"pages": 1.0, "pairs": 0.2, "described": 0.2, "videos": 0.03}
"""Of M3W, ALIGN, LTIP and VTP (Sec. B.1.1)."""
DATASET_WEIGHTS = {"pages": 1.0, "pairs": 0.3, "described": 1.0, "videos": 1.0}
"""Ours: our image tower and language model know less than the paper's, and clean descriptions teach most in few steps."""
RESIDUAL_SCALE = 2.0
"""What an open gate adds, in units of the residual stream (`residual_rms`). With the paper's plain sum our few steps are not
enough: the first layer's gates stay closed against noise, and the last layer's have to add thirty times as much."""
GATE_LR_SCALE = 10.0
"""How much faster gates open than the paper's, see parts.layers.TanhGate. With 24 animals and fruits, 400 steps name 0.94 of
the things; with GATE_LR_SCALE 1 they name 0.14, and 0.18 with RESIDUAL_SCALE 6 as well."""


@dataclass(frozen=True)
class Sizes(registry.Sizes):
    """pages_per_step of each data set (`batch` multiplies them), number of different scenes, resampler."""

    pages_per_step: Mapping[str, int]
    scenes: int
    latents: int
    resampler_depth: int


SIZES = {
    "smoke": Sizes(1, 8, {"pages": 2, "pairs": 4, "described": 4, "videos": 2}, 64, 4, 1),
    "laptop": Sizes(1, 1600, {"pages": 12, "pairs": 12, "described": 32, "videos": 8}, 8192, 8, 2),
    "gpu": Sizes(
        1, 20_000, {"pages": 128, "pairs": 256, "described": 256, "videos": 64}, 65_536, 64, 6
    ),
}


class FrozenTower(nn.Module):
    """CLIP's image tower without its last block, normalised: (M, 3, S, S) -> (M, 1 + P, D).

    CLIP is trained through its class token alone, so nothing makes its last block keep what the patches show.
    """

    def __init__(self, vit: ViT):
        super().__init__()
        self.vit, self.width = deepcopy(vit), vit.width
        if len(self.vit.transformer.blocks) > 1:
            self.vit.transformer.blocks = self.vit.transformer.blocks[:-1]
        self.vit.norm_out = nn.LayerNorm(vit.width, elementwise_affine=False)

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.vit.tokens(pixel_values)


def flamingo_config(scale: Scale, **changes) -> FlamingoConfig:
    """Flamingo's sizes at a scale; `changes` replace fields of FlamingoConfig."""
    words, sizes = tokenizer.world_tokenizer(), SIZES[scale.name]
    image_token_id, end_of_chunk = words.convert_tokens_to_ids([IMAGE_TOKEN, END_OF_CHUNK])
    return FlamingoConfig(
        **{
            "image_token_id": image_token_id,
            "vision_width": scale.width,
            "latents": sizes.latents,
            "resampler_depth": sizes.resampler_depth,
            "trainable_token_ids": (end_of_chunk, image_token_id),
            "frames": NUM_FRAMES,
            "gate_lr_scale": GATE_LR_SCALE,
            **changes,
        }
    )


def residual_rms(lm: nn.Module, rows: int = 8) -> tuple[float, ...]:
    """Root mean square of each layer's input, on texts of the world."""
    ids = world.documents.Documents(split="test").batch(range(rows))["ids"]
    with torch.no_grad():
        states = lm(ids, output_hidden_states=True).hidden_states
    # the last states are the head's input
    return tuple(round(state.square().mean().sqrt().item(), 3) for state in states[:-1])


def new_flamingo(
    config: FlamingoConfig,
    tower: nn.Module,
    lm: nn.Module,
    seed: int = 0,
    model: type[Flamingo] = Flamingo,
    **parts,
) -> Flamingo:
    """An untrained Flamingo, which depends on the seed alone, between these two. parts: block, resampler of Flamingo."""
    with seeded(seed):
        return model(config, tower, lm, **parts)


@torch.no_grad()
def start_tags_at_words(model: Flamingo) -> None:
    """The trainable input rows of <image> and <EOC> start at the mean noun and at the full stop: a picture stands where a noun
    stands in the language model's texts. From rows that are like no word, no name is bound to a picture in as many steps."""
    starts = {IMAGE_TOKEN: [noun.word for noun in world.nouns()], END_OF_CHUNK: ["."]}
    ids = tokenizer.world_tokenizer().convert_tokens_to_ids(list(starts))
    for number, words in zip(ids, starts.values()):
        if number in model.config.trainable_token_ids:
            row = model.config.trainable_token_ids.index(number)
            model.new_embeddings[row] = mean_embedding(model.lm, words)


def page_datasets(
    scale: Scale,
    to_features: Callable[[Sequence[Frames]], dict],
    web: WebPages | None = None,
    share: int = 1,
) -> dict[str, tuple[PageDataset, int]]:
    """The four data sets, each with how many pages a step takes.

    to_features  FeatureCache or PixelSource
    web          where the pages come from. Default: as many different scenes as the scale has, seed 0
    share        so many times fewer pages, at least one of each
    """
    sizes = SIZES[scale.name]
    web = web or WebPages(pool=sizes.scenes)
    return {
        name: (PageDataset(getattr(web, name), to_features), max(1, pages // share))
        for name, pages in sizes.pages_per_step.items()
    }


def setup(
    scale: Scale,
    sizes: Sizes,
    seed: int,
    stage,
    *,
    lm: nn.Module | None = None,
    tower: nn.Module | None = None,
    features: FeatureCache | None = None,
    data=None,
    weights: Mapping[str, float] = DATASET_WEIGHTS,
    parts: Mapping[str, Callable] | None = None,
    **changes,
) -> Run:
    """The model is WeightedLosses: `.model` is the Flamingo, `.gates_by_step()` its gates over training.

    lm, tower  default: the tiny language model and CLIP's tower, frozen. Of one that is not frozen a copy is trained, too
    features   for several runs with the same tower: its cache
    data       {name: (data set, pages a step)}, or a mixture of them; default: page_datasets
    parts      block, resampler of Flamingo; "model": another class than Flamingo;  changes: of FlamingoConfig
    """
    lm = freeze(stage("language").lm) if lm is None else deepcopy(lm)
    tower = freeze(FrozenTower(stage("clip").vision)) if tower is None else tower
    learns = any(parameter.requires_grad for parameter in tower.parameters())
    cache = features or FeatureCache(tower, scale.image_size)
    web = WebPages(seed=seed, pool=sizes.scenes)
    data = data or page_datasets(scale, PixelSource(scale.image_size) if learns else cache, web)
    data = JointDatasets(data) if isinstance(data, Mapping) else data
    interval = changes.get("cross_attention_every", 1)
    rms = residual_rms(lm)[interval - 1 :: interval]
    changes = {"residual_scale": tuple(RESIDUAL_SCALE * value for value in rms), **changes}
    config, parts = flamingo_config(scale, **changes), parts or {}
    model = new_flamingo(config, deepcopy(tower), lm, seed, **parts)
    start_tags_at_words(model)
    mixed = WeightedLosses(model, weights, sizes.steps)
    return Run(mixed, data, config, (lm, tower, dict(weights), parts, type(data)))


# What it is tested on: compositions that training never showed.

TEST = WebPages("test")


def caption_accuracy(
    model: Flamingo,
    size: int,
    count: int = 256,
    view: View = world.to_pixels,
    web: WebPages = TEST,
) -> dict[str, float]:
    """Captions of held-out scenes of one thing, greedily: share with the right noun; share that names a background, and of
    those, the share with the right one."""
    scenes = [web.single_thing(index) for index in range(count)]
    data = chunked_prompts([(scene, "a picture of") for scene in scenes], size, view)
    captions = generate_sentences(model, data, max_new_tokens=12)
    words = [set(tokenizer.split_words(caption)) for caption in captions]
    with_background = [bool(caption_words & set(world.BACKGROUNDS)) for caption_words in words]
    right = sum(scene.background in caption_words for scene, caption_words in zip(scenes, words))
    return {
        "noun": noun_accuracy(captions, scenes),
        "noun, chance": 1 / len(web.noun_subset or world.known_nouns()),
        "background said": sum(with_background) / count,
        "background, where said": right / max(1, sum(with_background)),
    }


def episode_accuracy(
    model: Flamingo,
    episodes: Sequence[Episode],
    size: int,
    view: View = world.to_pixels,
    batch: int = 64,
) -> float:
    """Share of episodes whose likeliest choice is the right one."""
    data = chunked_prompts([episode.prompt for episode in episodes], size, view)
    answers = choose_next_token(model, data, [episode.choices for episode in episodes], batch)
    return exact_match(answers, [episode.answer for episode in episodes])


def shot_curve(
    model: Flamingo,
    size: int,
    shots: Sequence[int] = (0, 1, 2, 4, 8),
    count: int = 256,
    ways: int = 4,
    seed: int = 0,
    shuffled: bool = False,
) -> dict[int, float]:
    """Fast binding of invented names by number of examples. shuffled: the examples show another episode's pictures."""
    curve = {}
    for number in shots:
        episodes = [
            few_shot.binding_episode("test", index, number, ways, seed) for index in range(count)
        ]
        episodes = few_shot.other_pictures(episodes) if shuffled else episodes
        curve[number] = episode_accuracy(model, episodes, size)
    return curve


def motion_report(model: Flamingo, size: int, count: int = 256) -> dict[str, float]:
    """Which direction did it move? Of the video, of its first frame, of that frame repeated, and of the frames backwards."""
    motions = few_shot.motion_episodes(TEST, count)

    def score(change: Callable[[Video], Frames]) -> float:
        episodes = [
            replace(episode, prompt=(replace(video, frames=change(video)), *episode.prompt[1:]))
            for video, episode in motions
        ]
        return episode_accuracy(model, episodes, size)

    return {
        "film": score(lambda video: video.frames),
        "one frame": score(lambda video: video.frames[:1]),
        "one frame, repeated": score(lambda video: video.frames[:1] * len(video.frames)),
        "frames backwards": score(lambda video: video.frames[::-1]),
        "chance": 1 / 4,
    }


def flamingo_report(model: Flamingo, size: int, count: int = 256) -> dict:
    """Captions, binding by number of examples, and motion. Names are those of saved results."""
    return {
        "captions": caption_accuracy(model, size, count),
        "shots": shot_curve(model, size, count=count),
        "shots, exchanged pictures": shot_curve(model, size, count=count, shuffled=True),
        "motion": motion_report(model, size, count),
    }


recipe = Recipe(
    "flamingo",
    SIZES,
    setup,
    FLAMINGO_OPTIMISATION,
    lambda mixed, scale, count: flamingo_report(mixed.model, scale.image_size, count),
    shipped_dtype=torch.float16,
)
