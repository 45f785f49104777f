"""Lesson 15: its figures and its table of claims."""

from __future__ import annotations

import textwrap
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
from vlmcourse.plots.style import (
    COLOURS,
    GREY,
    course_style,
    describe,
    figure,
    hide_axes,
    outline,
)
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
    """A photograph by the student's function, and by three common mistakes."""
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
    lines = {"guessing": 1 / len(classes)}
    drawn = plots.curves(curves, "pixels of a side", "share of right nouns", lines=lines)
    drawn.axes[0].set_xticks(sizes)
    return drawn


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
    """The six photographs with the regions of the data set, centres of training (blue) and test crops (orange)."""
    drawn, axes = figure(10, 6.3, 2, 3, gridspec_kw={"height_ratios": (2, 3)})
    counts = []
    for panel, (name, image) in zip(axes, photos().items()):
        hide_axes(panel)
        panel.imshow(np.asarray(image))
        for label, region in REGIONS.items():
            if region.photo != name:
                continue
            train, test = split(region.box, side, step)
            draw_region(panel, label, region.box, {"o": train + side // 2, "^": test + side // 2})
            for (x, y), colour in zip((train[-1].tolist(), test[0].tolist()), COLOURS):
                outline(panel, x, y, x + side, y + side, color=colour, linewidth=1.2)
            counts.append(f"{label}: {len(train)} and {len(test)}")
        panel.set_title(name, fontsize=10)
    return describe(
        drawn,
        "Six photographs with boxes of regions. Circles: centres of training crops, in one half "
        "of each box; triangles: of test crops, in the other; one square of each kind. "
        f"Numbers: {'; '.join(counts)}.",
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
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
    place = {"xytext": (2, -2), "textcoords": "offset points", "va": "top"}
    panel.annotate(label, box[:2], fontsize=7.5, bbox=paper, **place)


@course_style()
def two_flags(split: Callable, side: int, step: int):
    """Flag and woman in the photograph of the training, and in the portrait, whose crops are all for testing."""
    drawn, axes = figure(5.8, 3.4, 1, 2, gridspec_kw={"width_ratios": (400, 338)})
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
        "Left: the astronaut's photograph. The flag's upper half, blue with a few stars, has circles "
        "(training); its lower half, with stripes, has triangles (testing). Right: the portrait, "
        "another woman before another flag, of which the box shows mostly stars on blue; all marks "
        "are triangles.",
    )


def losses(histories: Mapping[str, Sequence[float]], floor: float, parts: int = 16):
    """Training losses of several runs, as means of equal parts of the steps, and the lowest that is possible."""
    curves = {}
    for name, values in histories.items():
        chunks = np.array_split(np.asarray(values), min(parts, len(values)))
        ends = np.cumsum([len(chunk) for chunk in chunks])
        means = {int(end): float(chunk.mean()) for end, chunk in zip(ends, chunks)}
        curves[f"{name}, at the end {means[int(ends[-1])]:.2f}"] = means
    lines = {f"lowest possible mean, {floor:.2f}": floor}
    return plots.curves(curves, "training step", "CLIP's loss (nats)", lines=lines, ylog=True)


def accuracies(found: Mapping[str, Mapping[str, float]]):
    """Bars: way -> {training crops, test crops, drawings}, and guessing."""
    groups = dict(found) | {"guessing": guessing("training crops", "test crops", "drawings")}
    return plots.bars(groups, "share right", sideways=True, highest=1, form=".2f")


def guessing(*measures: str) -> dict[str, float]:
    """The share that is right by guessing."""
    drawings = 1 / len(world.known_nouns())
    return {what: drawings if what == "drawings" else 1 / len(REGIONS) for what in measures}


@course_style()
def mixture(curve: Mapping[float, tuple[float, float]], beside: Mapping[str, float]):
    """Test crops over drawings: mixtures {alpha: (crops, drawings)} as a line, and another model's MEASURES."""
    drawn, (axes,) = figure(7.2, 4)
    crops, drawings = zip(*curve.values())
    axes.plot(drawings, crops, "o-", color=COLOURS[0], label="mixtures of both models")
    other = beside["drawings"], beside["test crops"]
    axes.plot(*other, "*", color=COLOURS[3], markersize=15, linestyle="", label="slower below")
    words = []
    for alpha, (right, kept) in curve.items():
        words.append(f"alpha {alpha:g}: {right:.2f} of test crops, {kept:.2f} of drawings")
        text = f"alpha {alpha:g}: {right:.2f}, {kept:.2f}"
        axes.annotate(text, (kept, right), (8, 6), textcoords="offset points", fontsize=8)
    text = f"{other[1]:.2f}, {other[0]:.2f}"
    axes.annotate(text, other, (11, 4), textcoords="offset points", fontsize=8)
    for guess, line in zip(guessing(*MEASURES).values(), (axes.axhline, axes.axvline)):
        line(guess, color=GREY, linestyle="--", linewidth=1.2)
    axes.plot([], [], color=GREY, linestyle="--", linewidth=1.2, label="guessing")
    axes.set(xlabel="share of right drawings", ylabel="share of right test crops")
    axes.set(xlim=(-0.02, 1.25), ylim=(0, 0.75), xticks=np.arange(0, 1.01, 0.2))
    axes.legend(loc="upper right")
    return describe(
        drawn,
        f"Test crops over drawings. {'; '.join(words)}. Slower below: {other[1]:.2f} of test crops, "
        f"{other[0]:.2f} of drawings.",
    )


@torch.no_grad()
def retrieved(model: CLIP, task: training.Task, names: Sequence[str], k: int = 5):
    """For each region's caption the k nearest test crops, with cosines and regions; right ones are framed."""
    images = torch.cat([model.encode_image(part) for part in task.test.pixel_values.split(256)])
    rows = [list(REGIONS).index(name) for name in names]
    cosines, nearest = (model.encode_text(task.ids[rows]) @ images.T).topk(k)
    drawn, axes = figure(1.9 + 1.25 * k, 1.55 * len(rows), len(rows), k)
    words = []
    for number, row in enumerate(rows):
        caption, right = task.captions[row], 0
        for place in range(k):
            panel, crop = axes[number * k + place], nearest[number, place]
            region = int(task.test.labels[crop])
            hide_axes(panel)
            panel.imshow(task.test.images[crop])
            title = f"{cosines[number, place]:.2f} {list(REGIONS)[region]}"
            panel.set_title(title, fontsize=8.5, pad=4, fontweight="normal")
            for spine in panel.spines.values():
                colour = COLOURS[2] if region == row else COLOURS[3]
                style = {"linewidth": 3.5} if region == row else {"linewidth": 2, "linestyle": ":"}
                spine.set(visible=True, color=colour, **style)
            right += region == row
        style = {"rotation": 0, "ha": "right", "va": "center", "fontsize": 9}
        axes[number * k].set_ylabel(textwrap.fill(caption, 18), **style)
        words.append(f"'{caption}': {right} of {k}")
    return describe(
        drawn, f"Nearest test crops of four captions. From the right region: {'; '.join(words)}."
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
    axes, taken = drawn.axes[0], [region.photo for region in REGIONS.values()]
    for number in axes.texts:  # the dashed line passes below the numbers
        number.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.8})
    for place in range(1, len(taken)):
        if taken[place] != taken[place - 1]:  # another photograph
            axes.axhline(place - 0.5, color=GREY, linewidth=0.8)
    axes.set_ylim(len(taken) - 0.5, -0.5)
    drawn.set_size_inches(7.2, 7.4)
    return drawn


def study_bars(colour: float):
    """The ways to fine-tune over seeds: test crops and drawings. colour: the mean colours' share of right test crops."""
    first = next(iter(study.WAYS))
    runs = {"shipped, not trained": (first, 0.0)} | {way: (way, 1.0) for way in study.WAYS}
    groups = {
        name: {what: study.values(*run, what) for what in MEASURES} for name, run in runs.items()
    }
    groups["shipped, not trained"] = {
        what: found.mean for what, found in groups["shipped, not trained"].items()
    }
    groups |= {"mean colour, no model": {"test crops": colour}, "guessing": guessing(*MEASURES)}
    drawn = plots.bars(groups, "share right", sideways=True, highest=1, form=".2f")
    for line in drawn.axes[0].lines:  # dots stand in the bar's lower half, below the whisker
        if line.get_marker() == "o":
            line.set(ydata=np.asarray(line.get_ydata()) + 0.11, markersize=3)
    drawn.set_size_inches(7.2, 6)
    return drawn


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
    drawn = plots.bars(groups, "GiB of memory for the weights", sideways=True, form=".1f")
    axes = drawn.axes[0]
    for number in axes.texts:  # the dashed line passes below the numbers
        number.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.8})
    axes.axvline(16, color=GREY, linestyle="--", linewidth=1.2, label="16 GiB", zorder=0)
    axes.legend(loc="upper right")
    return drawn
