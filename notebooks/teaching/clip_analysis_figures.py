"""Lesson 03's figures of the models at hand: answers under class lists, the filter, and two diagrams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from teaching.clip_analysis import class_answers
from vlmcourse import plots, world
from vlmcourse.evaluation.published import published


def answers_under(model, pictures: np.ndarray, lists: Mapping[str, Sequence[str]]):
    """The pictures (N, S, S, 3), each with the answer under each class list: {name of a list: words}."""
    captions = []
    for picture in pictures:
        lines = []
        for name, words in lists.items():
            answers = class_answers(model, picture, words)
            best = max(answers, key=answers.__getitem__)
            lines += [f"{name}:", f"{best} ({answers[best]:.2f})"]
        captions.append("\n".join(lines))
    return plots.pictures(pictures, captions)


def filter_figure(cosine_order: Tensor, is_clean: Tensor):
    """Precision and recall of keeping the pairs with the highest cosines, over the share kept."""
    precision, recall = {}, {}
    for share in (0.2, 0.4, 0.6, 0.8, 1.0):
        kept = is_clean[cosine_order[: int(share * len(is_clean))]].float()
        precision[share] = kept.mean().item()
        recall[share] = (kept.sum() / is_clean.sum()).item()
    drawn = plots.curves(
        {"precision: kept pairs that match": precision, "recall: matching pairs kept": recall},
        "share of pairs kept, highest cosines first",
        "share",
        lines={"share of all pairs that match": is_clean.float().mean().item()},
    )
    drawn.axes[0].set_ylim(0, 1.05)
    return drawn


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
        "few",
        "few-shot probe",
        f"{width} x {classes}, k per class",
        column=3,
        row=2,
        kind="trained",
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
    drawn.box("same", "de-duplication", "so the lecture says", column=3)
    drawn.box("pairs", "CLIP's pairs", f"{pairs} million", column=4, kind="data")
    drawn.box("crawl", "Common Crawl", "web pages", column=0, row=1, kind="data")
    drawn.box("texts", "pairs found", "image with its text", column=1, row=1, kind="data")
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
        ("crawl", "texts"),
        ("texts", "clip"),
    ):
        drawn.arrow(source, target)
    return drawn
