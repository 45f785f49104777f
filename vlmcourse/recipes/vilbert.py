"""ViLBERT and VL-BERT on the world's regions, and the region classifier instead of the papers' detector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from vlmcourse import world
from vlmcourse.evaluation import masked
from vlmcourse.papers.vilbert import ViLBERT, ViLBERTConfig
from vlmcourse.papers.vlbert import VLBERT, VLBERTConfig
from vlmcourse.parts.language import freeze
from vlmcourse.parts.vision import RegionClassifier
from vlmcourse.recipes import recipe as registry
from vlmcourse.recipes.recipe import Recipe, Run, Stage
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import regions, tokenizer
from vlmcourse.world.noise import Noise, mismatched
from vlmcourse.world.regions import RegionDataset, SubsetOfNouns, thing_boxes

MASKED_OPTIMISATION = Optimisation(2e-3, weight_decay=0.05, betas=(0.9, 0.98), warmup=0.1)
CLASSIFIER_OPTIMISATION = Optimisation(2e-3, weight_decay=0.01)
SIDE = 12  # pixels of a region, each way
THINGS = (1, 2)  # in a scene
EVERY = 10  # of the known nouns, every tenth
MASKED = 0.3  # part of words and regions; the papers' 0.15 would leave most of our short captions as they are
HELD_OUT = 256  # held-out pairs in each test
VIEWS = {
    "": masked.unchanged,
    ", blind": masked.without_image,
    ", shuffled": masked.shuffled_images,
}


@dataclass(frozen=True)
class Sizes(registry.Sizes):
    """Beside batch (pairs of regions and captions) and steps: the width, in heads of 32."""

    width: int


SIZES = {"smoke": Sizes(16, 20, 32), "laptop": Sizes(64, 2000, 64), "gpu": Sizes(512, 20_000, 512)}
CLASSIFIER_SIZES = {
    "smoke": Sizes(16, 20, 32),
    "laptop": Sizes(64, 250, 64),
    "gpu": Sizes(512, 250, 512),
}


def few_nouns(split: str, scale: Scale, seed: int = 0, noise: Noise | None = None) -> SubsetOfNouns:
    """Scenes of one or two things out of every tenth known noun, with captions that name thing, position and background."""
    caption, nouns = world.captions.detailed, world.known_nouns()[::EVERY]
    return SubsetOfNouns(split, scale.image_size, seed, THINGS, caption, noise, nouns)


def setup_classifier(
    scale: Scale, sizes: Sizes, seed: int, stage: Stage, *, region_boxes: Callable = thing_boxes
) -> Run:
    """region_boxes: thing_boxes or grid_boxes of world.regions."""
    classes, backgrounds = len(regions.class_names()), len(world.BACKGROUNDS)
    with seeded(seed):
        model = RegionClassifier(SIDE, sizes.width, classes, backgrounds)
    return Run(model, RegionDataset(few_nouns("train", scale, seed), region_boxes))


def classifier_report(model: RegionClassifier, scale: Scale, count: int = HELD_OUT) -> dict:
    """The losses on held-out regions."""
    batch = RegionDataset(few_nouns("test", scale)).batch(range(count))
    return {name: float(value) for name, value in model.losses(batch).items()}


def region_classifier(
    scale: Scale | str | None = None, region_boxes: Callable = thing_boxes
) -> RegionClassifier:
    """The trained region classifier, frozen."""
    stage = registry.get("region_classifier").train_or_load(scale, region_boxes=region_boxes)
    return freeze(stage.model)


def region_pairs(
    scale: Scale,
    seed: int = 0,
    split: str = "train",
    false: Callable | None = None,
    region_boxes: Callable = thing_boxes,
    classifier: RegionClassifier | None = None,
) -> RegionDataset:
    """A split as regions described by the region classifier, with its captions.

    false       if given, half of the captions are false, and this says how: see world.noise.Noise
    classifier  default: the trained one
    """
    pairs = few_nouns(split, scale, seed, false and Noise(0.5, false))
    return RegionDataset(pairs, region_boxes, classifier or region_classifier(scale, region_boxes))


def vilbert_config(scale: Scale, **changes) -> ViLBERTConfig:
    """ViLBERT's sizes at a scale; `changes` replace fields of ViLBERTConfig."""
    width, depth = SIZES[scale.name].width, max(1, scale.vision_depth // 2)
    return ViLBERTConfig(
        **{
            "vocabulary": len(tokenizer.world_tokenizer()),
            "mask_token_id": tokenizer.world_tokenizer().mask_token_id,
            "features": width,
            "classes": len(regions.class_names()),
            "text_width": width,
            "text_heads": width // 32,
            "num_text_only_layers": max(1, depth // 2),
            "image_width": width,
            "image_heads": width // 32,
            "num_co_attention_layers": depth,
            "co_attention_width": width,
            "co_attention_heads": width // 32,
            "mask_prob": MASKED,
            **changes,
        }
    )


def vlbert_config(scale: Scale, **changes) -> VLBERTConfig:
    """VL-BERT's sizes at a scale; `changes` replace fields of VLBERTConfig."""
    width = SIZES[scale.name].width
    image, end = tokenizer.world_tokenizer().convert_tokens_to_ids(["<image>", "[SEP]"])
    return VLBERTConfig(
        **{
            "vocabulary": len(tokenizer.world_tokenizer()),
            "mask_token_id": tokenizer.world_tokenizer().mask_token_id,
            "image": image,
            "end": end,
            "classes": len(regions.class_names()),
            "image_size": scale.image_size,
            "side": SIDE,
            "appearance": width,
            "width": width,
            "depth": max(2, scale.vision_depth),
            "heads": width // 32,
            "mask_prob": MASKED,
            **changes,
        }
    )


def new_vilbert(config: ViLBERTConfig, seed: int = 0) -> ViLBERT:
    """An untrained ViLBERT whose weights depend on the seed alone."""
    with seeded(seed):
        return ViLBERT(config)


def new_vlbert(
    config: VLBERTConfig, seed: int = 0, classifier: RegionClassifier | None = None
) -> VLBERT:
    """An untrained VL-BERT whose weights depend on the seed alone. classifier: its appearance network is the start."""
    with seeded(seed):
        return VLBERT(config, classifier)


def setup(
    name: str,
    scale: Scale,
    sizes: Sizes,
    seed: int,
    stage: Stage,
    *,
    data: RegionDataset | None = None,
    model: nn.Module | None = None,
    **changes,
) -> Run:
    """data     default: region_pairs; for ViLBERT half of the captions are false (other pictures', or wrong in one point)
    model    another untrained one;  changes: of ViLBERTConfig or VLBERTConfig
    """
    if data is None:
        false = regions.hard_or_mismatched if name == "vilbert" else None
        classifier = freeze(stage("region_classifier"))
        data = region_pairs(scale, seed, false=false, classifier=classifier)
    given = model
    if model is None and name == "vilbert":
        model = new_vilbert(vilbert_config(scale, **changes), seed)
    elif model is None:
        model = new_vlbert(vlbert_config(scale, **changes), seed, data.region_classifier)
    return Run(model, data, model.config, (given,))


def masked_report(model: nn.Module, data: RegionDataset, count: int = HELD_OUT) -> dict[str, float]:
    """Masked words by kind, and masked regions, on held-out pairs: with the picture, without, and with another's."""
    report = {}
    for name, view in VIEWS.items():
        words = masked.masked_word_accuracy(model, data, range(count), view)
        report |= {f"{kind}{name}": value for kind, value in words.items()}
    for name in ("", ", shuffled"):
        accuracy = masked.masked_region_accuracy(model, data, range(count), VIEWS[name])
        report[f"regions{name}"] = accuracy
    return report


FALSE_CAPTIONS = {
    "another picture's": mismatched,
    "places swapped": partial(regions.false_caption, change=regions.swap_across_rows),
    "background changed": partial(regions.false_caption, change=regions.recolour_background),
}


def alignment_report(
    model: ViLBERT, data: RegionDataset, count: int = HELD_OUT
) -> dict[str, float]:
    """True captions against false ones, by kind of falsehood, with the blind and shuffled controls."""
    report = {}
    for kind, false in FALSE_CAPTIONS.items():
        for name, view in VIEWS.items():
            accuracies = masked.pair_accuracy(
                model, data, range(count), lambda index: false(index, data.pairs), view
            )
            report |= {f"{kind}, {how}{name}": value for how, value in accuracies.items()}
    return report


def retrieval_report(model: ViLBERT, data: RegionDataset, count: int = 64) -> dict[str, float]:
    """Mean R@1 of both directions among `count` held-out pairs with different captions, by alignment score."""
    indices = data.pairs.distinct(count)
    scores = {
        name: masked.score_all_pairs(model, data, indices, view) for name, view in VIEWS.items()
    }
    report = {
        f"R@1{name}": masked.mean_recall_at_1(similarities) for name, similarities in scores.items()
    }
    return report | {"R@1, chance": 1 / count}


def vilbert_report(model: ViLBERT, data: RegionDataset, count: int = HELD_OUT) -> dict[str, float]:
    """Masked words and regions, alignment, retrieval."""
    return (
        masked_report(model, data, count)
        | alignment_report(model, data, count)
        | retrieval_report(model, data, min(64, count))
    )


classifier = Recipe(
    "region_classifier",
    CLASSIFIER_SIZES,
    setup_classifier,
    CLASSIFIER_OPTIMISATION,
    classifier_report,
)
vilbert = Recipe(
    "vilbert",
    SIZES,
    partial(setup, "vilbert"),
    MASKED_OPTIMISATION,
    lambda model, scale, count: vilbert_report(model, region_pairs(scale, split="test"), count),
)
vlbert = Recipe(
    "vlbert",
    SIZES,
    partial(setup, "vlbert"),
    MASKED_OPTIMISATION,
    lambda model, scale, count: masked_report(model, region_pairs(scale, split="test"), count),
    shipped_dtype=torch.float16,
)
