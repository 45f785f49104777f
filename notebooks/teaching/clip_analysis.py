"""Lesson 03, what CLIP learned: its exercises, the probe's fit, the failure lab, and its figures and tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from teaching import clip_analysis_data, clip_analysis_probes
from teaching.exercises import question
from vlmcourse import evaluation, plots, world
from vlmcourse.evaluation import Spread, spread, spread_over_seeds
from vlmcourse.recipes.clip import noun_classes, single_things
from vlmcourse.recipes.clip_studies import VARIED, Pool
from vlmcourse.world import tokenizer

EXERCISES = clip_analysis_probes.EXERCISES | clip_analysis_data.EXERCISES
Labelled = tuple[Tensor, Tensor]
UNSEEN = tuple(style for style in world.STYLES if style not in VARIED)
"""Styles that no training picture has."""


def labelled_features(model, count: int, split: str) -> Labelled:
    """Features of the image tower before the joint projection, and labels, of scenes of one thing."""
    _, pixel_values, labels = single_things(model.config.image_size, count, split)
    return evaluation.features(model.vision, model, pixel_values), labels


def fit_probe(
    loss: Callable[..., Tensor], train: Labelled, classes: int, l2: float = 1e-3, steps: int = 40
) -> Labelled:
    """The weight (C, D) and bias (C,) that minimise loss(weight, bias, features, labels, l2), by L-BFGS."""
    features, labels = train
    weight = torch.zeros(classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss(weight, bias, features, labels, l2)
        value.backward()
        return value

    optimiser.step(closure)
    return weight.detach(), bias.detach()


def probe_accuracy(probe: Labelled, test: Labelled) -> float:
    """Share of test examples that the probe (weight, bias) classifies correctly."""
    (weight, bias), (features, labels) = probe, test
    return evaluation.accuracy((features @ weight.T + bias).argmax(1), labels)


def class_answers(model, picture: np.ndarray, words: Sequence[str]) -> dict[str, float]:
    """Zero-shot probabilities of one picture (S, S, 3) over class names: {word: probability}."""
    texts = [world.article(word) for word in words]
    classes = evaluation.class_embeddings(model, texts, world.captions.PROMPTS, tokenizer.encode)
    with torch.no_grad():
        image = model.encode_image(world.to_pixels(picture[None]))[0]
        probabilities = (model.logit_scale.exp() * classes @ image).softmax(0)
    return dict(zip(words, probabilities.tolist()))


def answers_under(model, pictures: np.ndarray, lists: Mapping[str, Sequence[str]]):
    """The pictures (N, S, S, 3), each with the answer under each class list: {name of a list: words}."""
    captions = []
    for picture in pictures:
        lines = []
        for name, words in lists.items():
            answers = class_answers(model, picture, words)
            best = max(answers, key=answers.__getitem__)
            lines.append(f"{name}: {best} ({answers[best]:.2f})")
        captions.append("\n".join(lines))
    return plots.pictures(pictures, captions)


def words_of(*categories: str) -> list[str]:
    """Known nouns of these categories."""
    return [word for word in world.known_nouns() if world.noun(word).category in categories]


# The failure lab: zero-shot evaluations with one fault each.


def _classes_in_alphabetical_order(model, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
    order = sorted(range(len(world.known_nouns())), key=lambda row: world.known_nouns()[row])
    return pixel_values, noun_classes(model)[order]


def _template_without_name(model, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
    texts = ["a picture of a thing"] * len(world.known_nouns())
    with torch.no_grad():
        return pixel_values, model.encode_text(tokenizer.encode(texts))


def _channels_reversed(model, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
    return pixel_values.flip(1), noun_classes(model)


FAULTS = {
    "class order": _classes_in_alphabetical_order,
    "template": _template_without_name,
    "channels": _channels_reversed,
}


def zero_shot_lab(model, count: int = 512) -> dict[str, dict[str, float]]:
    """Measurements of a healthy zero-shot evaluation and of the broken runs A, B and C: {run: {measurement: value}}."""
    _, pixel_values, labels = single_things(model.config.image_size, count)
    causes = question("failures", "clip_analysis.zero_shot")["causes"]
    runs = {"healthy": (pixel_values, noun_classes(model))} | {
        run: FAULTS[cause](model, pixel_values) for run, cause in causes.items()
    }
    colours = [world.noun(word).colour for word in world.known_nouns()]
    neutral = torch.tensor([colours[label] in ("white", "grey", "black") for label in labels])
    results = {}
    for run, (pixels, classes) in runs.items():
        with torch.no_grad():
            cosine = model.encode_image(pixels) @ classes.T
        guessed = cosine.argmax(1)
        results[run] = {
            "accuracy": evaluation.accuracy(guessed, labels),
            "accuracy, coloured things": evaluation.accuracy(guessed[~neutral], labels[~neutral]),
            "accuracy, grey things": evaluation.accuracy(guessed[neutral], labels[neutral]),
            "share of the commonest answer": guessed.bincount().max().item() / len(guessed),
            "mean cosine of the answer": cosine.amax(1).mean().item(),
        }
    return results


def lab_table(runs: Mapping[str, Mapping[str, float]]) -> str:
    """The measurements of each run as a Markdown table."""
    columns = list(next(iter(runs.values())))
    lines = [["run", *columns], ["---"] * (len(columns) + 1)]
    lines += [[name, *(f"{found[one]:.3f}" for one in columns)] for name, found in runs.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# Figures of the measured rows (benchmarks/replicate_clip_studies.py).


def difference(rows: Sequence[Mapping], study: str, first: Sequence, second: Sequence) -> Spread:
    """Spread over seeds of one measurement minus another."""
    pairs = [spread_over_seeds(rows, study, *path).values for path in (first, second)]
    return spread([a - b for a, b in zip(*pairs)])


def data_set_names(rows: Sequence[Mapping]) -> list[str]:
    """The data sets that were measured."""
    row = next(row for row in rows if row["row"] == "data sets")
    return [name for name, found in row.items() if isinstance(found, Mapping)]


def data_set_figure(rows: Sequence[Mapping]):
    """Zero-shot CLIP minus a probe on the supervised classifier's features, in points, best first."""
    gains = {
        name: difference(rows, "data sets", (name, "zero-shot"), (name, "probe on supervised"))
        for name in data_set_names(rows)
    }
    order = sorted(gains, key=lambda name: -gains[name].mean)
    return plots.bars(
        {name: {"difference": _in_points(gains[name])} for name in order},
        "zero-shot CLIP minus probe (percentage points)",
        sideways=True,
    )


