"""Lesson 15: its figures and its table of claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from teaching import real_weights_model as training
from teaching import real_weights_study as study
from teaching.real_photos import REGIONS, photos
from teaching.real_weights_inputs import fitted, squashed
from teaching.real_weights_parity import with_resolution
from vlmcourse import evaluation, plots, recipes, world
from vlmcourse.evaluation.controls import verdict
from vlmcourse.papers.clip import CLIP
from vlmcourse.plots.style import COLOURS, course_style, describe, figure, hide_axes, outline
from vlmcourse.training.scale import Scale

SHOWN = {"cat": "cat", "rocket": "rocket", "coffee": "mug"}
"""Photographs of things that the world's nouns name: photograph -> noun."""


@torch.no_grad()
def whole(clip: CLIP, scale: Scale, prepare: Callable[[Image.Image], Tensor]):
    """Three drawings and three photographs with CLIP's first noun, and the rank of the right one."""
    nouns, classes = world.known_nouns(), recipes.clip.noun_classes(clip)
    words = list(SHOWN.values())
    scenes = [
        next(
            scene
            for scene in (world.sample("train", number, 0, (1, 1)) for number in range(100_000))
            if scene.words[0] == word
        )
        for word in words
    ]
    drawn = np.stack([world.render(scene, scale.image_size) for scene in scenes])
    taken = torch.stack([prepare(photos()[name]) for name in SHOWN])
    pixels = torch.cat([world.to_pixels(drawn), taken])
    scores = clip.encode_image(pixels) @ classes.T
    rights = torch.tensor([nouns.index(word) for word in words * 2])
    ranks = 1 + (scores > scores.gather(1, rights[:, None])).sum(1)
    captions = [
        f"CLIP: {nouns[best]}\nrank of {nouns[right]}: {rank}"
        for best, right, rank in zip(scores.argmax(1), rights, ranks.tolist())
    ]
    images = [*drawn, *(as_bytes(pixels) for pixels in taken)]
    return plots.pictures(images, captions, [rank == 1 for rank in ranks.tolist()])


def as_bytes(pixel_values: Tensor) -> np.ndarray:
    """Pixels from -1 to 1 (3, S, S) as bytes (S, S, 3)."""
    return ((pixel_values.permute(1, 2, 0) + 1) * 127.5).round().to(torch.uint8).numpy()


def ways_to_fit(picture: Image.Image, size: int, preprocess: Callable):
    """A photograph by the student's function, and by two common mistakes."""
    half = training.HALF
    shown = {
        "yours": as_bytes(preprocess(picture, size, half, half)),
        "squashed": np.asarray(squashed(picture, size)),
        "upper or left end": np.asarray(fitted(picture, size, crop="first")),
        "no filter (nearest)": np.asarray(fitted(picture, size, Image.Resampling.NEAREST)),
    }
    return plots.pictures(list(shown.values()), list(shown))


@torch.no_grad()
def pixel_ways(clip: CLIP, scale: Scale, count: int):
    """Zero-shot accuracy on drawings whose pixels were normalised in different ways."""
    _, pixels, labels = recipes.clip.single_things(scale.image_size, count)
    classes, unit = recipes.clip.noun_classes(clip), (pixels + 1) / 2
    mean = torch.tensor([0.4815, 0.4578, 0.4082])[:, None, None]
    std = torch.tensor([0.2686, 0.2613, 0.2758])[:, None, None]
    ways = {
        "as trained: -1 to 1": pixels,
        "0 to 1": unit,
        "OpenAI's mean and deviation": (unit - mean) / std,
        "blue and red exchanged": pixels.flip(1),
    }
    scores = {
        way: {
            "": evaluation.accuracy(evaluation.zero_shot(clip.encode_image(each), classes), labels)
        }
        for way, each in ways.items()
    }
    return plots.bars(scores, "share of right nouns", 1 / len(classes), sideways=True)


