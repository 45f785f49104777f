"""Lesson 15: fine-tuning the shipped CLIP on crops of photographs, and what is measured of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor, nn

from teaching import real_weights_reference as reference
from teaching.real_photos import REGIONS, CropSet, Region, crop_sets
from vlmcourse import evaluation, recipes
from vlmcourse.evaluation.controls import eval_mode
from vlmcourse.papers.clip import CLIP
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer

SIDE, STEP = 48, 12
"""Side of a crop, and the distance from crop to crop, in pixels of a photograph."""
BATCH, RATE, DECAY = 32, 1e-3, 0.5
HALF = torch.full((3,), 0.5)
"""Mean and deviation that bring pixels into the course's range, -1 to 1."""
RELATED = {
    "astronaut": ["rocket"],
    "day": ["sun"],
    "flag": ["scarf"],
    "flower": ["rose", "tulip"],
    "helmet": ["hat"],
    "leaves": ["tree", "clover"],
    "night": ["moon", "star"],
    "pagoda": ["castle", "church"],
    "petals": ["rose", "tulip"],
    "roofs": ["house"],
    "saucer": ["mug"],
    "steel": ["hammer", "wrench"],
    "stripes": ["tiger"],
    "suit": ["shirt", "trousers"],
    "tower": ["castle"],
    "trees": ["tree", "palm"],
    "woman": ["dress"],
    "wooden": ["tree", "chair"],
}
"""New word -> words of the world that may say where its row begins."""
PARTS = {
    name: getattr(reference, name)
    for name in ("preprocess", "split_tiles", "grow_embedding", "parameter_groups", "mix_models")
}
"""The course's own parts of the training."""


def prepare_with(preprocess: Callable, size: int) -> Callable[[Image.Image], Tensor]:
    """Pixels as this course's CLIP was trained with: picture -> (3, size, size) from -1 to 1."""
    return lambda picture: preprocess(picture, size, HALF, HALF)


def new_words(captions: Sequence[str]) -> list[str]:
    """Words of the captions that the world's tokenizer doesn't know, sorted."""
    known = tokenizer.world_tokenizer()
    words = {word for caption in captions for word in tokenizer.words_of(caption, known)}
    return sorted(words - set(known.get_vocab()))


@dataclass(frozen=True)
class Task:
    """What is learnt and measured: crops, captions by region, ids of the captions (C, T), the tokenizer that made them."""

    train: CropSet
    test: CropSet
    captions: list[str]
    ids: Tensor
    tokens: object
    related: list[list[int]]


def new_task(
    scale: Scale,
    parts: Mapping[str, Callable] = PARTS,
    captions: Mapping[str, str] | None = None,
    related: Mapping[str, Sequence[str]] = RELATED,
) -> Task:
    """Crops of REGIONS with these captions (default: their own), and a tokenizer that knows all words of them."""
    texts = [(captions or {}).get(name, region.caption) for name, region in REGIONS.items()]
    words, known = new_words(texts), tokenizer.world_tokenizer()
    vocabulary, tokens = known.get_vocab(), deepcopy(known)
    tokens.add_tokens(words)
    prepare = prepare_with(parts["preprocess"], scale.image_size)
    train, test = crop_sets(parts["split_tiles"], prepare, SIDE, STEP)
    rows = [
        [vocabulary[one] for one in related.get(word, ()) if one in vocabulary] for word in words
    ]
    return Task(train, test, texts, tokenizer.encode(texts, using=tokens), tokens, rows)


def with_new_words(clip: CLIP, task: Task, grow_embedding: Callable) -> CLIP:
    """A copy of a CLIP of the world whose text encoder has rows for the task's new words."""
    model = deepcopy(clip).requires_grad_(True)
    model.text.tokens = grow_embedding(model.text.tokens, task.related)
    model.text.vocabulary = len(model.text.tokens.weight)
    return model


def layers_of(model: CLIP) -> list[list[nn.Parameter]]:
    """Parameters from the pixels up: the image encoder's input, each of its blocks, then all others."""
    vision = model.vision
    inputs = [vision.class_token, vision.positions]
    inputs += [*vision.stem.parameters(), *vision.norm_in.parameters()]
    layers = [inputs, *(list(block.parameters()) for block in vision.transformer.blocks)]
    below = {id(parameter) for layer in layers for parameter in layer}
    return [*layers, [p for p in model.parameters() if id(p) not in below]]


def fine_tune(
    model: CLIP, groups: list[dict], task: Task, steps: int, seed: int = 0
) -> list[float]:
    """Trains on the task's training crops with AdamW, five steps of warm-up, a cosine to zero: the losses."""
    optimiser = torch.optim.AdamW(groups, weight_decay=0.1)
    rates = [group["lr"] for group in optimiser.param_groups]
    generator, losses = torch.Generator().manual_seed(seed), []
    parameters = [p for group in groups for p in group["params"]]
    model.train()
    for step in range(steps):
        progress = torch.tensor(step / steps * torch.pi)
        share = min(1.0, (step + 1) / 5) * (1 + progress.cos().item()) / 2
        for group, rate in zip(optimiser.param_groups, rates):
            group["lr"] = rate * share
        pixel_values, labels = task.train.batch(BATCH, generator)
        batch = {
            "pixel_values": pixel_values,
            "ids": task.ids[labels],
            "positive_groups": labels,
        }
        loss = model.losses(batch)["clip"]
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        model.after_step()
        losses.append(loss.item())
    model.eval()
    return losses