def _in_points(found: Spread) -> Spread:
    return spread([100 * value for value in found.values])


def shots_figure(rows: Sequence[Mapping]):
    """k-shot probes on the features of three towers, beside zero-shot CLIP."""
    names = {
        "CLIP": "probe on CLIP",
        "supervised": "probe on the supervised classifier",
        "untrained": "probe on an untrained tower",
    }
    row = next(row for row in rows if row["row"] == "shots")
    curves = {
        name: {int(k): spread_over_seeds(rows, "shots", who, k) for k in row[who] if k != "all"}
        for who, name in names.items()
    }
    return plots.curves(
        curves,
        "labelled pictures per class",
        "accuracy on 57 nouns",
        chance=1 / 57,
        xlog=True,
        lines={"zero-shot CLIP": spread_over_seeds(rows, "shots", "zero-shot").mean},
    )


def scaling_points(rows: Sequence[Mapping], measurement: str) -> dict[str, dict[float, Spread]]:
    """{family: {MFLOPs an image: spread over seeds}} of one measurement."""
    row = next(row for row in rows if row["row"] == "scaling")
    points: dict[str, dict[float, Spread]] = {}
    for name, found in row.items():
        if isinstance(found, Mapping):
            score = spread_over_seeds(rows, "scaling", name, measurement)
            points.setdefault(name.split()[0], {})[found["MFLOPs an image"]] = score
    return points


