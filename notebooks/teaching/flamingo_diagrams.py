"""Lesson 11: diagrams of Perceiver, Perceiver IO, the resampler, the gated block and the whole Flamingo."""

from __future__ import annotations

from teaching.perceiver_model import POINTS, SHAPES, WIDTH, CloudClassifier, PlaceReader
from vlmcourse.papers.flamingo import Flamingo
from vlmcourse.parts.language import decoder_layers, width
from vlmcourse.plots import Diagram


def sizes(model: Flamingo) -> tuple[int, int, int, int]:
    """R latents, their width C, the language model's width D and depth."""
    c = model.config
    return c.latents, c.vision_width, width(model.lm), len(decoder_layers(model.lm))


def flamingo(model: Flamingo, patches: int, tokens: int) -> Diagram:
    """Flamingo's Figure 3 for a page of two pictures."""
    R, C, D, depth = sizes(model)
    size = model.vision.vit.image_size
    diagram = Diagram("Flamingo: two frozen models, and new layers between them")
    add = diagram.box
    for n in (1, 2):
        shape = f"(3, {size}, {size})"
        add(f"p{n}", f"picture {n}", shape, column=0, row=0.5 * (n - 1), kind="data")
    add(
        "vision",
        "image encoder",
        f"each picture: ({patches}, {C})",
        column=1,
        row=0.25,
        kind="frozen",
    )
    diagram.arrow("p1", "vision")
    diagram.arrow("p2", "vision")
    add("resampler", "resampler", f"each picture: ({R}, {C})", column=2, row=0.25, kind="trained")
    diagram.arrow("vision", "resampler")
    add("text", "text with tags", f"ids (B, {tokens})", column=0, row=2, kind="data")
    rows = f"{len(model.config.trainable_token_ids)} new rows trained"
    add("words", "embeddings", f"(B, {tokens}, {D})", rows, column=1, row=2, kind="frozen")
    diagram.arrow("text", "words")
    last = "words"
    for n in range(1, depth + 1):
        block, layer = f"b{n}", f"l{n}"
        add(block, f"gated block {n}", f"(B, {tokens}, {D})", column=2 * n, row=2, kind="trained")
        add(layer, f"layer {n}", f"(B, {tokens}, {D})", column=2 * n + 1, row=2, kind="frozen")
        diagram.arrow(last, block)
        diagram.arrow(block, layer)
        diagram.arrow("resampler", block, "keys, values" if n == 1 else "")
        last = layer
    add("head", "head", "next words", column=2 * depth + 2, row=2, kind="frozen")
    diagram.arrow(last, "head")
    return diagram


def perceiver(model: CloudClassifier) -> Diagram:
    """The Perceiver's Figure 1, with the shapes of the small one."""
    c = model.perceiver.config
    x, inputs = f"(B, {c.latents}, {c.width})", f"(B, M, {WIDTH})"
    diagram = Diagram(f"Perceiver: {c.num_cross_attends} cross-attends to M inputs")
    add = diagram.box
    add("inputs", "inputs", inputs, column=1, row=0, kind="data")
    add("latents", "latents", x, "learned", column=0, row=1, kind="trained")
    last = "latents"
    for n in range(c.num_cross_attends):
        shared = "own weights" if n == 0 else "shared weights"
        add(
            f"c{n}",
            "cross-attend",
            f"{c.latents} x M",
            shared,
            column=2 * n + 1,
            row=1,
            kind="trained",
        )
        loops = f"{c.depth} x self-attend" if c.depth > 1 else "self-attend"
        each = f"{c.latents} x {c.latents}", "shared weights"
        add(f"s{n}", loops, *each, column=2 * n + 2, row=1, kind="trained")
        diagram.arrow(last, f"c{n}")
        diagram.arrow("inputs", f"c{n}", "keys, values" if n == 0 else "")
        diagram.arrow(f"c{n}", f"s{n}")
        last = f"s{n}"
    end = 2 * c.num_cross_attends + 1
    add("mean", "mean, linear", f"(B, {len(SHAPES)})", column=end, row=1, kind="trained")
    diagram.arrow(last, "mean")
    return diagram


