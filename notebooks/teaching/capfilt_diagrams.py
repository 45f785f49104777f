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
    add("annotated", "annotated pairs", *trusted, column=0, row=2, kind="data")
    add("base", "first model", "ITC + ITM + LM", "from scratch", column=1, row=1, kind="trained")
    add("captioner", "captioner", "tuned: LM", column=2, row=0, kind="trained")
    add("filter", "filter", "tuned: ITC + ITM", column=2, row=1.5, kind="trained")
    made = "one for each", "web picture"
    add("synthetic", "synthetic captions", *made, column=3, row=0, kind="data")
    both = "web and synthetic:", "match above threshold?"
    add("judge", "keep or throw out", *both, column=4, row=1)
    rest = "web and synthetic,", "where kept;", "annotated, all"
    add("cleaned", "cleaned pairs", *rest, column=5, row=1, kind="data")
    add("new", "new model", "ITC + ITM + LM", "from scratch", column=6, row=1, kind="trained")
    for source, target in (
        ("web", "base"),
        ("annotated", "base"),
        ("base", "captioner"),
        ("base", "filter"),
        ("annotated", "filter"),
        ("captioner", "synthetic"),
        ("synthetic", "judge"),
        ("filter", "judge"),
        ("judge", "cleaned"),
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
        "vqa": (0, ("question",), "reads the picture", f"states (B, T, {D})"),
        "nlvr": (2, ("statement",), "reads both pictures", f"first state (B, {D})"),
        "talk": (4, ("dialogue and answer",), "reads picture, caption", f"first state (B, {D})"),
    }
    for task, (row, texts, reads, gives) in rows.items():
        pictures = ("left picture", "right picture") if task == "nlvr" else ("picture",)
        for number, name in enumerate(pictures):
            add(f"{task} {name}", name, column=0, row=row + 0.6 * number, kind="data")
            encoder = f"{task} vit {number}"
            add(encoder, "image encoder", states, column=1, row=row + 0.6 * number, **trained)
            diagram.arrow(f"{task} {name}", encoder)
        for text in texts:
            add(f"{task} {text}", text, "ids (B, T)", column=1, row=row + 1.2, kind="data")
        add(f"{task} enc", "encoder [ENC]", reads, gives, column=2, row=row + 0.6, **trained)
        for number in range(len(pictures)):
            diagram.arrow(f"{task} vit {number}", f"{task} enc")
        diagram.arrow(f"{task} {texts[0]}", f"{task} enc")
    add("talk caption", "caption, [CLS]", f"states (B, T', {D})", column=0, row=4.6, **trained)
    diagram.arrow("talk caption", "talk enc")
    add("vqa dec", "decoder [DEC]", "reads the question", column=3, row=0.6, **trained)
    add("vqa out", "LM loss", "the answer's words", column=4, row=0.6, kind="loss")
    add("nlvr head", "two linear layers", "(B, 2)", column=3, row=2.6, **trained)
    add("nlvr out", "cross-entropy", "true or false", column=4, row=2.6, kind="loss")
    add("talk head", "ITM head", "(B, 2)", column=3, row=4.6, **trained)
    add("talk out", "cross-entropy", "right answer or wrong", column=4, row=4.6, kind="loss")
    for task, middle in (("vqa", "dec"), ("nlvr", "head"), ("talk", "head")):
        diagram.arrow(f"{task} enc", f"{task} {middle}")
        diagram.arrow(f"{task} {middle}", f"{task} out")
    return diagram