def train_way(
    clip: CLIP,
    task: Task,
    parts: Mapping[str, Callable],
    steps: int,
    decay: float = 1.0,
    frozen: int = 0,
    seed: int = 0,
    image_shares: Sequence[float] | None = None,
) -> tuple[CLIP, list[float]]:
    """Grows a CLIP, groups its parameters and fine-tunes it: the model and its losses.

    image_shares  rate of each layer of the image encoder as a share of RATE, in place of those by `decay`
    """
    model = with_new_words(clip, task, parts["grow_embedding"])
    groups = parts["parameter_groups"](layers_of(model), RATE, decay, frozen)
    for group, share in zip(groups, image_shares or ()):
        group["lr"] = RATE * share
    return model, fine_tune(model, groups, task, steps, seed)


@torch.no_grad()
def predicted(model: CLIP, task: Task, crops: CropSet) -> Tensor:
    """The number of the nearest caption of each crop, (N,)."""
    with eval_mode(model):
        texts = model.encode_text(task.ids)
        images = torch.cat([model.encode_image(part) for part in crops.pixel_values.split(256)])
    return (images @ texts.T).argmax(1)


def nearest_colour(task: Task, crops: CropSet) -> Tensor:
    """The region whose training crops have the nearest mean colour, (N,): no model at all."""
    colours = task.train.pixel_values.mean((2, 3))
    means = [colours[task.train.labels == label].mean(0) for label in range(len(REGIONS))]
    return torch.cdist(crops.pixel_values.mean((2, 3)), torch.stack(means)).argmin(1)


def by_region(right: Tensor, labels: Tensor) -> Tensor:
    """Share of right crops of each region, (C,)."""
    return torch.stack([right[labels == label].float().mean() for label in labels.unique()])


def sums_by_photograph(values: Tensor) -> Tensor:
    """Values of the regions (C,) -> their sum in each photograph, (6,)."""
    names = [region.photo for region in REGIONS.values()]
    rows = torch.tensor([names.index(name) for name in names])
    return torch.stack([values[rows == row].sum() for row in rows.unique()])


def interval_over_photographs(shares: Tensor, samples: int = 10_000) -> tuple[float, float]:
    """Bootstrap limits (95 %) of the mean over regions, shares (C,), when whole photographs are drawn."""
    sums, counts = sums_by_photograph(shares), sums_by_photograph(torch.ones_like(shares))
    generator = torch.Generator().manual_seed(0)
    draws = torch.randint(len(sums), (samples, len(sums)), generator=generator)
    results = sums[draws].sum(1) / counts[draws].sum(1)
    low, high = torch.quantile(results, torch.tensor([0.025, 0.975]))
    return low.item(), high.item()


def loss_floor(task: Task, steps: int, seed: int = 0) -> float:
    """The lowest mean loss on fine_tune's batches: a target is shared by all rows with one caption."""
    generator, logs = torch.Generator().manual_seed(seed), []
    for _ in range(steps):
        _, labels = task.train.batch(BATCH, generator)
        logs.append((labels[:, None] == labels).sum(1).float().log())
    return torch.cat(logs).mean().item()


def photo_accuracy(model: CLIP, task: Task, crops: CropSet | None = None) -> float:
    """Mean over regions of the share of crops (default: the test crops) whose nearest caption is their own."""
    crops = crops or task.test
    return by_region(predicted(model, task, crops) == crops.labels, crops.labels).mean().item()


def colour_accuracies(task: Task) -> dict[str, float]:
    """Shares of right training and test crops by nearest_colour."""
    parts = {"training crops": task.train, "test crops": task.test}
    return {
        name: by_region(nearest_colour(task, crops) == crops.labels, crops.labels).mean().item()
        for name, crops in parts.items()
    }


def accuracies(model: CLIP, task: Task, scale: Scale, count: int = 256) -> dict[str, float]:
    """Shares of right training crops, test crops and drawings."""
    return {
        "training crops": photo_accuracy(model, task, task.train),
        "test crops": photo_accuracy(model, task),
        "drawings": drawing_accuracy(model, scale, count),
    }


@torch.no_grad()
def drawing_accuracy(model: CLIP, scale: Scale, count: int = 256) -> float:
    """Zero-shot accuracy on held-out drawings of one thing: what CLIP knew before."""
    with eval_mode(model):
        _, pixel_values, labels = recipes.clip.single_things(scale.image_size, count)
        images = model.encode_image(pixel_values)
        return evaluation.accuracy(
            evaluation.zero_shot(images, recipes.clip.noun_classes(model)), labels
        )


PORTRAIT = (
    Region("portrait", (0, 0, 95, 210), REGIONS["flag"].caption),
    Region("portrait", (105, 85, 240, 245), REGIONS["woman"].caption),
)
"""Regions of another photograph that show what two of REGIONS show."""


def other_photograph(scale: Scale, parts: Mapping[str, Callable] = PARTS) -> CropSet:
    """Crops of PORTRAIT, with the labels of REGIONS."""
    prepare = prepare_with(parts["preprocess"], scale.image_size)
    first, second = crop_sets(reference.split_tiles, prepare, SIDE, STEP, PORTRAIT)
    names = list(REGIONS)
    labels = torch.tensor([names.index("flag"), names.index("woman")])
    return CropSet(
        torch.cat([first.pixel_values, second.pixel_values]),
        labels[torch.cat([first.labels, second.labels])],
        first.images,
    )
