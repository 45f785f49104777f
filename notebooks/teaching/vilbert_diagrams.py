"""Lesson 04: diagrams of ViLBERT, of co-attention, of VL-BERT and of the answer head, with the shapes of the model at hand."""

from __future__ import annotations

from vlmcourse.papers.vilbert import ViLBERT
from vlmcourse.papers.vlbert import VLBERTConfig
from vlmcourse.plots import Diagram


def two_streams(model: ViLBERT, regions: int, words: int) -> Diagram:
    """ViLBERT's Figures 1 and 3: both streams, their pairs of layers, and the three losses."""
    c = model.config
    image, text = f"(B, {1 + regions}, {c.image_width})", f"(B, {words}, {c.text_width})"
    diagram = Diagram("ViLBERT: two streams that exchange keys and values")
    add = diagram.box
    add(
        "boxes",
        "regions",
        f"features (B, {regions}, {c.features})",
        f"boxes (B, {regions}, 4)",
        column=0,
        row=0,
        kind="data",
    )
    add("ids", "words", f"ids (B, {words})", column=0, row=2, kind="data")
    add("embed image", "embed regions", image, "features + box", column=1, row=0, kind="trained")
    add("embed text", "embed words", text, "word + position", column=1, row=2, kind="trained")
    add(
        "text only",
        "text blocks",
        f"{c.num_text_only_layers} x self-attention",
        column=2,
        row=2,
        kind="trained",
    )
    add("co image", "co-attention", "queries: regions", column=3, row=0, kind="trained")
    add("co text", "co-attention", "queries: words", column=3, row=2, kind="trained")
    add("self image", "self-attention", "regions to regions", column=4, row=0, kind="trained")
    add("self text", "self-attention", "words to words", column=4, row=2, kind="trained")
    classes = f"{c.classes} classes:", f"{c.classes - 1} nouns, 'nothing'"
    add("regions", "region loss", *classes, column=5, row=0, kind="loss")
    add("aligned", "alignment loss", "product of pooled states", column=5, row=1, kind="loss")
    add("words", "word loss", f"vocabulary of {c.vocabulary}", column=5, row=2, kind="loss")
    for source, target in (
        ("boxes", "embed image"),
        ("ids", "embed text"),
        ("embed text", "text only"),
        ("embed image", "co image"),
        ("text only", "co text"),
        ("co image", "self image"),
        ("co text", "self text"),
        ("self image", "regions"),
        ("self text", "words"),
        ("self image", "aligned"),
        ("self text", "aligned"),
    ):
        diagram.arrow(source, target)
    diagram.arrow("co image", "co text", "K, V both ways")
    diagram.arrow("co text", "co image")
    for side in ("image", "text"):
        diagram.arrow(
            f"self {side}", f"co {side}", f"both layers, {c.num_co_attention_layers} times"
        )
    return diagram  # fmt: skip


def co_attention(model: ViLBERT, regions: int, words: int) -> Diagram:
    """ViLBERT's Figure 2b: which projection of which stream goes where."""
    c = model.config
    heads, width = c.co_attention_heads, c.co_attention_width // c.co_attention_heads
    diagram = Diagram("One co-attention layer: queries of one stream, keys and values of the other")
    sides = (
        ("image", "regions", (0, 0.5, 1), 1 + regions, c.image_width, 2),
        ("text", "words", (3, 2.5, 2), words, c.text_width, 3),
    )
    for side, name, (outer, middle, inner), length, wide, column in sides:
        shape, each = f"(B, {length}, {wide})", f"(B, {heads} heads, {length}, {width})"
        add = diagram.box
        add(side, name, shape, column=0, row=outer, kind="data")
        add(f"{side} q", f"queries of {name}", each, column=1, row=middle, kind="trained")
        add(f"{side} kv", f"keys, values of {name}", each, column=1, row=inner, kind="trained")
        add(f"{side} attend", "attention", f"rows: {name}", column=column, row=middle)
        then = "add, norm", "then feed-forward, add, norm"
        add(f"{side} norm", *then, column=4, row=outer, kind="trained")
        add(f"{side} out", f"new {name}", shape, column=5, row=outer, kind="data")
        diagram.arrow(side, f"{side} q")
        diagram.arrow(side, f"{side} kv")
        diagram.arrow(side, f"{side} norm", "residual")
        diagram.arrow(f"{side} q", f"{side} attend")
        diagram.arrow(f"{side} attend", f"{side} norm")
        diagram.arrow(f"{side} norm", f"{side} out")
    diagram.arrow("image kv", "text attend", "K, V")
    diagram.arrow("text kv", "image attend", "K, V")
    return diagram  # fmt: skip


