"""BLIP-2's two stages on the world: between CLIP's image tower and the tiny language model, both frozen.

The frozen tower's features are computed once for each scene and cached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vlmcourse import world
from vlmcourse.evaluation import (
    bidirectional_retrieval,
    cider,
    eval_mode,
    noun_and_background_accuracy,
    recall_at_1,
)
from vlmcourse.papers.blip2 import BLIP2, Stage1
from vlmcourse.papers.qformer import QFormer, QFormerConfig
from vlmcourse.parts.image_features import ImageFeatures, patch_features
from vlmcourse.parts.language import embedding_rms, freeze
from vlmcourse.parts.losses import similarity
from vlmcourse.recipes import frozen
from vlmcourse.recipes import recipe as registry
from vlmcourse.recipes.clip import training_pairs
from vlmcourse.recipes.features import CachedFeatures
from vlmcourse.recipes.frozen import ONE_THING, descriptive_caption, mean_embedding
from vlmcourse.recipes.recipe import Recipe, Run, Stage
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import prompts, tokenizer
from vlmcourse.world.minimal_pairs import SceneChange, caption_choices


@dataclass(frozen=True)
class Sizes(registry.Sizes):
    """Beside batch and steps: different scenes, whose features are cached; queries and layers of the Q-Former."""

    scenes: int
    queries: int
    depth: int


STAGE1_SIZES = {
    "smoke": Sizes(16, 12, scenes=64, queries=4, depth=2),
    "laptop": Sizes(96, 400, scenes=16384, queries=8, depth=2),
    "gpu": Sizes(1024, 20_000, scenes=500_000, queries=32, depth=12),
}
STAGE2_SIZES = {
    "smoke": Sizes(16, 12, scenes=64, queries=4, depth=2),
    "laptop": Sizes(64, 800, scenes=16384, queries=8, depth=2),
    "gpu": Sizes(512, 10_000, scenes=500_000, queries=32, depth=12),
}
STAGE1_OPTIMISATION = Optimisation(1.5e-3, weight_decay=0.05, warmup=0.1)
"""The paper: 1e-4 at width 768."""
STAGE2_OPTIMISATION = Optimisation(1.5e-3, weight_decay=0.05, betas=(0.9, 0.95))


def image_encoder(vision: nn.Module) -> nn.Module:
    """The frozen image encoder: CLIP's image tower without its last block, unless it has a single one (at scale smoke)."""
    return ImageFeatures(vision) if len(vision.transformer.blocks) > 1 else freeze(vision)


def tower(scale: Scale | str | None = None) -> nn.Module:
    """The image encoder of the trained CLIP at this scale."""
    return image_encoder(registry.get("clip").train_or_load(scale).model.vision)


def qformer_config(scale: Scale, **changes) -> QFormerConfig:
    """The Q-Former's sizes at a scale; `changes` replace fields of QFormerConfig."""
    words, sizes = tokenizer.world_tokenizer(), STAGE1_SIZES[scale.name]
    return QFormerConfig(
        **{
            "vision_width": scale.width,
            "vocabulary": len(words),
            "cls_token_id": words.convert_tokens_to_ids("[CLS]"),
            "dec_token_id": words.convert_tokens_to_ids("[DEC]"),
            "pad_token_id": tokenizer.PAD,
            "queries": sizes.queries,
            "width": scale.width,
            "depth": sizes.depth,
            "heads": scale.heads,
            **changes,
        }
    )


def new_qformer(config: QFormerConfig, seed: int = 0) -> QFormer:
    """An untrained Q-Former whose weights depend on the seed alone."""
    with seeded(seed):
        return QFormer(config)