def perceiver_io(model: PlaceReader) -> Diagram:
    """Perceiver IO's Figure 2, with the shapes of the small one."""
    c = model.io.config
    x = f"(B, {c.latents}, {c.width})"
    diagram = Diagram("Perceiver IO: read once, answer any number of queries")
    add = diagram.box
    add("inputs", "inputs", f"(B, {POINTS}, {WIDTH})", "points", column=0, row=0, kind="data")
    add("latents", "latents", x, "learned", column=0, row=1, kind="trained")
    add("read", "cross-attend", x, column=1, row=1, kind="trained")
    add("think", "self-attends", x, column=2, row=1, kind="trained")
    add("queries", "output queries", f"(B, O, {WIDTH})", "places", column=2, row=0, kind="data")
    add("decode", "decode", f"(B, O, {WIDTH})", "no residual", column=3, row=1, kind="trained")
    add("head", "linear", "(B, O)", column=4, row=1, kind="trained")
    diagram.arrow("inputs", "read", "keys, values")
    diagram.arrow("latents", "read")
    diagram.arrow("read", "think")
    diagram.arrow("think", "decode", "keys, values")
    diagram.arrow("queries", "decode")
    diagram.arrow("decode", "head")
    return diagram


def resampler(model: Flamingo, frames: int, patches: int) -> Diagram:
    """The resampler, as in Flamingo's Figure 5, for a video."""
    R, C, *_ = sizes(model)
    x, depth = f"({R}, {C})", model.config.resampler_depth
    diagram = Diagram(f"The resampler for a video of {frames} frames")
    add = diagram.box
    features = f"({frames}, {patches}, {C})", "of each frame"
    add("features", "features", *features, column=0, row=-1, kind="frozen")
    add("time", "time embeddings", f"({frames}, 1, {C})", column=0, row=0, kind="trained")
    add("sum", "sum, flattened", f"({frames * patches}, {C})", column=1, row=-1)
    add("latents", "latents", x, "learned", column=1, row=1, kind="trained")
    add("join", "joined", f"({frames * patches + R}, {C})", column=2, row=-1)
    add("attention", "attention", x, column=3, row=0, kind="trained")
    add("sum a", "sum", x, column=4, row=1)
    add("dense", "feed-forward", x, column=5, row=0, kind="trained")
    add("sum b", "sum", x, column=6, row=1)
    add("out", "LayerNorm", x, column=7, row=1, kind="trained")
    for source, target, label in (
        ("features", "sum", ""),
        ("time", "sum", ""),
        ("sum", "join", ""),
        ("latents", "join", ""),
        ("join", "attention", "keys, values"),
        ("latents", "attention", "queries"),
        ("latents", "sum a", ""),
        ("attention", "sum a", ""),
        ("sum a", "dense", ""),
        ("dense", "sum b", ""),
        ("sum a", "sum b", ""),
        ("sum b", "out", ""),
        ("sum b", "latents", f"the new latents go into the next of the {depth} layers"),
    ):
        diagram.arrow(source, target, label)
    return diagram


def gated_block(model: Flamingo, tokens: int, pictures: int = 2) -> Diagram:
    """Flamingo's Figure 4: a gated block before a frozen layer."""
    R, C, D, *_ = sizes(model)
    y = f"(B, {tokens}, {D})"
    diagram = Diagram("A gated block (GATED XATTN-DENSE) before a frozen layer")
    add = diagram.box
    add("y", "y", y, column=0, row=1, kind="data")
    add("latents", "latents", f"(B, {pictures * R}, {C})", column=0, row=0, kind="data")
    mask = f"(B, {tokens}, {pictures * R})"
    add("mask", "mask from phi", mask, column=0, row=-1, kind="data")
    add("attention", "cross-attention", y, column=1, row=0, kind="trained")
    add("gate a", "tanh(alpha_xattn)", "one number", column=2, row=0, kind="trained")
    add("sum a", "sum", y, column=3, row=1)
    add("dense", "feed-forward", y, column=4, row=0, kind="trained")
    add("gate b", "tanh(alpha_dense)", "one number", column=5, row=0, kind="trained")
    add("sum b", "sum", y, column=6, row=1)
    add("layer", "frozen layer", y, column=7, row=1, kind="frozen")
    for source, target, label in (
        ("y", "attention", "queries"),
        ("latents", "attention", "keys, values"),
        ("mask", "attention", ""),
        ("attention", "gate a", ""),
        ("gate a", "sum a", ""),
        ("y", "sum a", ""),
        ("sum a", "dense", ""),
        ("dense", "gate b", ""),
        ("gate b", "sum b", ""),
        ("sum a", "sum b", ""),
        ("sum b", "layer", ""),
    ):
        diagram.arrow(source, target, label)
    return diagram
