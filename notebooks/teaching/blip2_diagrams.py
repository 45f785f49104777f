"""Lesson 10: diagrams of BLIP-2's two stages, and of a layer of the Q-Former."""

from __future__ import annotations

import torch

from vlmcourse.papers.blip2 import BLIP2, Stage1
from vlmcourse.parts.image_features import patch_features
from vlmcourse.parts.language import width
from vlmcourse.plots import Diagram


def features_shape(model: Stage1 | BLIP2) -> str:
    """Of the image encoder's features, such as (B, 17, 128)."""
    blank = torch.zeros(1, 3, model.vision.image_size, model.vision.image_size)
    _, patches, channels = patch_features(model.vision, blank).shape
    return f"(B, {patches}, {channels})"


def two_stages(first: Stage1, second: BLIP2, tokens: int) -> Diagram:
    """The paper's Figures 1 to 3 in one: what is frozen, what is trained, and by what in each stage."""
    c, size = first.qformer.config, second.vision.image_size
    layers = second.lm.config.num_hidden_layers
    diagram = Diagram("BLIP-2: a Q-Former between two frozen models, trained in two stages")
    add, D = diagram.box, width(second.lm)
    add("picture", "picture", f"(B, 3, {size}, {size})", column=0, row=0, kind="data")
    queries = f"{c.queries} x {c.width}", "trained vectors"
    add("queries", "learned queries", *queries, column=0, row=1, kind="trained")
    add("text", "caption, stage 1", f"ids (B, {tokens})", column=0, row=2, kind="data")
    shape = features_shape(first)
    add("vision", "image encoder", "CLIP's", shape, column=1, row=0, kind="frozen")
    queries_out, text_out = f"queries (B, {c.queries}, {c.width})", f"text (B, {tokens}, {c.width})"
    former = f"{c.depth} layers", queries_out, f"stage 1: and {text_out}"
    add("former", "Q-Former", *former, column=2, row=1, kind="trained")
    three = "ITC, ITM, ITG", "three masks"
    add("losses", "stage 1's losses", *three, column=3, row=0, kind="loss")
    add("projection", "projection", f"{c.width} to {D}", column=3, row=1, kind="trained")
    add("words", "text, stage 2", f"ids (B, {tokens})", column=3, row=2, kind="data")
    lm = f"{layers} layers", f"prefix and text (B, {c.queries + tokens}, {D})"
    add("lm", "language model", *lm, column=4, row=1, kind="frozen")
    add("loss", "stage 2's loss", "next words", column=5, row=1, kind="loss")
    for source, target in (
        ("picture", "vision"),
        ("vision", "former"),
        ("queries", "former"),
        ("text", "former"),
        ("former", "losses"),
        ("former", "projection"),
        ("projection", "lm"),
        ("words", "lm"),
        ("lm", "loss"),
    ):
        diagram.arrow(source, target)
    diagram.arrow("losses", "former", gradient=True)
    diagram.arrow("loss", "lm", gradient=True)
    diagram.arrow("lm", "projection", gradient=True)
    diagram.arrow("projection", "former", gradient=True)
    return diagram


def layer(first: Stage1, tokens: int) -> Diagram:
    """The paper's Figure 2: queries and text in one layer."""
    c = first.qformer.config
    R, D = c.queries, c.width
    diagram = Diagram("A layer of the Q-Former: queries and text share self-attention")
    add, trained = diagram.box, {"kind": "trained"}
    add("queries", "queries' states", f"(B, {R}, {D})", column=0, row=0)
    add("text", "text's states", f"(B, {tokens}, {D})", column=0, row=1)
    mask = f"mask ({R + tokens}, {R + tokens})", "by objective"
    add("self", "self-attention", "shared", *mask, column=1, row=0.5, **trained)
    each = "queries only", "every second layer"
    add("cross", "cross-attention", *each, column=2, row=0, **trained)
    add("features", "features", features_shape(first), column=1, row=-1, kind="frozen")
    add("ffn q", "feed-forward", "the queries' own", column=3, row=0, **trained)
    add("ffn t", "feed-forward", "the text's own", column=3, row=1, **trained)
    add("out q", "queries' states", f"(B, {R}, {D})", column=4, row=0)
    add("out t", "text's states", f"(B, {tokens}, {D})", column=4, row=1)
    for source, target in (
        ("queries", "self"),
        ("text", "self"),
        ("self", "cross"),
        ("self", "ffn t"),
        ("cross", "ffn q"),
        ("ffn q", "out q"),
        ("ffn t", "out t"),
    ):
        diagram.arrow(source, target)
    diagram.arrow("features", "cross", "keys, values")
    return diagram
