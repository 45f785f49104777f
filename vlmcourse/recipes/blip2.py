"""BLIP-2: the two stages of lesson 07 and their reports.

Between the course's CLIP (its image tower, frozen, without its last block) and the tiny language model (frozen). The tower
says the same of a picture at every step, so a set of scenes is looked at once and its features are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from vlmcourse import world
from vlmcourse.evaluation import (
    bidirectional_retrieval,
    choose_next_token,
    cider,
    eval_mode,
    exact_match,
    noun_and_background_accuracy,
    recall_at_1,
)
from vlmcourse.papers.blip2 import BLIP2, Stage1
from vlmcourse.papers.qformer import QFormer, QFormerConfig
from vlmcourse.parts.image_features import ImageFeatures, patch_features
from vlmcourse.parts.language import embedding_rms, freeze
from vlmcourse.parts.losses import similarity
from vlmcourse.recipes.clip import HELD_OUT, clip, training_pairs
from vlmcourse.recipes.frozen import (
    ONE_THING,
    descriptive_caption,
    generate_sentences,
    mean_embedding,
    vqa_episodes,
)
from vlmcourse.recipes.language import language
from vlmcourse.training import checkpoint
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import TrainedStage, seeded, train_or_load
from vlmcourse.world import prompts, tokenizer


@dataclass(frozen=True)
class Sizes:
    """What the two stages need beside a Scale."""

    queries: int
    depth: int
    scenes: int  # looked at once; each epoch shows them in another order
    batch: int
    steps: int
    language_batch: int
    language_steps: int


SIZES = {
    "smoke": Sizes(
        queries=4, depth=2, scenes=64, batch=16, steps=12, language_batch=16, language_steps=12
    ),
    "laptop": Sizes(
        queries=8, depth=2, scenes=16384, batch=96, steps=400, language_batch=64, language_steps=800
    ),
    "gpu": Sizes(
        queries=32,
        depth=12,
        scenes=500_000,
        batch=1024,
        steps=20_000,
        language_batch=512,
        language_steps=10_000,
    ),
}
STAGE1_OPTIMISATION = Optimisation(
    1.5e-3, weight_decay=0.05, warmup=0.1
)  # the paper: 1e-4 at width 768
STAGE2_OPTIMISATION = Optimisation(1.5e-3, weight_decay=0.05, betas=(0.9, 0.95))


def tower(scale: Scale | str | None = None) -> nn.Module:
    """The frozen image encoder: CLIP's image tower, read at its second-last block (at scale smoke it has a single one)."""
    size = Scale.of(scale)
    vision = clip(size).model.vision
    return ImageFeatures(vision) if size.vision_depth > 1 else freeze(vision)


@lru_cache(4)
def _encode_scenes(vision: nn.Module, pairs: world.Pairs, count: int) -> Tensor:
    """Features of the first `count` scenes, (N, P, C), in half the memory: the encoder works on them once."""
    device = next(vision.parameters()).device
    with torch.no_grad():
        return torch.cat(
            [
                patch_features(
                    vision,
                    world.to_pixels(pairs.images(range(start, min(start + 256, count)))).to(device),
                )
                .half()
                .cpu()
                for start in range(0, count, 256)
            ]
        )


@dataclass(frozen=True)
class CachedFeatures:
    """The first `count` of `pairs`, their pictures as the frozen encoder sees them.

    place  what stands for a picture in a text to go on with; None: pairs to compare, for stage 1
    """

    pairs: world.Pairs
    vision: nn.Module
    count: int
    image_prefix: str | None = None

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """`features` (B, P, C), and `ids`, `same` to compare, or `ids`, `loss_mask` to go on with."""
        said = [self.pairs.text(index) for index in indices]
        if self.image_prefix is None:
            made = {
                "ids": tokenizer.encode(said),
                "positive_groups": torch.tensor([said.index(text) for text in said]),
            }
        else:
            made = prompts.training_batch([(self.image_prefix,)] * len(said), said, self.pairs.size)
            del made["pixel_values"]
        return made | {
            "features": _encode_scenes(self.vision, self.pairs, self.count)[indices].float()
        }


def qformer_config(scale: Scale, **changes) -> QFormerConfig:
    """The Q-Former's sizes at a scale; `changes` replace fields of QFormerConfig."""
    words, size = tokenizer.world_tokenizer(), SIZES[scale.name]
    return QFormerConfig(
        **{
            "vision_width": scale.width,
            "vocabulary": len(words),
            "cls_token_id": words.convert_tokens_to_ids("[CLS]"),
            "dec_token_id": words.convert_tokens_to_ids("[DEC]"),
            "pad_token_id": tokenizer.PAD,
            "queries": size.queries,
            "width": scale.width,
            "depth": size.depth,
            "heads": scale.heads,
            **changes,
        }
    )


