"""Lesson 03, what CLIP learned: its exercises, the probe's fit, the failure lab, and its figures and tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.flop_counter import FlopCounterMode

from teaching import clip_analysis_data, clip_analysis_probes
from teaching.exercises import question
from vlmcourse import evaluation, plots, world
from vlmcourse.evaluation.published import published
from vlmcourse.recipes.clip import noun_classes, single_things
from vlmcourse.recipes.clip_studies import Pool, study_classes, things_alone
from vlmcourse.world import tokenizer

EXERCISES = clip_analysis_probes.EXERCISES | clip_analysis_data.EXERCISES
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


def counted_flops(tower: torch.nn.Module, size: int) -> int:
    """What PyTorch counts in the forward pass of one image of size x size pixels."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        tower(torch.zeros(1, 3, size, size))
    return counter.get_total_flops()


def study_accuracy(model, count: int = 512) -> float:
    """Zero-shot accuracy of a small CLIP on the nouns of its world."""
    pairs, labels = things_alone(count)
    with torch.no_grad():
        images = model.encode_image(world.to_pixels(pairs.images(range(count))))
    return evaluation.accuracy(evaluation.zero_shot(images, study_classes(model)), labels)


class LeakyTest:
    """Test pictures of single things, of which a share are noisy copies of training pictures.

    pixel_values (N, 3, S, S), labels (N,), planted (N,) booleans, similarity (N, training pictures)
    """

    def __init__(self, size: int, count: int, share: float):
        train, _, train_labels = single_things(size, 2 * count, "train")
        pairs, _, labels = single_things(size, count)
        images, seen = pairs.images(range(count)), train.images(range(2 * count))
        copies = round(share * count)
        noise = np.random.default_rng(0).normal(0, 6, seen[:copies].shape)
        images[:copies] = (seen[:copies] + noise).clip(0, 255).astype(np.uint8)
        self.pixel_values = world.to_pixels(images)
        self.labels = torch.cat([train_labels[:copies], labels[copies:]])
        self.planted = torch.arange(count) < copies
        self.similarity = fingerprints(images) @ fingerprints(seen).T


def three_uses(model) -> plots.Diagram:
    """Zero-shot, linear probe and few-shot probe: what each reads, with the model's shapes."""
    size, width, joint = (
        model.config.image_size,
        model.config.vision_width,
        model.config.embedding,
    )
    classes = len(world.known_nouns())
    drawn = plots.Diagram("Three uses of one image tower")
    drawn.box("pixels", "pixel_values", f"(N, 3, {size}, {size})", column=0, row=1, kind="data")
    drawn.box("tower", "image tower", "frozen after lesson 02", column=1, row=1, kind="frozen")
    drawn.box("features", "features", f"(N, {width})", column=2, row=1, kind="data")
    drawn.box("projection", "projection", f"{width} to {joint}", column=3, row=0, kind="frozen")
    drawn.box("texts", "class sentences", f"{classes} texts", column=2, row=-1, kind="data")
    drawn.box("text", "text tower", f"({classes}, {joint})", column=3, row=-1, kind="frozen")
    drawn.box("cosine", "nearest sentence", "zero-shot: no labels", column=4, row=0)
    drawn.box(
        "probe", "linear probe", f"{width} x {classes}, all labels", column=3, row=1, kind="trained"
    )
    drawn.box(
        "few", "few-shot probe", f"{width} x {classes}, k labels", column=3, row=2, kind="trained"
    )
    drawn.arrow("pixels", "tower")
    drawn.arrow("tower", "features")
    drawn.arrow("features", "projection")
    drawn.arrow("features", "probe")
    drawn.arrow("features", "few")
    drawn.arrow("projection", "cosine", "unit vectors")
    drawn.arrow("texts", "text")
    drawn.arrow("text", "cosine")
    return drawn


def data_pipeline() -> plots.Diagram:
    """From search queries to training pairs, with the paper's numbers."""
    facts = published("clip-facts")
    queries = facts.value("unique search queries", "value")
    most = facts.value("most pairs of one query", "value")
    pairs = facts.value("image-text pairs", "value")
    drawn = plots.Diagram("From the web to training pairs")
    drawn.box("queries", "search queries", f"{queries:,}", column=0, kind="data")
    drawn.box("found", "pairs found", "image with its text", column=1, kind="data")
    drawn.box("cap", "limit", f"at most {most:,} per query", column=2)
    drawn.box("same", "de-duplication", "near-equal images", column=3)
    drawn.box("pairs", "CLIP's pairs", f"{pairs} million", column=4, kind="data")
    drawn.box("filter", "filter by cosine", "keeps similar pairs", column=3, row=1)
    drawn.box("later", "later data sets", "LAION, DataComp", column=4, row=1, kind="data")
    drawn.box("clip", "a trained CLIP", "judges each pair", column=2, row=1, kind="frozen")
    for source, target in (
        ("queries", "found"),
        ("found", "cap"),
        ("cap", "same"),
        ("same", "pairs"),
        ("clip", "filter"),
        ("filter", "later"),
        ("found", "clip"),
    ):
        drawn.arrow(source, target)
    return drawn