def one_stream(config: VLBERTConfig, regions: int, words: int) -> Diagram:
    """VL-BERT's Figure 1: one BERT over words, regions and [END]."""
    c, length = config, words + regions + 1
    diagram = Diagram("VL-BERT: one stream, each element a sum of four embeddings")
    add = diagram.box
    add(
        "pixels",
        "pixels and boxes",
        f"(B, 3, {c.image_size}, {c.image_size})",
        f"boxes (B, {regions}, 4)",
        column=0,
        row=0,
        kind="data",
    )
    add("ids", "words", f"ids (B, {words})", column=0, row=2, kind="data")
    add(
        "visual",
        "visual features",
        "appearance + geometry",
        "of boxes; of the whole picture",
        column=1,
        row=0,
        kind="trained",
    )
    add(
        "norm", "LayerNorm", f"weight starts at {c.visual_scale:g}", column=2, row=0, kind="trained"
    )
    add("word", "token embedding", "word, [IMG] or [END]", column=1, row=2, kind="trained")
    add(
        "place",
        "segment + position",
        "one position for all regions",
        column=2,
        row=2,
        kind="trained",
    )
    add("sum", "sum", f"(B, {length}, {c.width})", column=3, row=1)
    add("bert", "BERT", f"{c.depth} blocks, {c.heads} heads", column=4, row=1, kind="trained")
    add("regions", "region loss", "likeliest class", column=5, row=0, kind="loss")
    add("words", "word loss", f"vocabulary of {c.vocabulary}", column=5, row=2, kind="loss")
    for source, target in (
        ("pixels", "visual"),
        ("visual", "norm"),
        ("norm", "sum"),
        ("ids", "word"),
        ("word", "place"),
        ("place", "sum"),
        ("sum", "bert"),
        ("bert", "regions"),
        ("bert", "words"),
    ):
        diagram.arrow(source, target)
    return diagram  # fmt: skip


def answer_head(model: ViLBERT, regions: int, words: int, answers: int) -> Diagram:
    """ViLBERT with a classifier of answers, all of it trained on."""
    c = model.config
    wide = c.co_attention_width
    diagram = Diagram("Fine-tuning for questions: every weight is trained")
    add = diagram.box
    inputs = f"features (B, {regions}, {c.features})", f"boxes (B, {regions}, 4)"
    add("regions", "regions", *inputs, column=0, row=0, kind="data")
    add("question", "question", f"ids (B, {words})", column=0, row=2, kind="data")
    add("vilbert", "ViLBERT", "pre-trained weights", column=1, row=1, kind="trained")
    add("image", "IMG token, pooled", f"(B, {wide})", column=2, row=0, kind="trained")
    add("text", "<bos>, pooled", f"(B, {wide})", column=2, row=2, kind="trained")
    add("product", "product", f"(B, {wide})", column=3, row=1)
    add(
        "head",
        "answer head",
        f"{wide} to {2 * wide} to {answers}",
        "new weights",
        column=4,
        row=1,
        kind="trained",
    )
    add("loss", "loss", "each answer: yes or no", column=5, row=1, kind="loss")
    for source, target in (
        ("regions", "vilbert"),
        ("question", "vilbert"),
        ("vilbert", "image"),
        ("vilbert", "text"),
        ("image", "product"),
        ("text", "product"),
        ("product", "head"),
        ("head", "loss"),
    ):
        diagram.arrow(source, target)
    diagram.arrow("loss", "vilbert", "gradient", gradient=True)
    return diagram  # fmt: skip
