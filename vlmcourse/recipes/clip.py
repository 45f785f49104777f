"""CLIP on the world, or on pictures of your own."""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor

from vlmcourse import world
from vlmcourse.data.folders import CaptionedPictures
from vlmcourse.evaluation import (
    accuracy,
    class_embeddings,
    embed,
    measure_controls,
    relevance,
    retrieval_recall,
    zero_shot,
)
from vlmcourse.papers.clip import CLIP, CLIPConfig
from vlmcourse.recipes.recipe import Recipe, Run, Sizes
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import tokenizer

CONTEXT = 32  # tokens a text may have
SIZES = {"smoke": Sizes(32, 20), "laptop": Sizes(64, 3000), "gpu": Sizes(1024, 10_000)}


def clip_config(scale: Scale, **changes) -> CLIPConfig:
    """CLIP's sizes at a scale; `changes` replace fields of CLIPConfig."""
    return CLIPConfig(
        **{
            "vocabulary": len(tokenizer.world_tokenizer()),
            "end": tokenizer.EOS,
            "context": CONTEXT,
            "embedding": scale.width,
            "image_size": scale.image_size,
            "vision_width": scale.width,
            "vision_depth": scale.vision_depth,
            "vision_heads": scale.heads,
            "text_width": scale.width,
            "text_depth": scale.text_depth,
            "text_heads": scale.heads,
            **changes,
        }
    )


def new_clip(config: CLIPConfig, seed: int = 0) -> CLIP:
    """An untrained CLIP whose weights depend on the seed alone."""
    with seeded(seed):
        return CLIP(config)


def training_pairs(scale: Scale, seed: int = 0, **changes) -> world.Pairs:
    """The world's training split, with captions as varied as people's; `changes` replace fields of Pairs.

    Half of the scenes show a single thing, because zero-shot classification shows single things: with a quarter of them its
    accuracy is several points lower at equal steps, and retrieval among scenes of one to four things is the same.
    """
    return world.Pairs(
        **{
            "split": "train",
            "size": scale.image_size,
            "seed": seed,
            "single_share": 1 / 3,
            "caption": world.captions.prompted,
            **changes,
        }
    )


def setup(scale: Scale, sizes: Sizes, seed: int, stage, *, data=None, **changes) -> Run:
    """data: other pairs than training_pairs(scale, seed); changes: of CLIPConfig."""
    config = clip_config(scale, **changes)
    return Run(new_clip(config, seed), data or training_pairs(scale, seed), config)


def single_things(
    size: int, count: int = 512, split: str = "test"
) -> tuple[world.Pairs, Tensor, Tensor]:
    """Scenes of one thing, for zero-shot classification and probes: pairs, pixels (N, 3, size, size), labels (N,), which
    number the known nouns."""
    pairs, names = world.Pairs(split, size, things=(1, 1)), world.known_nouns()
    labels = torch.tensor([names.index(scene.words[0]) for scene in pairs.scenes(range(count))])
    return pairs, world.to_pixels(pairs.images(range(count))), labels


def noun_classes(model: CLIP, templates: tuple[str, ...] = world.captions.PROMPTS) -> Tensor:
    """Class embeddings of all known nouns, (C, E)."""
    nouns = [world.article(word) for word in world.known_nouns()]
    return class_embeddings(model, nouns, templates, tokenizer.encode)


def retrieval_report(model: CLIP, data, count: int = 256) -> dict[str, float]:
    """Retrieval in both directions among held-out pictures and their captions, beside blind controls.

    data: world.Pairs (`count` with different captions), or your own (the first `count` CaptionedPictures)
    """
    indices = data.distinct(count)
    batch, device = data.batch(indices), next(model.parameters()).device
    first, relevant = relevance(batch)
    images, texts = embed(model, data, indices)

    def image_to_text(pixel_values: Tensor) -> float:
        with torch.no_grad():
            images = model.encode_image(pixel_values.to(device)).cpu()
        return retrieval_recall(images, texts, relevant=relevant)["image to text R@1"]

    chance = relevant.float().mean().item()
    controls = measure_controls(image_to_text, batch["pixel_values"][first], chance)
    return {
        "held-out pictures": len(first),
        "held-out pairs": len(indices),
        **retrieval_recall(images[first], texts, relevant=relevant),
        **_controls("image to text R@1", controls),
    }


def zero_shot_report(model: CLIP, count: int = 512) -> dict[str, float]:
    """Zero-shot accuracy on `count` scenes of one thing, beside blind controls."""
    device = next(model.parameters()).device
    _, pixel_values, labels = single_things(model.config.image_size, count)
    classes = noun_classes(model)

    def nouns_right(pixel_values: Tensor) -> float:
        images = model.encode_image(pixel_values.to(device)).cpu()
        return accuracy(zero_shot(images, classes), labels)

    with torch.no_grad():
        measured = measure_controls(nouns_right, pixel_values, 1 / len(classes))
    return {"zero-shot nouns": measured.model} | _controls("zero-shot nouns", measured)


def clip_report(model: CLIP, scale: Scale | None = None, count: int = 256) -> dict[str, float]:
    """Retrieval among `count` held-out pairs of the world, and zero-shot nouns of twice as many scenes."""
    pairs = world.Pairs("test", model.config.image_size)
    return retrieval_report(model, pairs, count) | zero_shot_report(model, 2 * count)


def _controls(name: str, measured) -> dict[str, float]:
    controls = asdict(measured).items()
    return {f"{name}, {control}": value for control, value in controls if control != "model"}


def own_pictures(pictures: CaptionedPictures, longest: int, scale: Scale) -> dict:
    """Options of `setup` for pictures of your own: their vocabulary, and room for their longest caption (in tokens)."""
    return {"vocabulary": len(pictures.tokenizer), "context": max(CONTEXT, longest)}


recipe = Recipe(
    "clip",
    SIZES,
    setup,
    Optimisation(),
    clip_report,
    own_pictures=own_pictures,
    own_report=retrieval_report,
)