@torch.no_grad()
def resolutions(clip: CLIP, scale: Scale, resize_positions: Callable, count: int):
    """Zero-shot accuracy on drawings of several sizes: positions resized by the student, or repeated."""
    patch, classes = clip.config.patch, recipes.clip.noun_classes(clip)
    sizes = [scale.image_size + patch * extra for extra in (0, 1, 2, 4)]
    ways = {"resized (yours)": resize_positions, "random order": shuffled_positions}
    curves: dict[str, dict[float, float]] = {way: {} for way in ways}
    for size in sizes:
        _, pixels, labels = recipes.clip.single_things(size, count)
        for way, resize in ways.items():
            model = with_resolution(clip, size, resize)
            found = evaluation.zero_shot(model.encode_image(pixels), classes)
            curves[way][size] = evaluation.accuracy(found, labels)
    return plots.curves(curves, "pixels of a side", "share of right nouns", 1 / len(classes))


def shuffled_positions(positions: Tensor, grid: int) -> Tensor:
    """Positions of the right number in random places: (1 + P, D) -> (1 + grid ** 2, D)."""
    rows = positions[1:].repeat(-(-(grid**2) // (len(positions) - 1)), 1)[: grid**2]
    order = torch.randperm(grid**2, generator=torch.Generator().manual_seed(0))
    return torch.cat([positions[:1], rows[order]])


@course_style()
def regions_figure(split: Callable, side: int, step: int):
    """The six photographs with the regions of the data set; dots: corners of training (blue) and test crops (orange)."""
    drawn, axes = figure(10, 7.4, 2, 3)
    counts = []
    for panel, (name, image) in zip(axes, photos().items()):
        hide_axes(panel)
        panel.imshow(np.asarray(image))
        for label, region in REGIONS.items():
            if region.photo != name:
                continue
            train, test = split(region.box, side, step)
            outline(panel, *region.box, color="white", linewidth=2.2)
            outline(panel, *region.box, color="black", linewidth=0.8)
            for corners, colour, mark in ((train, COLOURS[0], "o"), (test, COLOURS[1], "^")):
                centres = corners + side // 2
                panel.scatter(
                    centres[:, 0], centres[:, 1], s=14, c=colour, marker=mark, edgecolors="white",
                    linewidths=0.4,
                )  # fmt: skip
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.85}
            panel.text(region.box[0] + 3, region.box[1] + 5, label, fontsize=9, va="top", bbox=box)
            counts.append(f"{label}: {len(train)} and {len(test)}")
        panel.set_title(name, fontsize=10)
    return describe(
        drawn,
        "Six photographs with boxes of regions. Circles: centres of training crops, in one half "
        f"of each box; triangles: of test crops, in the other. Numbers: {'; '.join(counts)}.",
    )


def losses(histories: Mapping[str, Sequence[float]], parts: int = 16):
    """Training losses of several runs, as means of equal parts of the steps."""
    curves = {}
    for name, values in histories.items():
        chunks = np.array_split(np.asarray(values), min(parts, len(values)))
        ends = np.cumsum([len(chunk) for chunk in chunks])
        curves[name] = {int(end): float(chunk.mean()) for end, chunk in zip(ends, chunks)}
    return plots.curves(curves, "training step", "CLIP's loss (nats)")


def accuracies(found: Mapping[str, Mapping[str, float]]):
    """Bars: way -> {photographs, drawings}."""
    return plots.bars(found, "share right", sideways=True, highest=1, form=".2f")


def mixture(curve: Mapping[float, tuple[float, float]]):
    """Photographs and drawings over alpha."""
    names = ("photographs (16 captions)", "drawings (zero-shot nouns)")
    series = {
        name: {alpha: pair[at] for alpha, pair in curve.items()} for at, name in enumerate(names)
    }
    return plots.curves(series, "alpha (0: shipped, 1: fine-tuned)", "share right")


@torch.no_grad()
def retrieved(model: CLIP, task: training.Task, names: Sequence[str], k: int = 5):
    """For each region's caption the nearest test crops."""
    images = torch.cat([model.encode_image(part) for part in task.test.pixel_values.split(256)])
    rows = [list(REGIONS).index(name) for name in names]
    values = model.encode_text(task.ids[rows]) @ images.T
    best = [
        int(value.masked_fill(task.test.labels != row, -2).argmax())
        for value, row in zip(values, rows)
    ]
    return plots.nearest_images(
        [task.captions[row] for row in rows], task.test.images, values, best, k
    )


def region_bars(scores: Mapping[str, Tensor], chance: float):
    """Share of right crops of each region, for several systems."""
    groups = {
        name: {system: values[number].item() for system, values in scores.items()}
        for number, name in enumerate(REGIONS)
    }
    return plots.bars(groups, "share of right test crops", chance, sideways=True, form=".2f")


def study_bars():
    """The ways to fine-tune over seeds: photographs and drawings."""
    measures = ("photographs", "drawings")
    groups = {way: {what: study.values(way, 1.0, what) for what in measures} for way in study.WAYS}
    return plots.bars(groups, "share right", sideways=True, highest=1, form=".2f")


def claims_table() -> str:
    """Claims of papers on fine-tuning beside our seeds, with the verdict by the course's rule."""
    alike, slow = "all layers alike", "slower below"

    def one(way: str, alpha: float, what: str):
        return study.values(way, alpha, what)

    claims = (
        (
            "Adapting CLIP to one data set raises its accuracy there (CLIP, Sec. 3.3: +9.2 points on ImageNet)",
            "photographs: fine-tuned; shipped",
            one(alike, 1.0, "photographs"),
            one(alike, 0.0, "photographs"),
        ),
        (
            "... and lowers it elsewhere (CLIP, Sec. 3.3: slightly, on average over other data sets)",
            "drawings: shipped; fine-tuned",
            one(alike, 0.0, "drawings"),
            one(alike, 1.0, "drawings"),
        ),
        (
            "The mean of both models keeps more of what was there before (WiSE-FT, Fig. 1)",
            "drawings: alpha 0.5; alpha 1",
            one(alike, 0.5, "drawings"),
            one(alike, 1.0, "drawings"),
        ),
        (
            "... without losing accuracy on the new data (WiSE-FT, Fig. 1: it even gains)",
            "photographs: alpha 0.5; alpha 1",
            one(alike, 0.5, "photographs"),
            one(alike, 1.0, "photographs"),
        ),
        (
            "Our own question: do slower lower layers keep more than equal rates?",
            "drawings: slower below; all alike",
            one(slow, 1.0, "drawings"),
            one(alike, 1.0, "drawings"),
        ),
    )
    rows = ["| claim | ours, mean ± sd | seeds | verdict |", "|---|---|---|---|"]
    for claim, what, first, second in claims:
        found = verdict(first.values, second.values)
        numbers = "; ".join(f"{side.mean:.2f} ± {side.std:.2f}" for side in (first, second))
        rows.append(f"| {claim} | {what}: {numbers} | {len(first.values)} | **{found}** |")
    return "\n".join(rows)


def memory():
    """GiB of published models' weights."""
    published = {
        "CLIP ViT-B/32": 0.15e9,
        "CLIP ViT-L/14": 0.43e9,
        "BLIP captioning, base": 0.25e9,
        "SmolLM2-135M": 0.135e9,
        "BLIP-2 with OPT-2.7B": 3.7e9,
        "OpenFlamingo-4B": 4e9,
        "LLaVA-1.5-7B": 7.1e9,
    }
    groups = {
        name: {"float32": 4 * count / 2**30, "bfloat16": 2 * count / 2**30}
        for name, count in published.items()
    }
    return plots.bars(groups, "GiB of memory for the weights", sideways=True, form=".1f")
