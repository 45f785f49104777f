"""Lesson 08: diagrams of BLIP's transformer in three roles, and of the contrastive loss with its momentum encoders."""

from __future__ import annotations

from vlmcourse.papers.blip import BLIP
from vlmcourse.plots import Diagram


def three_roles(model: BLIP, words: int) -> Diagram:
    """BLIP's Figure 2: three passes of one text through shared blocks, and what each is trained by."""
    c = model.config
    patches = 1 + (c.image_size // c.patch) ** 2
    states, text = f"(B, {patches}, {c.vision_width})", f"(B, {words}, {c.text_width})"
    diagram = Diagram(f"BLIP: one text transformer of {c.text_depth} blocks, three roles")
    add, trained = diagram.box, {"kind": "trained"}
    size = f"(B, 3, {c.image_size}, {c.image_size})"
    add("picture", "picture", size, column=0, row=0, kind="data")
    add("vit", "image encoder", f"{c.vision_depth} blocks", states, column=1, row=0, **trained)
    roles = (
        ("cls", "[CLS] words", 1, "bidirectional", "encoder's"),
        ("enc", "[ENC] words", 2, "bidirectional", "encoder's"),
        ("dec", "[DEC] words", 3, "causal", "decoder's own"),
    )
    for role, name, row, order, owner in roles:
        add(role, name, f"ids (B, {words})", column=0, row=row, kind="data")
        self_lines = order, f"weights: {owner}"
        add(f"{role} self", "self-attention", *self_lines, column=1, row=row, **trained)
        if role != "cls":
            add(f"{role} cross", "cross-attention", "shared", column=2, row=row, **trained)
        add(f"{role} ffn", "feed-forward", "shared", text, column=3, row=row, **trained)
    vectors = f"cosines, (B, {c.embedding}) each"
    add("itc", "ITC loss", "contrastive", vectors, column=4, row=0.5, kind="loss")
    add("itm", "ITM loss", "match: yes or no", column=4, row=2, kind="loss")
    add("lm", "LM loss", "next word", f"vocabulary of {c.vocabulary}", column=4, row=3, kind="loss")
    for source, target in (
        ("picture", "vit"),
        ("vit", "itc"),
        ("cls", "cls self"),
        ("cls self", "cls ffn"),
        ("cls ffn", "itc"),
        ("enc", "enc self"),
        ("enc self", "enc cross"),
        ("enc cross", "enc ffn"),
        ("enc ffn", "itm"),
        ("dec", "dec self"),
        ("dec self", "dec cross"),
        ("dec cross", "dec ffn"),
        ("dec ffn", "lm"),
    ):
        diagram.arrow(source, target)
    diagram.arrow("vit", "enc cross", "keys, values")
    diagram.arrow("vit", "dec cross")
    return diagram


def momentum_contrast(model: BLIP, batch: int, queue: int) -> Diagram:
    """The ITC loss with momentum encoders and queue, and where the ITM loss gets its wrong pairs."""
    E = model.config.embedding
    diagram = Diagram("ITC with momentum encoders and a queue; ITM with hard negatives")
    add = diagram.box
    add("batch", "pictures and texts", f"a batch of {batch}", column=0, row=1.5, kind="data")
    each = f"({batch}, {E}) each"
    add("fast", "encoders", "image and text", each, column=1, row=1, kind="trained")
    slow = "a moving average", "of the encoders"
    add("slow", "momentum encoders", *slow, each, column=1, row=2, kind="frozen")
    similarities = f"({batch}, {batch + queue})", "each way"
    within = "trained with trained", f"({batch}, {batch}) each way"
    add("within", "similarities", *within, column=2, row=0)
    add("similarity", "similarities", "trained with momentum", *similarities, column=2, row=1)
    rows = f"batch {batch}, then queue {queue}", f"({batch + queue}, {E}) each"
    add("queue", "momentum vectors", *rows, column=2, row=2)
    add("hard", "hard negatives", "drawn by similarity", column=3, row=0)
    add("targets", "soft targets", "momentum vectors", *similarities, column=3, row=2)
    add("itm", "ITM loss", f"3 x {batch} pairs", column=4, row=0, kind="loss")
    add("itc", "ITC loss", "cross-entropy", column=4, row=1, kind="loss")
    for source, target in (
        ("batch", "fast"),
        ("batch", "slow"),
        ("fast", "similarity"),
        ("fast", "within"),
        ("slow", "queue"),
        ("queue", "similarity"),
        ("queue", "targets"),
        ("similarity", "itc"),
        ("targets", "itc"),
        ("within", "hard"),
        ("hard", "itm"),
    ):
        diagram.arrow(source, target)
    diagram.arrow("fast", "slow", "weights, slowly")
    return diagram
