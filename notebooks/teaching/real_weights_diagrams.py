"""Lesson 15: diagrams of a checkpoint's folder, and of fine-tuning by layers."""

from __future__ import annotations

from vlmcourse.papers.clip import CLIP
from vlmcourse.plots.diagrams import Diagram


def checkpoint_diagram(size: int) -> Diagram:
    """What a CLIP's folder of a hub holds, and where it goes. size: side of its pictures in pixels."""
    diagram = Diagram("A checkpoint's folder, and what each file becomes")
    diagram.box("weights", "model.safetensors", "tensors by name", column=0, row=0, kind="data")
    diagram.box("config", "config.json", "sizes, activation", column=0, row=1, kind="data")
    diagram.box(
        "tokens",
        "tokenizer.json",
        "tokenizer_config.json",
        "words to ids",
        column=0,
        row=2,
        kind="data",
    )
    diagram.box(
        "pixels", "preprocessor_config.json", "size, mean, deviation", column=0, row=3, kind="data"
    )
    diagram.box("map", "names, joined tensors", "exercises 1, 2", column=1, row=0)
    diagram.box("class", "our CLIP", "positions: exercise 4", column=2, row=1, kind="trained")
    diagram.box("text", "ids (C, T)", "exercise 5", column=1, row=2)
    diagram.box("image", f"pixels (B, 3, {size}, {size})", "exercise 3", column=1, row=3)
    diagram.box("out", "logits (B, C)", "same as the library's?", column=3, row=1)
    for source, target in (
        ("weights", "map"),
        ("map", "class"),
        ("config", "class"),
        ("tokens", "text"),
        ("pixels", "image"),
        ("text", "class"),
        ("image", "class"),
        ("class", "out"),
    ):
        diagram.arrow(source, target)
    return diagram


def tuning_diagram(clip: CLIP, decay: float, words: int) -> Diagram:
    """The shipped CLIP with the learning rate of each layer."""
    c, diagram = clip.config, Diagram("Fine-tuning: each layer with its learning rate")
    patches = (c.image_size // c.patch) ** 2
    size = f"(B, 3, {c.image_size}, {c.image_size})"
    diagram.box("crop", "crop of a photograph", size, column=0, row=0, kind="data")
    depth = c.vision_depth
    first, last, lowest = (f"rate / {decay**-power:g}" for power in (depth, 1, depth + 1))
    diagram.box(
        "input",
        "patches, positions",
        f"{patches} patches",
        lowest,
        column=1,
        row=0,
        kind="trained",
    )
    diagram.box(
        "blocks",
        f"{c.vision_depth} blocks",
        f"first: {first}",
        f"last: {last}",
        column=2,
        row=0,
        kind="trained",
    )
    diagram.box("head", "norm, projection", "rate", column=3, row=0, kind="trained")
    diagram.box("caption", "your caption", "ids (B, T)", column=0, row=1, kind="data")
    diagram.box(
        "rows", "embedding table", f"{words} new rows; rate", column=1, row=1, kind="trained"
    )
    diagram.box(
        "text", "text encoder", f"depth {c.text_depth}; rate", column=2, row=1, kind="trained"
    )
    diagram.box("loss", "CLIP's loss", "equal captions share", column=4, row=0.5, kind="loss")
    for source, target in (
        ("crop", "input"),
        ("input", "blocks"),
        ("blocks", "head"),
        ("head", "loss"),
        ("caption", "rows"),
        ("rows", "text"),
        ("text", "loss"),
    ):
        diagram.arrow(source, target)
    return diagram
