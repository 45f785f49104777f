"""Lesson 09: diagrams of CapFilt and of BLIP's downstream models."""

from __future__ import annotations

from vlmcourse.papers.blip import BLIP
from vlmcourse.plots import Diagram


def loop() -> Diagram:
    """BLIP's Figure 3: from noisy pairs to a new model."""
    diagram = Diagram("CapFilt: a model cleans the pairs that the next model learns from")
    add = diagram.box
    add("web", "web pairs", "picture, caption", "many are wrong", column=0, row=0, kind="data")
    trusted = "picture, caption", "written by people"
    add("annotated", "annotated pairs", *trusted, column=0, row=3, kind="data")
    add("base", "first model", "ITC + ITM + LM", "from scratch", column=1, row=2, kind="trained")
    add("captioner", "captioner", "tuned: LM", column=2, row=1, kind="trained")
    add("filter", "filter", "tuned: ITC + ITM", column=2, row=2, kind="trained")
    made = "the captioner writes one", "for each web picture"
    add("synthetic", "synthetic captions", *made, column=3, row=1, kind="data")
    both = "each caption:", "match above threshold?"
    add("judge", "keep or throw out", *both, column=4, row=0)
    rest = "web and synthetic,", "where kept;", "annotated, all"
    add("cleaned", "cleaned pairs", *rest, column=5, row=0, kind="data")
    add("new", "new model", "ITC + ITM + LM", "from scratch", column=6, row=0, kind="trained")
    for source, target in (
        ("web", "base"),
        ("annotated", "base"),
        ("base", "captioner"),
        ("base", "filter"),
        ("annotated", "captioner"),
        ("annotated", "filter"),
        ("web", "synthetic"),
        ("captioner", "synthetic"),
        ("web", "judge"),
        ("synthetic", "judge"),
        ("filter", "judge"),
        ("judge", "cleaned"),
        ("annotated", "cleaned"),
        ("cleaned", "new"),
    ):
        diagram.arrow(source, target)
    return diagram


def tasks(model: BLIP) -> Diagram:
    """BLIP's Figure 5: how its parts are rearranged for questions, two pictures and dialogues."""
    c = model.config
    P, D = 1 + (c.image_size // c.patch) ** 2, c.text_width
    diagram = Diagram("BLIP's downstream models: the same blocks, rearranged")
    add, trained = diagram.box, {"kind": "trained"}
    states = f"states (B, {P}, {c.vision_width})"
    rows = {
        "vqa": (0, "question", f"states (B, T, {D})"),
        "nlvr": (2, "statement", f"first state (B, {D})"),
        "talk": (4, "dialogue, question, candidate", f"first state (B, {D})"),
    }
    context, text = "cross-attention", "input"
    for task, (row, words, gives) in rows.items():
        pictures = ("left picture", "right picture") if task == "nlvr" else ("picture",)
        add(f"{task} enc", "encoder [ENC]", gives, column=2, row=row + 0.6, **trained)
        for number, name in enumerate(pictures):
            place = {"row": row + 0.6 * number}
            add(f"{task} {name}", name, column=0, kind="data", **place)
            encoder = f"{task} vit {number}"
            add(encoder, "image encoder", states, column=1, kind="frozen", **place)
            diagram.arrow(f"{task} {name}", encoder)
            diagram.arrow(encoder, f"{task} enc", context)
        add(f"{task} text", words, "ids (B, T)", column=1, row=row + 1.2, kind="data")
        diagram.arrow(f"{task} text", f"{task} enc", text)
    add("talk caption", "caption", "ids (B, T)", column=0, row=4.6, kind="data")
    add("talk cls", "encoder [CLS]", f"states (B, T, {D})", column=1, row=4.6, **trained)
    diagram.arrow("talk caption", "talk cls")
    diagram.arrow("talk cls", "talk enc", context)
    add("vqa answer", "answer", "ids (B, A)", column=2, row=1.2, kind="data")
    add("vqa dec", "decoder [DEC]", "logits (B, A, V)", column=3, row=0.6, **trained)
    diagram.arrow("vqa enc", "vqa dec", context)
    diagram.arrow("vqa answer", "vqa dec", text)
    add("vqa out", "LM loss", "the answer's words", column=4, row=0.6, kind="loss")
    add("nlvr head", "two linear layers", "(B, 2)", column=3, row=2.6, **trained)
    add("nlvr out", "cross-entropy", "true or false", column=4, row=2.6, kind="loss")
    add("talk head", "ITM head", "(B, 2)", column=3, row=4.6, **trained)
    add("talk out", "cross-entropy", "right answer or wrong", column=4, row=4.6, kind="loss")
    diagram.arrow("nlvr enc", "nlvr head")
    diagram.arrow("talk enc", "talk head")
    for task, last in (("vqa", "dec"), ("nlvr", "head"), ("talk", "head")):
        diagram.arrow(f"{task} {last}", f"{task} out")
    return diagram
