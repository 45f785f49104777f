"""Flamingo: the stage of lesson 08, its data, and what it is tested on.

Left and right of it are models that are there and stay: CLIP's image tower (lesson 02) and the tiny language model (04).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vlmcourse import world
from vlmcourse.evaluation import choose_next_token, exact_match, noun_accuracy
from vlmcourse.papers.flamingo import Flamingo, FlamingoConfig
from vlmcourse.parts.language import freeze
from vlmcourse.parts.vision import ViT
from vlmcourse.recipes.clip import clip
from vlmcourse.recipes.frozen import generate_sentences, mean_embedding
from vlmcourse.recipes.language import language
from vlmcourse.training import checkpoint
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step
from vlmcourse.training.mixture import JointDatasets, WeightedLosses
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import TrainedStage, seeded, train_or_load
from vlmcourse.world import few_shot as few
from vlmcourse.world import interleaved, tokenizer
from vlmcourse.world.interleaved import Frames, PageDataset, Prompts, WebPages

FLAMINGO_OPTIMISATION = Optimisation(2e-3, weight_decay=0.05, betas=(0.9, 0.95))
"""The paper: AdamW, 1e-4 after 5,000 steps of warm-up, weight decay 0.1 (none on the resampler), 500,000 steps."""
PAPER_DATASET_WEIGHTS = {"pages": 1.0, "pairs": 0.2, "described": 0.2, "videos": 0.03}
"""Of M3W, ALIGN, LTIP and VTP (Sec. B.1.1)."""
DATASET_WEIGHTS = {"pages": 1.0, "pairs": 0.3, "described": 1.0, "videos": 1.0}
"""Ours: no tower and no language model here knows as much as the paper's, and clean descriptions teach most in few steps."""
RESIDUAL_SCALE = 2.0
"""What an open gate adds, in sizes of what its layer reads (`stream`). With the paper's plain sum our few steps are not enough:
the gates of the first layer stay shut against noise, those of the last have to bring up thirty times as much."""
GATE_LR_SCALE = 10.0
"""How much faster gates open than the paper's, see parts.layers.TanhGate. With 24 animals and fruits, 400 steps name 0.18 of
the things with pace 1 and reach 6, 0.14 with pace 1 and reach 2, and 0.94 so."""


@dataclass(frozen=True)
class Size:
    """What a scale means here: steps, pages of each data set in a step, different scenes there are, latents."""

    steps: int
    per_step: Mapping[str, int]
    pool: int
    latents: int
    depth: int


SIZES = {
    "smoke": Size(8, {"pages": 2, "pairs": 4, "described": 4, "videos": 2}, 64, 4, 1),
    "laptop": Size(1600, {"pages": 6, "pairs": 12, "described": 40, "videos": 8}, 8192, 8, 2),
    "gpu": Size(
        20_000, {"pages": 128, "pairs": 256, "described": 256, "videos": 64}, 65_536, 64, 6
    ),
}


class FrozenTower(nn.Module):
    """CLIP's image tower as Flamingo reads it: the states before its last block, normalised: (M, 3, S, S) -> (M, 1 + P, D).

    CLIP is trained through its class token alone. What the last block makes of the patches was never asked for.
    """

    def __init__(self, vit: ViT):
        super().__init__()
        self.vit, self.width = deepcopy(vit), vit.width
        if len(self.vit.transformer.blocks) > 1:
            self.vit.transformer.blocks = self.vit.transformer.blocks[:-1]
        self.vit.norm_out = nn.LayerNorm(vit.width, elementwise_affine=False)

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.vit.tokens(pixel_values)


class FeatureCache:
    """What a frozen tower makes of scenes, computed once each: films -> {"features": (M, T, P, D)} (a list if T differs)."""

    def __init__(self, tower: nn.Module, size: int):
        self.tower, self.size, self.features = tower, size, {}

    @torch.no_grad()
    def __call__(self, films: Sequence[Frames]) -> dict:
        new = list(
            dict.fromkeys(
                scene for frames in films for scene in frames if scene not in self.features
            )
        )
        for start in range(0, len(new), 256):
            part = new[start : start + 256]
            made = self.tower(interleaved.frame_pixels([(scene,) for scene in part], self.size))
            self.features.update(zip(part, made.half()))  # (P, D) each
        stacked = [
            torch.stack([self.features[scene] for scene in frames]).float() for frames in films
        ]
        alike = len({one.shape for one in stacked}) == 1
        return {"features": torch.stack(stacked) if alike else stacked}


class PixelSource:
    """In the place of Kept, for a tower that learns: films -> {"pixels": ...}."""

    def __init__(self, size: int):
        self.size = size

    def __call__(self, films: Sequence[Frames]) -> dict:
        return {"pixel_values": interleaved.frame_pixels(films, self.size)}