def scaling_figure(rows: Sequence[Mapping], measurement: str):
    """One measurement over the compute of the image tower, for both families."""
    return plots.curves(
        scaling_points(rows, measurement),
        "forward pass of the image tower (MFLOPs per image, log scale)",
        measurement,
        xlog=True,
    )


def class_list_figure(rows: Sequence[Mapping]):
    """Alarm rates over the number of classes added."""
    names = [key for key in rows_of(rows, "class list")[0] if key.endswith("classes added")]
    added = sorted({int(name.split()[-3]) for name in names})
    return plots.bars(
        {
            str(number): {
                "clothing called an animal": spread_over_seeds(
                    rows, "class list", f"{number} classes added"
                ),
                "animals called an animal": spread_over_seeds(
                    rows, "class list", f"right, {number} classes added"
                ),
            }
            for number in added
        },
        "share of pictures",
    )


def rows_of(rows: Sequence[Mapping], study: str) -> list[Mapping]:
    """The rows of one study, one for each seed."""
    return [row for row in rows if row["row"] == study]


MODELS = ("captions, one style", "captions, varied", "labels, one style", "labels, varied")
STYLE_GROUPS = {
    "as trained": ("as trained",),
    "styles in the varied pictures": VARIED[1:],
    "styles in no picture": UNSEEN,
}


def shift_scores(rows: Sequence[Mapping], name: str, styles: tuple[str, ...]) -> Spread:
    """Mean accuracy over some styles of one of MODELS."""
    return spread_over_seeds(rows, "shift", name, styles)


def shift_figure(rows: Sequence[Mapping]):
    """Accuracy of the four models as trained, in styles of the varied pictures, and in styles of neither."""
    return plots.bars(
        {
            name: {model: shift_scores(rows, model, styles) for model in MODELS}
            for name, styles in STYLE_GROUPS.items()
        },
        "accuracy on 57 nouns",
        chance=1 / 57,
    )


def noise_figure(rows: Sequence[Mapping]):
    """Zero-shot accuracy and retrieval after training on corrupted and on cleaned pairs."""
    names = [
        name for name, found in rows_of(rows, "noise")[0].items() if isinstance(found, Mapping)
    ]
    return plots.bars(
        {
            name: {
                measurement: spread_over_seeds(rows, "noise", name, measurement)
                for measurement in ("zero-shot", "mean R@1")
            }
            for name in names
        },
        "score",
        sideways=True,
    )


def filter_figure(cosine_order: Tensor, is_clean: Tensor):
    """Precision and recall of keeping the pairs with the highest cosines, over the share kept."""
    precision, recall = {}, {}
    for share in (0.2, 0.4, 0.6, 0.8, 1.0):
        kept = is_clean[cosine_order[: int(share * len(is_clean))]].float()
        precision[share] = kept.mean().item()
        recall[share] = (kept.sum() / is_clean.sum()).item()
    return plots.curves(
        {"precision: kept pairs that match": precision, "recall: matching pairs kept": recall},
        "share of pairs kept, highest cosines first",
        "share",
        lines={"matching pairs before filtering": is_clean.float().mean().item()},
    )


def noise_truth(pool: Pool) -> Tensor:
    """Which pairs of a noisy pool have their own caption, (count,)."""
    noise = pool.pairs.noise
    return torch.tensor([not noise.is_noisy(row, pool.pairs.seed) for row in range(pool.count)])


def fingerprints(images: np.ndarray, side: int = 8) -> Tensor:
    """Images (N, S, S, 3) uint8 as unit vectors (N, side * side * 3): shrunk, and centred on the mean image."""
    pixels = torch.nn.functional.adaptive_avg_pool2d(world.to_pixels(images), side).flatten(1)
    return normalize(pixels - pixels.mean(1, keepdim=True), dim=1)
