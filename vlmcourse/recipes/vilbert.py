"""ViLBERT and VL-BERT: the stages of lesson 03, and what they are tested on."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from vlmcourse import world
from vlmcourse.evaluation import masked
from vlmcourse.papers.vilbert import ViLBERT, ViLBERTConfig
from vlmcourse.papers.vlbert import VLBERT, VLBERTConfig
from vlmcourse.parts.language import freeze
from vlmcourse.parts.vision import RegionClassifier
from vlmcourse.training import checkpoint
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import TrainedStage, seeded, train_or_load
from vlmcourse.world import regions, tokenizer
from vlmcourse.world.noise import Noise, mismatched

MASKED_OPTIMISATION = Optimisation(2e-3, weight_decay=0.05, betas=(0.9, 0.98), warmup=0.1)
CLASSIFIER_OPTIMISATION = Optimisation(2e-3, weight_decay=0.01)
SIDE = 12  # pixels of a region, each way
THINGS = (1, 2)  # in a scene
EVERY = 10  # of the known nouns, every tenth
MASKED = 0.3  # part of words and regions; the papers' 0.15 would leave most of our short captions as they are
HELD_OUT = 256  # held-out pairs that each test asks about


def few_nouns(
    split: str, scale: Scale, seed: int = 0, noise: Noise | None = None
) -> regions.SubsetOfNouns:
    """Scenes of one or two things out of every tenth known noun, with captions that name thing, place and background."""
    return regions.SubsetOfNouns(
        split,
        scale.image_size,
        seed,
        THINGS,
        world.captions.detailed,
        noise,
        world.known_nouns()[::EVERY],
    )


def region_classifier(
    scale: Scale | str | None = None,
    seed: int = 0,
    region_boxes: Callable = regions.thing_boxes,
    on_step: Callable[[Step], None] | None = None,
) -> TrainedStage:
    """What stands in the place of the papers' detector, trained on the true classes and backgrounds of boxes of this kind,
    then frozen."""
    size = Scale.of(scale)
    data = regions.RegionDataset(few_nouns("train", size, seed), region_boxes)
    with seeded(seed):
        model = RegionClassifier(
            SIDE, size.vilbert_width, len(regions.class_names()), len(world.BACKGROUNDS)
        )
    found = train_or_load(
        "region_classifier",
        model,
        Batches(data.batch, size.vilbert_batch),
        20 if size.name == "smoke" else 250,
        CLASSIFIER_OPTIMISATION,
        fingerprint={
            "batch": size.vilbert_batch,
            "width": size.vilbert_width,
            "things": THINGS,
            "every": EVERY,
            "cut": region_boxes.__name__,
        },
        seed=seed,
        on_step=on_step,
    )
    freeze(found.model)
    return found


def region_pairs(
    scale: Scale,
    seed: int = 0,
    split: str = "train",
    false: Callable | None = None,
    region_boxes: Callable = regions.thing_boxes,
) -> regions.RegionDataset:
    """A split as regions described by the namer, with its captions.

    false  if given, half of the captions are false, and this says how: see world.Noise
    """
    return regions.RegionDataset(
        few_nouns(split, scale, seed, false and Noise(0.5, false)),
        region_boxes,
        region_classifier(scale, region_boxes=region_boxes).model,
    )


def vilbert_config(scale: Scale, **changes) -> ViLBERTConfig:
    """ViLBERT's sizes at a scale; `changes` replace fields of ViLBERTConfig."""
    width, depth = scale.vilbert_width, max(1, scale.vision_depth // 2)
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
    width = scale.vilbert_width
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


def new_vlbert(config: VLBERTConfig, seed: int = 0, eyes: RegionClassifier | None = None) -> VLBERT:
    """An untrained VL-BERT whose weights depend on the seed alone. eyes: a namer whose appearance network it starts from."""
    with seeded(seed):
        return VLBERT(config, eyes)


def train_masked(
    name: str,
    model: nn.Module,
    data: regions.RegionDataset,
    scale: Scale,
    seed: int = 0,
    steps: int | None = None,
    on_step: Callable[[Step], None] | None = None,
    **fingerprint,
) -> TrainedStage:
    """Trains a model of this file on regions, or loads it. `fingerprint`: what else tells this run from others."""
    noise, steps = data.pairs.noise, steps or scale.vilbert_steps
    fingerprint = {
        "config": str(model.config),
        "batch": scale.vilbert_batch,
        "cut": data.region_boxes.__name__,
        "region_classifier": checkpoint.checksum(data.region_classifier.state_dict()),
        "things": data.pairs.things,
        "among": data.pairs.noun_subset,
        "caption": data.pairs.caption.__qualname__,
        "data seed": data.pairs.seed,
        "false": noise and [noise.share, noise.kind.__name__],
        **fingerprint,
    }
    return train_or_load(
        name,
        model,
        Batches(data.batch, scale.vilbert_batch),
        steps,
        MASKED_OPTIMISATION,
        fingerprint=fingerprint,
        seed=seed,
        on_step=on_step,
    )


def vilbert(
    scale: Scale | str | None = None,
    seed: int = 0,
    *,
    data: regions.RegionDataset | None = None,
    steps: int | None = None,
    on_step: Callable[[Step], None] | None = None,
    **changes,
) -> TrainedStage:
    """ViLBERT on the world, trained or loaded. changes: of ViLBERTConfig.

    data  default: region_pairs with false captions of both kinds, other pictures' and nearly right ones
    """
    size = Scale.of(scale)
    data = data or region_pairs(size, seed, false=regions.hard_or_mismatched)
    return train_masked(
        "vilbert",
        new_vilbert(vilbert_config(size, **changes), seed),
        data,
        size,
        seed,
        steps,
        on_step,
    )


def vlbert(
    scale: Scale | str | None = None,
    seed: int = 0,
    *,
    data: regions.RegionDataset | None = None,
    steps: int | None = None,
    on_step: Callable[[Step], None] | None = None,
    **changes,
) -> TrainedStage:
    """VL-BERT on the world, trained or loaded; it is never asked about false captions. changes: of VLBERTConfig."""
    size = Scale.of(scale)
    data = data or region_pairs(size, seed)
    return train_masked(
        "vlbert",
        new_vlbert(vlbert_config(size, **changes), seed, data.region_classifier),
        data,
        size,
        seed,
        steps,
        on_step,
    )


def masked_report(
    model: nn.Module, data: regions.RegionDataset, count: int = HELD_OUT
) -> dict[str, float]:
    """Masked words by kind, and masked regions, on held-out pairs: with the picture, without, and with another's."""
    indices, report = range(count), {}
    for name, view in (
        ("", masked.unchanged),
        (", blind", masked.without_image),
        (", shuffled", masked.shuffled_images),
    ):
        report |= {
            f"{kind}{name}": value
            for kind, value in masked.masked_word_accuracy(model, data, indices, view).items()
        }
    for name, view in (("", masked.unchanged), (", shuffled", masked.shuffled_images)):
        report[f"regions{name}"] = masked.masked_region_accuracy(model, data, indices, view)
    return report


FALSE_CAPTIONS = {
    "another picture's": mismatched,
    "places swapped": lambda index, pairs: regions.false_caption(
        index, pairs, regions.swap_across_rows
    ),
    "background changed": lambda index, pairs: regions.false_caption(
        index, pairs, regions.recolour_background
    ),
}


def alignment_report(
    model: ViLBERT, data: regions.RegionDataset, count: int = HELD_OUT
) -> dict[str, float]:
    """True captions against false ones, by kind of falsehood, with the blind and shuffled controls."""
    report = {}
    for kind, false in FALSE_CAPTIONS.items():
        for name, view in (
            ("", masked.unchanged),
            (", blind", masked.without_image),
            (", shuffled", masked.shuffled_images),
        ):
            found = masked.pair_accuracy(
                model, data, range(count), lambda index: false(index, data.pairs), view
            )
            report |= {f"{kind}, {how}{name}": value for how, value in found.items()}
    return report


def retrieval_report(
    model: ViLBERT, data: regions.RegionDataset, count: int = 64
) -> dict[str, float]:
    """Mean R@1 of both directions among `count` held-out pairs with different captions, by alignment score."""
    indices = data.pairs.distinct(count)
    return {
        f"R@1{name}": masked.mean_recall_at_1(masked.score_all_pairs(model, data, indices, view))
        for name, view in (
            ("", masked.unchanged),
            (", blind", masked.without_image),
            (", shuffled", masked.shuffled_images),
        )
    } | {"R@1, chance": 1 / count}


def vilbert_report(
    model: ViLBERT, data: regions.RegionDataset, count: int = HELD_OUT
) -> dict[str, float]:
    """Everything ViLBERT is tested on."""
    return (
        masked_report(model, data, count)
        | alignment_report(model, data, count)
        | retrieval_report(model, data, min(64, count))
    )