def flamingo_config(scale: Scale, **changes) -> FlamingoConfig:
    """Flamingo's sizes at a scale; `changes` replace fields of FlamingoConfig."""
    image_token_id, close = tokenizer.world_tokenizer().convert_tokens_to_ids(
        [interleaved.IMAGE_TOKEN, interleaved.END_OF_CHUNK]
    )
    size = SIZES[scale.name]
    return FlamingoConfig(
        **{
            "image_token_id": image_token_id,
            "vision_width": scale.width,
            "latents": size.latents,
            "resampler_depth": size.depth,
            "trainable_token_ids": (close, image_token_id),
            "frames": interleaved.NUM_FRAMES,
            "gate_lr_scale": GATE_LR_SCALE,
            **changes,
        }
    )


def residual_rms(lm: nn.Module, rows: int = 8) -> tuple[float, ...]:
    """How large what each layer reads is (root mean square), on texts of the world."""
    with torch.no_grad():
        states = lm(
            world.documents.Documents(split="test").batch(range(rows))["ids"],
            output_hidden_states=True,
        ).hidden_states
    return tuple(
        round(state.square().mean().sqrt().item(), 3) for state in states[:-1]
    )  # after the last: what the head reads


def new_flamingo(
    config: FlamingoConfig, tower: nn.Module, lm: nn.Module, seed: int = 0, **parts
) -> Flamingo:
    """An untrained Flamingo, which depends on the seed alone, between these two. parts: block, resampler of Flamingo."""
    with seeded(seed):
        return Flamingo(config, tower, lm, **parts)


@torch.no_grad()
def start_tags_at_words(model: Flamingo) -> None:
    """The learnt input rows of <image> and <EOC> start at the mean noun and at the full stop: a picture stands where a noun
    stands in the language model's texts. From rows that are like no word, no name is bound to a picture in as many steps."""
    starts = {
        interleaved.IMAGE_TOKEN: [one.word for one in world.nouns()],
        interleaved.END_OF_CHUNK: ["."],
    }
    ids = tokenizer.world_tokenizer().convert_tokens_to_ids(list(starts))
    for number, words in zip(ids, starts.values()):
        if number in model.config.trainable_token_ids:
            row = model.config.trainable_token_ids.index(number)
            model.new_embeddings[row] = mean_embedding(model.lm, words)