def new_qformer(config: QFormerConfig, seed: int = 0) -> QFormer:
    """An untrained Q-Former whose weights depend on the seed alone."""
    with seeded(seed):
        return QFormer(config)


def stage1(
    scale: Scale | str | None = None,
    seed: int = 0,
    *,
    vision: nn.Module | None = None,
    steps: int | None = None,
    on_step: Callable[[Step], None] | None = None,
    **changes,
) -> TrainedStage:
    """Stage 1 on the world, trained or loaded. vision: default `tower(scale)`; changes: of QFormerConfig."""
    size = Scale.of(scale)
    vision, sizes, config = vision or tower(size), SIZES[size.name], qformer_config(size, **changes)
    data = CachedFeatures(training_pairs(size, seed), vision, sizes.scenes)
    with seeded(seed):
        model = Stage1(QFormer(config), vision, size.width // 2)
    fingerprint = {
        "config": str(config),
        "vision": checkpoint.checksum(vision.state_dict()),
        "scenes": data.count,
        "data seed": seed,
        "batch": sizes.batch,
    }
    return train_or_load(
        "blip2-stage1",
        model,
        Batches(data.batch, sizes.batch, data.count, seed),
        steps or sizes.steps,
        STAGE1_OPTIMISATION,
        fingerprint=fingerprint,
        seed=seed,
        on_step=on_step,
    )


def image_prefix(queries: int) -> str:
    """What stands in a text for a picture: its queries and a full stop, as descriptions have in the language model's texts."""
    return " ".join(["<image>"] * queries + ["."])


def mean_word_embedding(lm: nn.Module) -> Tensor:
    """The mean of all nouns' and backgrounds' embeddings, (D,): where what a query says may start."""
    return mean_embedding(lm, [*(one.word for one in world.nouns()), *world.BACKGROUNDS])


def projection_near(
    start: Tensor, queries_width: int, lm: nn.Module, residual_scale: float = 0.15
) -> nn.Linear:
    """A projection whose outputs start near `start` (D,), as far from it as `residual_scale` lengths of a word.

    The paper starts anywhere. So small a language model lends more to vectors that begin where its words are (lesson 05).
    """
    language_projection = nn.Linear(queries_width, len(start))
    nn.init.normal_(
        language_projection.weight, std=residual_scale * embedding_rms(lm) * queries_width**-0.5
    )  # queries have a root mean square of 1
    with torch.no_grad():
        language_projection.bias.copy_(start)
    return language_projection


def new_blip2(former: QFormer, vision: nn.Module, lm: nn.Module, seed: int = 0) -> BLIP2:
    """Stage 2 before its first step; its projection depends on the seed alone."""
    image_token_id = tokenizer.world_tokenizer().convert_tokens_to_ids("<image>")
    with seeded(seed):
        return BLIP2(
            former,
            vision,
            lm,
            image_token_id,
            projection_near(mean_word_embedding(lm), former.config.width, lm),
        )


def caption_data(scale: Scale, vision: nn.Module, queries: int, seed: int = 0) -> CachedFeatures:
    """Things alone with captions of many forms: what Frozen is trained on, too."""
    pairs = world.Pairs("train", scale.image_size, seed, ONE_THING, descriptive_caption)
    return CachedFeatures(pairs, vision, SIZES[scale.name].scenes, image_prefix(queries))


def blip2(
    scale: Scale | str | None = None,
    seed: int = 0,
    *,
    vision: nn.Module | None = None,
    former: QFormer | None = None,
    lm: nn.Module | None = None,
    steps: int | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> TrainedStage:
    """Stage 2 on the world, trained or loaded.

    former  default: stage 1's. An untrained one (new_former) is stage 2 without stage 1.
    lm      default: the tiny language model, frozen
    """
    size = Scale.of(scale)
    sizes = SIZES[size.name]
    vision = vision or tower(size)
    former = former or stage1(size, seed, vision=vision).model.qformer
    lm = lm or freeze(language(size).model.lm)
    data = caption_data(size, vision, former.config.queries, seed)
    fingerprint = {
        "config": str(former.config),
        "former": checkpoint.checksum(former.without_text().state_dict()),
        "vision": checkpoint.checksum(vision.state_dict()),
        "language model": checkpoint.checksum(lm.state_dict()),
        "scenes": data.count,
        "data seed": seed,
        "batch": sizes.language_batch,
    }
    return train_or_load(
        "blip2",
        new_blip2(former, vision, lm, seed),
        Batches(data.batch, sizes.language_batch, data.count, seed),
        steps or sizes.language_steps,
        STAGE2_OPTIMISATION,
        fingerprint=fingerprint,
        seed=seed,
        on_step=on_step,
    )


def similarities(
    model: Stage1, pairs: world.Pairs, count: int = HELD_OUT, view: prompts.View = world.to_pixels
) -> Tensor:
    """Similarities (images, texts) of held-out pairs whose captions all differ."""
    chosen = pairs.distinct(count)
    with eval_mode(model):
        image = patch_features(model.vision, view(pairs.images(chosen)))
        return similarity(model.encode_image(image), model.encode_text(pairs.batch(chosen)["ids"]))


def match_scorer(model: Stage1, image: Tensor, ids: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """(numbers of images, numbers of texts) -> log-odds that they belong together, for evaluate.rerank."""

    def log_odds(images: Tensor, captions: Tensor) -> Tensor:
        with eval_mode(model):
            return torch.cat(
                [
                    model.itm_logits(image[these], ids[those]).diff(dim=1)[:, 0]
                    for these, those in zip(images.split(512), captions.split(512))
                ]
            )

    return log_odds


def stage1_report(
    model: Stage1, size: int, count: int = HELD_OUT, among: int = 16
) -> dict[str, float]:
    """R@1 both ways among held-out pairs, by contrast alone and with the `among` best re-ranked by match; blind; chance."""
    pairs = world.Pairs("test", size)
    made = pairs.batch(pairs.distinct(count))
    with eval_mode(model):
        image = patch_features(model.vision, made["pixel_values"])
    closer, cosines = match_scorer(model, image, made["ids"]), similarities(model, pairs, count)
    scale = (
        1 / model.temperature.item()
    )  # log-odds of a match, and logits of the contrast: the same unit
    report = bidirectional_retrieval(cosines * scale, closer, min(among, count))
    blind = recall_at_1(
        similarities(model, pairs, count, prompts.blank_images), torch.arange(count)
    )
    return report | {"image to text R@1, blind": blind, "chance": 1 / count}


def caption_pair_accuracy(
    model: Stage1, size: int, swap: world.minimal_pairs.SceneChange, count: int = 256
) -> dict[str, float]:
    """Of a scene's caption and the caption of the swapped scene, which one fits better? By match and by contrast; chance 0.5."""
    chosen = world.minimal_pairs.caption_choices(swap, count=count)
    right, wrong = (tokenizer.encode([one[place] for one in chosen]) for place in (1, 2))
    with eval_mode(model):
        image = patch_features(
            model.vision,
            world.to_pixels(np.stack([world.render(scene, size) for scene, _, _ in chosen])),
        )
        queries = model.encode_image(image)
        by_match = [model.itm_logits(image, ids).diff(dim=1)[:, 0] for ids in (right, wrong)]
        by_contrast = [
            (queries @ model.encode_text(ids)[:, :, None]).amax(1)[:, 0] for ids in (right, wrong)
        ]
    return {
        name: (one > other).float().mean().item()
        for name, (one, other) in (("match", by_match), ("contrast", by_contrast))
    }


def generate_captions(
    model: BLIP2, size: int, scenes: Sequence[world.Scene], view: prompts.View = world.to_pixels
) -> list[str]:
    """What the model says of each scene after "a picture of", up to the full stop. Greedy."""
    asked_for = prompts.Prompts(
        [(scene, "a picture of") for scene in scenes],
        size,
        image_prefix(model.qformer.config.queries),
        view,
    )
    return generate_sentences(model, asked_for, most=8)


def caption_scores(
    model: BLIP2, size: int, count: int = 256, view: prompts.View = world.to_pixels
) -> dict[str, float]:
    """Captions of held-out scenes of one thing: the right noun, the right background, CIDEr-D (0 to 10)."""
    scenes = [world.sample("test", index, 0, ONE_THING) for index in range(count)]
    given = [
        sorted(
            {
                world.captions.detailed(scene, world.SeededRandom("reference", scene, draw))
                for draw in range(16)
            }
        )
        for scene in scenes
    ]
    said = generate_captions(model, size, scenes, view)
    return noun_and_background_accuracy(said, scenes) | {"CIDEr": sum(cider(said, given)) / count}


def question_accuracy(
    model: BLIP2,
    size: int,
    kind: str,
    count: int = 256,
    view: prompts.View = world.to_pixels,
    shuffled: bool = False,
) -> float:
    """Share of held-out questions of a kind about things alone, never trained on, answered by the likeliest of its answers."""
    episodes = vqa_episodes(kind, 0, count)
    pages = [episode.prompt for episode in episodes]
    data = prompts.Prompts(
        prompts.swap_pictures(pages) if shuffled else pages,
        size,
        image_prefix(model.qformer.config.queries),
        view,
    )
    said = choose_next_token(model, data, [episode.choices for episode in episodes])
    return exact_match(said, [episode.answer for episode in episodes])
