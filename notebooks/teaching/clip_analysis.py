"""Lesson 03, what CLIP learned: its exercises, the probe's fit, the failure lab, and the overlap that it plants."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from IPython.display import Markdown, display
from torch import Tensor
from torch.nn.functional import normalize

from teaching import (
    clip_analysis_compute,
    clip_analysis_data,
    clip_analysis_pairs,
    clip_analysis_probes,
)
from teaching.exercises import question
from vlmcourse import evaluation, world
from vlmcourse.recipes.clip import noun_classes, single_things, training_pairs
from vlmcourse.recipes.clip_studies import Pool, study_classes, things_alone
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer

EXERCISES = (
    clip_analysis_probes.EXERCISES
    | clip_analysis_compute.EXERCISES
    | clip_analysis_data.EXERCISES
    | clip_analysis_pairs.EXERCISES
)
Labelled = tuple[Tensor, Tensor]


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


def first_of_each(labels: Tensor, rows: Sequence[int]) -> list[int]:
    """The first of these rows for each label that they have."""
    return list({int(labels[row]): row for row in reversed(rows)}.values())[::-1]


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


def noise_truth(pool: Pool) -> Tensor:
    """Which pairs of a noisy pool have their own caption, (count,)."""
    noise = pool.pairs.noise
    return torch.tensor([not noise.is_noisy(row, pool.pairs.seed) for row in range(pool.count)])


def fingerprints(images: np.ndarray, side: int = 8) -> Tensor:
    """Images (N, S, S, 3) uint8 as unit vectors (N, side * side * 3): shrunk, and centred on the mean image."""
    pixels = torch.nn.functional.adaptive_avg_pool2d(world.to_pixels(images), side).flatten(1)
    return normalize(pixels - pixels.mean(1, keepdim=True), dim=1)


def skipped_flops(config) -> int:
    """Operations that a ViT saves in its last block, of which it computes the class token alone: for each patch the query, the
    output projection and the MLP (10 width² multiply-adds), and this query's two attention products."""
    patches, width = (config.image_size // config.patch) ** 2, config.vision_width
    return 2 * patches * (10 * width**2 + 2 * (patches + 1) * width)


class Progress:
    """One line in the notebook about a running training: step, loss, seconds left. Call it with each Step."""

    def __init__(self, name: str, seconds: float = 1.5):
        self.name, self.seconds, self.display, self.shown_at = name, seconds, None, -math.inf

    def __call__(self, step) -> None:
        done = step.step == step.steps
        if not done and time.perf_counter() - self.shown_at < self.seconds:
            return
        left = "done" if done else f"about {step.seconds_left:.0f} s left"
        text = f"{self.name}: step {step.step} of {step.steps}, loss {step.loss:.2f}, {left}"
        self.shown_at = time.perf_counter()
        if self.display is None:
            self.display = display(Markdown(text), display_id=True)
        else:
            self.display.update(Markdown(text))


def study_accuracy(model, count: int = 512) -> float:
    """Zero-shot accuracy of a small CLIP on the nouns of its world."""
    pairs, labels = things_alone(count)
    with torch.no_grad():
        images = model.encode_image(world.to_pixels(pairs.images(range(count))))
    return evaluation.accuracy(evaluation.zero_shot(images, study_classes(model)), labels)


class LeakyTest:
    """Test pictures of single things, of which a share are noisy copies of pictures that lesson 02's CLIP was trained on.

    pixel_values (N, 3, S, S), labels (N,), planted (N,) booleans, similarity (N, training pictures)
    """

    def __init__(self, scale: Scale, count: int, share: float):
        train = training_pairs(scale)
        alone = [row for row in range(4 * count) if len(train.scene(row).words) == 1]
        names = world.known_nouns()
        train_labels = torch.tensor([names.index(train.scene(row).words[0]) for row in alone])
        pairs, _, labels = single_things(scale.image_size, count)
        images, seen = pairs.images(range(count)), train.images(alone)
        copies = round(share * count)
        noise = np.random.default_rng(0).normal(0, 6, seen[:copies].shape)
        images[:copies] = (seen[:copies] + noise).clip(0, 255).astype(np.uint8)
        self.pixel_values = world.to_pixels(images)
        self.labels = torch.cat([train_labels[:copies], labels[copies:]])
        self.planted = torch.arange(count) < copies
        self.similarity = fingerprints(images) @ fingerprints(seen).T