def page_datasets(
    scale: Scale, see: Callable[[list[Frames]], dict], web: WebPages | None = None, share: int = 1
) -> dict[str, tuple[PageDataset, int]]:
    """The four data sets, with how many pages of each a step takes.

    web    where they come from. Default: as many different scenes as the scale has, seed 0
    share  so many times fewer pages, at least one of each
    """
    size = SIZES[scale.name]
    web = web or WebPages(pool=size.pool)
    return {
        name: (PageDataset(getattr(web, name), see), max(1, per // share))
        for name, per in size.per_step.items()
    }


def origin(page: Callable) -> str:
    """Where pages come from, as text: a method with what it belongs to, `Web(split='train', ...)`; a function by its name."""
    return str(page) if hasattr(page, "__self__") else f"{page.__module__}.{page.__qualname__}"


def plain(config: FlamingoConfig) -> dict:
    """The configuration as text; functions by their names."""
    return {name: getattr(value, "__name__", str(value)) for name, value in vars(config).items()}


def flamingo(
    scale: Scale | str | None = None,
    seed: int = 0,
    *,
    lm: nn.Module | None = None,
    tower: nn.Module | None = None,
    kept: FeatureCache | None = None,
    data=None,
    weights: Mapping[str, float] = DATASET_WEIGHTS,
    steps: int | None = None,
    on_step: Callable[[Step], None] | None = None,
    parts: Mapping[str, Callable] | None = None,
    **changes,
) -> TrainedStage:
    """Flamingo on the world, trained or loaded. Its model is WeightedLosses: `.model.model` is the Flamingo, `.model.gates_by_step()` their way.

    lm, tower  default: the tiny language model and CLIP's tower, frozen. What is not frozen learns too (a copy of it does)
    kept       for several runs with the same tower: what it has seen already
    data       {name: (data set, pages a step)}, or a mixture of them; default: Accumulated(sources(scale))
    parts      block, resampler of Flamingo;  changes: of FlamingoConfig
    """
    size = Scale.of(scale)
    steps = steps or SIZES[size.name].steps
    lm = freeze(deepcopy(language(size).model.lm)) if lm is None else deepcopy(lm)
    tower = freeze(FrozenTower(clip(size).model.vision)) if tower is None else tower
    learns = [
        name
        for name, model in (("tower", tower), ("language model", lm))
        if any(parameter.requires_grad for parameter in model.parameters())
    ]
    see = (
        PixelSource(size.image_size)
        if "tower" in learns
        else kept or FeatureCache(tower, size.image_size)
    )
    data = data or page_datasets(size, see, WebPages(seed=seed, pool=SIZES[size.name].pool))
    mixture = JointDatasets(data) if isinstance(data, Mapping) else data
    every = changes.get("cross_attention_every", 1)
    config = flamingo_config(
        size,
        **{
            "residual_scale": tuple(
                RESIDUAL_SCALE * one for one in residual_rms(lm)[every - 1 :: every]
            ),
            **changes,
        },
    )
    fingerprint = {
        "config": plain(config),
        "language model": checkpoint.checksum(lm.state_dict()),
        "learns": learns,
        "tower": checkpoint.checksum(tower.state_dict()),
        "data": type(mixture).__name__,
        "sources": {
            name: [origin(source.page), per] for name, (source, per) in mixture.sources.items()
        },
        "weights": dict(weights),
        "parts": {name: part.__name__ for name, part in (parts or {}).items()},
    }
    network = new_flamingo(config, deepcopy(tower), lm, seed, **(parts or {}))
    start_tags_at_words(network)
    model = WeightedLosses(network, weights, steps)
    return train_or_load(
        "flamingo",
        model,
        Batches(mixture.batch, 1),
        steps,
        FLAMINGO_OPTIMISATION,
        fingerprint=fingerprint,
        seed=seed,
        on_step=on_step,
    )


# What it is tested on: compositions that training never showed.

TEST = WebPages("test")


def caption_accuracy(
    model: Flamingo,
    size: int,
    count: int = 256,
    view: interleaved.View = world.to_pixels,
    web: WebPages = TEST,
) -> dict[str, float]:
    """What the model writes under held-out scenes of one thing, greedily: is it the right noun, the right background?"""
    scenes = [web.single_thing(index) for index in range(count)]
    said = generate_sentences(
        model, Prompts([(scene, "a picture of") for scene in scenes], size, view), most=12
    )
    named = [
        (scene, words)
        for scene, words in zip(scenes, map(tokenizer.split_words, said))
        if set(words) & set(world.BACKGROUNDS)
    ]
    right = sum(scene.background in words for scene, words in named)
    return {
        "noun": noun_accuracy(said, scenes),
        "noun, chance": 1 / len(web.words or world.known_nouns()),
        "background said": len(named) / count,
        "background, where said": right / max(1, len(named)),
    }


def episode_accuracy(
    model: Flamingo,
    episodes: Sequence[world.pages.Episode],
    size: int,
    view: interleaved.View = world.to_pixels,
    batch: int = 64,
) -> float:
    """Share of episodes whose likeliest choice is the right one."""
    data = Prompts([episode.prompt for episode in episodes], size, view)
    said = choose_next_token(model, data, [episode.choices for episode in episodes], batch)
    return exact_match(said, [episode.answer for episode in episodes])


def shot_curve(
    model: Flamingo,
    size: int,
    shots: Sequence[int] = (0, 1, 2, 4, 8),
    count: int = 256,
    ways: int = 4,
    seed: int = 0,
    exchanged: bool = False,
) -> dict[int, float]:
    """Fast binding of invented names by number of solved examples; `exchanged`: with the pictures of another episode's."""
    curve = {}
    for number in shots:
        episodes = [
            few.binding_episode("test", index, number, ways, seed) for index in range(count)
        ]
        curve[number] = episode_accuracy(
            model, few.other_pictures(episodes) if exchanged else episodes, size
        )
    return curve


def motion_report(model: Flamingo, size: int, count: int = 256) -> dict[str, float]:
    """Which way did it move? Of the whole film, of its first frame alone, of one frame again and again, and backwards."""
    made = few.motion_episodes(TEST, count)

    def score(change: Callable[[world.videos.Video], Frames]) -> float:
        return episode_accuracy(
            model,
            [
                replace(episode, prompt=(replace(film, frames=change(film)), *episode.prompt[1:]))
                for film, episode in made
            ],
            size,
        )

    return {
        "film": score(lambda film: film.frames),
        "one frame": score(lambda film: film.frames[:1]),
        "one frame, repeated": score(lambda film: film.frames[:1] * len(film.frames)),
        "frames backwards": score(lambda film: film.frames[::-1]),
        "chance": 1 / 4,
    }


def flamingo_report(model: Flamingo, size: int, count: int = 256) -> dict:
    """All of it."""
    return {
        "captions": caption_accuracy(model, size, count),
        "shots": shot_curve(model, size, count=count),
        "shots, exchanged pictures": shot_curve(model, size, count=count, exchanged=True),
        "motion": motion_report(model, size, count),
    }
