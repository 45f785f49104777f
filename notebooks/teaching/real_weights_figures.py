"""Lesson 15: its figures and its table of claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from teaching import real_weights_model as training
from teaching import real_weights_study as study
from teaching.real_photos import REGIONS, photo, photos
from teaching.real_weights_inputs import fitted, squashed
from teaching.real_weights_parity import with_resolution
from vlmcourse import evaluation, plots, recipes, world
from vlmcourse.papers.clip import CLIP
from vlmcourse.plots.style import COLOURS, course_style, describe, figure, hide_axes, outline
from vlmcourse.training.scale import Scale

MEASURES = ("test crops", "drawings")
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
    scores["guessing"] = {"": 1 / len(classes)}
    return plots.bars(scores, "share of right nouns", sideways=True, form=".3f")


@torch.no_grad()
def resolutions(clip: CLIP, scale: Scale, resize_positions: Callable, count: int):
    """Zero-shot accuracy over the picture's size. Drawings grow along, or keep their size on a larger background."""
    patch, classes = clip.config.patch, recipes.clip.noun_classes(clip)
    sizes = [scale.image_size + patch * extra for extra in (0, 1, 2, 4)]
    _, small, labels = recipes.clip.single_things(scale.image_size, count)
    curves: dict[str, dict[float, float]] = {}
    for size in sizes:
        _, large, _ = recipes.clip.single_things(size, count)
        ways = {
            "larger drawing": (resize_positions, large),
            "the same, positions shuffled": (shuffled_positions, large),
            "small drawing, upper left": (resize_positions, on_canvas(small, size, 0)),
            "small drawing, middle": (
                resize_positions,
                on_canvas(small, size, (size - scale.image_size) // 2),
            ),
        }
        for way, (resize, pixels) in ways.items():
            model = with_resolution(clip, size, resize)
            found = evaluation.zero_shot(model.encode_image(pixels), classes)
            curves.setdefault(way, {})[size] = evaluation.accuracy(found, labels)
    return plots.curves(curves, "pixels of a side", "share of right nouns", 1 / len(classes))


def on_canvas(pixels: Tensor, size: int, margin: int) -> Tensor:
    """Pictures (N, 3, S, S) on squares of `size` pixels, `margin` from the left and from above; edges are repeated."""
    after = size - pixels.shape[-1] - margin
    return torch.nn.functional.pad(pixels, (margin, after, margin, after), mode="replicate")


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
            draw_region(panel, label, region.box, {"o": train + side // 2, "^": test + side // 2})
            counts.append(f"{label}: {len(train)} and {len(test)}")
        panel.set_title(name, fontsize=10)
    return describe(
        drawn,
        "Six photographs with boxes of regions. Circles: centres of training crops, in one half "
        f"of each box; triangles: of test crops, in the other. Numbers: {'; '.join(counts)}.",
    )


def draw_region(panel, label: str, box: Sequence[int], centres: Mapping[str, Tensor]) -> None:
    """A box with its name, and centres of crops (n, 2) by mark: "o" for training, "^" for testing."""
    outline(panel, *box, color="white", linewidth=2.2)
    outline(panel, *box, color="black", linewidth=0.8)
    for mark, places in centres.items():
        panel.scatter(
            *places.T, s=14, c=COLOURS["o^".index(mark)], marker=mark, edgecolors="white",
            linewidths=0.4,
        )  # fmt: skip
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.85}
    panel.text(box[0] + 3, box[1] + 5, label, fontsize=9, va="top", bbox=paper)


@course_style()
def two_flags(split: Callable, side: int, step: int):
    """Flag and woman in the photograph of the training, and in the portrait, whose crops are all for testing."""
    drawn, axes = figure(5.6, 3.7, 1, 2)
    known = (REGIONS["flag"], REGIONS["woman"])
    for panel, regions in zip(axes, (known, training.PORTRAIT)):
        hide_axes(panel)
        panel.imshow(np.asarray(photo(regions[0].photo)))
        for label, region in zip(("flag", "woman"), regions):
            first, second = (part + side // 2 for part in split(region.box, side, step))
            new = region.photo == "portrait"
            marks = {"^": torch.cat([first, second])} if new else {"o": first, "^": second}
            draw_region(panel, label, region.box, marks)
        panel.set_title(regions[0].photo, fontsize=10)
    return describe(
        drawn,
        "Left: the astronaut's photograph. The flag's upper half, with stars, has circles (training); "
        "its lower half, with stripes, has triangles (testing). Right: the portrait, another woman "
        "before another flag, of which the box holds stars and stripes; all marks are triangles.",
    )


def losses(histories: Mapping[str, Sequence[float]], floor: float, parts: int = 16):
    """Training losses of several runs, as means of equal parts of the steps, and the lowest that is possible."""
    curves = {}
    for name, values in histories.items():
        chunks = np.array_split(np.asarray(values), min(parts, len(values)))
        ends = np.cumsum([len(chunk) for chunk in chunks])
        curves[name] = {int(end): float(chunk.mean()) for end, chunk in zip(ends, chunks)}
    lines = {"lowest possible loss": floor}
    return plots.curves(curves, "training step", "CLIP's loss (nats)", lines=lines)


def accuracies(found: Mapping[str, Mapping[str, float]]):
    """Bars: way -> {training crops, test crops, drawings}, and guessing."""
    groups = dict(found) | {"guessing": guessing("training crops", "test crops", "drawings")}
    return plots.bars(groups, "share right", sideways=True, highest=1, form=".3f")


def guessing(*measures: str) -> dict[str, float]:
    """The share that is right by guessing."""
    drawings = 1 / len(world.known_nouns())
    return {what: drawings if what == "drawings" else 1 / len(REGIONS) for what in measures}


def mixture(curve: Mapping[float, tuple[float, float]]):
    """Photographs and drawings over alpha."""
    names = ("test crops (16 captions)", "drawings (zero-shot nouns)")
    guesses = guessing("test crops", "drawings")
    lines = {f"guessing, {what}": share for what, share in guesses.items()}
    series = {
        name: {alpha: pair[at] for alpha, pair in curve.items()} for at, name in enumerate(names)
    }
    return plots.curves(series, "alpha (0: shipped, 1: fine-tuned)", "share right", lines=lines)


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
        f"{name} ({region.photo})": {
            system: values[number].item() for system, values in scores.items()
        }
        for number, (name, region) in enumerate(REGIONS.items())
    }
    drawn = plots.bars(groups, "share of right test crops", chance, sideways=True, form=".2f")
    for number in drawn.axes[0].texts:  # the dashed line passes below the numbers
        number.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.8})
    return drawn


def study_bars(colour: float):
    """The ways to fine-tune over seeds: test crops and drawings. colour: the mean colours' share of right test crops."""
    first = next(iter(study.WAYS))
    runs = {"shipped, not trained": (first, 0.0)} | {way: (way, 1.0) for way in study.WAYS}
    groups = {
        name: {what: study.values(*run, what) for what in MEASURES} for name, run in runs.items()
    }
    groups |= {"mean colour, no model": {"test crops": colour}, "guessing": guessing(*MEASURES)}
    return plots.bars(groups, "share right", sideways=True, highest=1, form=".2f")


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