def setup_stage1(
    scale: Scale,
    sizes: Sizes,
    seed: int,
    stage: Stage,
    *,
    vision: nn.Module | None = None,
    **changes,
) -> Run:
    """vision: default, the image encoder of CLIP; changes: of QFormerConfig."""
    vision = vision or image_encoder(stage("clip").vision)
    config = qformer_config(scale, **changes)
    data = CachedFeatures(training_pairs(scale, seed), vision, sizes.scenes)
    with seeded(seed):
        model = Stage1(QFormer(config), vision, scale.width // 2)
    return Run(model, data, config, (vision,), data.count)


def image_prefix(queries: int) -> str:
    """What stands in a text for a picture: its queries and a full stop, as after descriptions in the language model's texts."""
    return " ".join(["<image>"] * queries + ["."])


def mean_word_embedding(lm: nn.Module) -> Tensor:
    """The mean embedding of all nouns and backgrounds, (D,): where the projected queries start."""
    return mean_embedding(lm, [*(noun.word for noun in world.nouns()), *world.BACKGROUNDS])


def projection_near(
    start: Tensor, queries_width: int, lm: nn.Module, residual_scale: float = 0.15
) -> nn.Linear:
    """A projection whose outputs start near `start` (D,): at a distance of `residual_scale` word embeddings.

    The paper starts anywhere. So small a language model transfers more to vectors that begin where its words are (lesson 07).
    """
    projection = nn.Linear(queries_width, len(start))
    # queries have a root mean square of 1
    nn.init.normal_(projection.weight, std=residual_scale * embedding_rms(lm) * queries_width**-0.5)
    with torch.no_grad():
        projection.bias.copy_(start)
    return projection


def new_blip2(qformer: QFormer, vision: nn.Module, lm: nn.Module, seed: int = 0) -> BLIP2:
    """Stage 2 before its first step; its projection depends on the seed alone."""
    image_token_id = tokenizer.world_tokenizer().convert_tokens_to_ids("<image>")
    with seeded(seed):
        projection = projection_near(mean_word_embedding(lm), qformer.config.width, lm)
        return BLIP2(qformer, vision, lm, image_token_id, projection)


def caption_data(
    scale: Scale, vision: nn.Module, queries: int, seed: int = 0, count: int | None = None
) -> CachedFeatures:
    """Single things with captions of many forms, as Frozen's. count: of scenes; default: the scale's."""
    pairs = world.Pairs("train", scale.image_size, seed, ONE_THING, descriptive_caption)
    count = count or STAGE2_SIZES[scale.name].scenes
    return CachedFeatures(pairs, vision, count, image_prefix(queries))


def setup_stage2(
    scale: Scale,
    sizes: Sizes,
    seed: int,
    stage: Stage,
    *,
    vision: nn.Module | None = None,
    qformer: QFormer | None = None,
    lm: nn.Module | None = None,
) -> Run:
    """vision   default: the image encoder of CLIP
    qformer  default: stage 1's. An untrained one (new_qformer) is stage 2 without stage 1
    lm       default: the tiny language model, frozen
    """
    vision = vision or image_encoder(stage("clip").vision)
    qformer = qformer or stage("blip2_stage1", seed, vision=vision).qformer
    lm = lm or freeze(stage("language").lm)
    data = caption_data(scale, vision, qformer.config.queries, seed, sizes.scenes)
    parts = qformer.without_text(), vision, lm
    return Run(new_blip2(qformer, vision, lm, seed), data, qformer.config, parts, data.count)


# What they are tested on.


def match_scorer(model: Stage1, image: Tensor, ids: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """(numbers of images, numbers of texts) -> log-odds that they match, for evaluation.rerank. image: features (B, P, D)"""

    def log_odds(images: Tensor, texts: Tensor) -> Tensor:
        with eval_mode(model):
            logits = [
                model.itm_logits(image[image_rows], ids[text_rows])
                for image_rows, text_rows in zip(images.split(512), texts.split(512))
            ]
        return torch.cat(logits).diff(dim=1)[:, 0]

    return log_odds


def stage1_report(model: Stage1, size: int, count: int = 256, k: int = 16) -> dict[str, float]:
    """R@1 in both directions among held-out pairs, by contrast and with the k best re-ranked by match; blind; chance."""
    pairs = world.Pairs("test", size)
    batch = pairs.batch(pairs.distinct(count))
    pixel_values, ids = batch["pixel_values"], batch["ids"]
    with eval_mode(model):
        image, blank = (
            patch_features(model.vision, view) for view in (pixel_values, pixel_values * 0)
        )
        text = model.encode_text(ids)
        with_image, blind = (
            similarity(model.encode_image(features), text) for features in (image, blank)
        )
    # log-odds of a match, and logits of the contrast: the same unit
    logits = with_image / model.temperature.item()
    report = bidirectional_retrieval(logits, match_scorer(model, image, ids), min(k, count))
    blind_recall = recall_at_1(blind, torch.arange(count))
    return report | {"image to text R@1, blind": blind_recall, "chance": 1 / count}


def caption_pair_accuracy(
    model: Stage1, size: int, change: SceneChange, count: int = 256
) -> dict[str, float]:
    """Share of scenes whose caption is preferred to the caption of the changed scene, by match and by contrast; chance 0.5."""
    choices = caption_choices(change, count=count)
    pictures = world.to_pixels(np.stack([world.render(scene, size) for scene, *_ in choices]))
    right, wrong = (tokenizer.encode([choice[which] for choice in choices]) for which in (1, 2))
    with eval_mode(model):
        image = patch_features(model.vision, pictures)
        queries = model.encode_image(image)
        itm = [model.itm_logits(image, ids).diff(dim=1)[:, 0] for ids in (right, wrong)]
        itc = [
            (queries @ model.encode_text(ids)[:, :, None]).amax(1)[:, 0] for ids in (right, wrong)
        ]
    return {
        "match": (itm[0] > itm[1]).float().mean().item(),
        "contrast": (itc[0] > itc[1]).float().mean().item(),
    }


def generate_captions(
    model: BLIP2, size: int, scenes: Sequence[world.Scene], view: prompts.View = world.to_pixels
) -> list[str]:
    """What the model says of each scene after "a picture of", greedily, up to the full stop."""
    prefix = image_prefix(model.qformer.config.queries)
    return frozen.generate_captions(model, scenes, view, prefix, size)


def caption_scores(
    model: BLIP2, size: int, count: int = 256, view: prompts.View = world.to_pixels
) -> dict[str, float]:
    """Captions of held-out scenes of one thing: the right noun, the right background, CIDEr-D (0 to 10)."""
    scenes = [world.sample("test", index, 0, ONE_THING) for index in range(count)]
    references = [
        sorted(
            {
                world.captions.detailed(scene, world.SeededRandom("reference", scene, draw))
                for draw in range(16)
            }
        )
        for scene in scenes
    ]
    captions = generate_captions(model, size, scenes, view)
    mean_cider = sum(cider(captions, references)) / count
    return noun_and_background_accuracy(captions, scenes) | {"CIDEr": mean_cider}


def question_accuracy(
    model: BLIP2,
    size: int,
    kind: str,
    count: int = 256,
    view: prompts.View = world.to_pixels,
    shuffled: bool = False,
) -> float:
    """Share of held-out questions of a kind about single things, never trained on, answered rightly."""
    episodes = frozen.vqa_episodes(kind, 0, count)
    prefix = image_prefix(model.qformer.config.queries)
    return frozen.episode_accuracy(model, episodes, view, shuffled, image_prefix=prefix, size=size)


stage1 = Recipe(
    "blip2_stage1",
    STAGE1_SIZES,
    setup_stage1,
    STAGE1_OPTIMISATION,
    lambda model, scale, count: stage1_report(model, scale.image_size, count),
)
recipe = Recipe(
    "blip2",
    STAGE2_SIZES,
    setup_stage2,
    STAGE2_OPTIMISATION,
    lambda model, scale, count: caption_scores(model, scale.image_size, count),
    shipped_dtype=torch.float16,
)
