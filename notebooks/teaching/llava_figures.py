"""Lesson 14: its diagram, figures and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import nn

from teaching.frozen_figures import rendered, with_chance
from teaching.frozen_model import most_frequent
from teaching.frozen_tables import markdown, plain
from teaching.llava_talk import write
from vlmcourse import evaluation, plots, world
from vlmcourse.papers.llava import LLaVA
from vlmcourse.parts.language import width
from vlmcourse.plots import Diagram
from vlmcourse.plots.curves import Score
from vlmcourse.recipes import blip2, flamingo, frozen, llava
from vlmcourse.recipes.llava import DESCRIBE, KINDS, patches
from vlmcourse.training.scale import Scale

SAME = ("what", "colour", "category", "place", "purpose")
"""Kinds of questions that all three systems are asked; their answers are single words."""


def prefix(model: LLaVA) -> str:
    """What stands in a text for a picture: a placeholder for each patch, and a full stop."""
    return blip2.image_prefix(patches(model.vision))


def scenes(scale: Scale, count: int, things: tuple[int, int] = (1, 2)) -> list[world.Scene]:
    """Held-out scenes of so many things, others than those of the tests."""
    return llava.scenes(scale, 1, "test", things).scenes(range(count))


def at_work(model: LLaVA, shown: Sequence[world.Scene]):
    """Pictures with LLaVA's description and the kind of one of their things, marked as right or wrong."""
    rng = world.SeededRandom("at work")
    asked = [world.questions.category(scene, rng) for scene in shown]
    described = write(model, [(scene, DESCRIBE) for scene in shown])
    kinds = write(model, [(s, f"question : {q.text} answer :") for s, q in zip(shown, asked)])
    lines = []
    for scene, said, question, kind in zip(shown, described, asked, kinds):
        named = all(word in said.split() for word in scene.words)
        right = kind == question.answer
        marks = ["✓" if one else "✗" for one in (named, right)]
        lines.append(f"{marks[0]} {said}\n{marks[1]} {question.text} {kind}")
    return plots.pictures(rendered(shown, model.vision.image_size), lines)


def system(model: LLaVA, tokens: int) -> Diagram:
    """LLaVA with the shapes of our model, for one picture and a text of `tokens` tokens, one of them the placeholder."""
    P, C, D = patches(model.vision), model.vision.width, width(model.lm)
    size, layers = model.vision.image_size, model.lm.config.num_hidden_layers
    diagram = Diagram("LLaVA: every patch becomes a vector among the words")
    add = diagram.box
    add("pixels", "picture", f"pixels (1, 3, {size}, {size})", column=0, row=0, kind="data")
    add("ids", "dialogue", f"ids (1, {tokens})", column=0, row=1, kind="data")
    add("vision", "CLIP's image encoder", "without its last block", f"patches (1, {P}, {C})", column=1, row=0, kind="frozen")  # fmt: skip
    add("table", "word embeddings", f"(1, {tokens}, {D})", column=1, row=1, kind="frozen")
    add("projector", "projector", "two layers, GELU", f"(1, {P}, {D})", column=2, row=0, kind="trained")  # fmt: skip
    add("joined", "insert", "patches for the placeholder", f"(1, {tokens - 1 + P}, {D})", column=2, row=1)  # fmt: skip
    add("lm", "language model", f"{layers} layers", "trained in stage 2 only", column=3, row=1, kind="trained")  # fmt: skip
    add("loss", "loss", "on answers only", column=4, row=1, kind="loss")
    for source, target in (
        ("pixels", "vision"),
        ("ids", "table"),
        ("vision", "projector"),
        ("projector", "joined"),
        ("table", "joined"),
        ("joined", "lm"),
        ("lm", "loss"),
    ):
        diagram.arrow(source, target)
    diagram.arrow("loss", "lm", gradient=True)
    diagram.arrow("lm", "projector", gradient=True)
    return diagram


def parameters(model: LLaVA) -> str:
    """How many there are in each part, in millions, in words."""
    parts = {
        "image encoder": model.vision,
        "projector": model.projector,
        "language model": model.lm,
        "together": model,
    }
    millions = {n: sum(p.numel() for p in part.parameters()) / 1e6 for n, part in parts.items()}
    return ", ".join(f"{name} {number:.2f} million" for name, number in millions.items())


def share_bars(groups: Mapping[str, Mapping[str, Score]], chance: Mapping[str, float]):
    """Bars of right answers {group: {name: share}}, each with a mark at its group's chance: always the most frequent answer."""
    label, levels = "chance: always the\nmost frequent answer", set(chance.values())
    if len(levels) == 1:
        label, names = f"{label} ({levels.pop():.2f})", {group: group for group in groups}
    else:
        names = {group: f"{group}\n(chance {chance[group]:.2f})" for group in groups}
    named = {names[group]: bars for group, bars in groups.items()}
    drawn = plots.bars(named, "right answers (share)", sideways=True, highest=1, form=".2f")
    marks = {names[group]: dict.fromkeys(bars, chance[group]) for group, bars in groups.items()}
    return with_chance(drawn, marks, label)


def views_figure(views: Mapping[str, Mapping[str, float]], chance: Mapping[str, float]):
    """Bars of right answers by kind, of {view: {kind: share}}. chance: by kind"""
    groups = {kind: {view: scores[kind] for view, scores in views.items()} for kind in chance}
    return share_bars(groups, chance)


def tiles_figure(scene: world.Scene, tile: int):
    """A picture of twice a tile's side (pixels), its four tiles, and the overview, all as the image encoder gets them."""
    whole, overview = world.render(scene, 2 * tile), world.render(scene, tile)
    halves = (slice(None, tile), slice(tile, None))
    parts = [whole[rows, columns] for rows in halves for columns in halves]
    names = [f"tile {n}" for n in range(1, 5)]
    images = np.stack([*parts, overview])
    return plots.pictures(images, [*names, "overview"], columns=5)


def results() -> dict:
    """benchmarks/results/replicate_llava.json."""
    return evaluation.load_results("replicate_llava")


def measured(row: str, *path: str) -> evaluation.Spread:
    return evaluation.spread_over_seeds(results()["rows"], row, *path)


def looking_figure():
    """Right answers by kind, with the picture and with another question's, over seeds."""
    groups = {
        kind: {view: measured("LLaVA", view, kind) for view in ("with the picture", "pictures exchanged")}
        for kind in (*KINDS, "mean")
    }  # fmt: skip
    return share_bars(groups, chance_by_kind())


def chance_by_kind() -> dict[str, float]:
    """Always the most frequent answer to the questions of `results`, by kind, and the mean of the kinds."""
    scale, count = Scale.of(results()["scale"]), results()["count"]
    found = {kind: most_frequent(llava.held_out_questions(kind, scale, count)) for kind in KINDS}
    return found | {"mean": sum(found.values()) / len(found)}


def yes(first: evaluation.Spread, second: evaluation.Spread) -> str:
    """'yes' if the first is better by the course's rule, else 'no'."""
    return "yes" if evaluation.verdict(first.values, second.values) == "agrees" else "no"


def kinds_sentence() -> str:
    """For which kinds of questions the right picture makes answers better, by the course's rule."""
    views = ("with the picture", "pictures exchanged")
    found = {kind: yes(*(measured("LLaVA", view, kind) for view in views)) for kind in KINDS}
    better, others = ([kind for kind in KINDS if found[kind] == said] for said in ("yes", "no"))
    return (
        "Better with the right picture, by the rule: "
        f"**{', '.join(better) or 'none'}**. Not clearly better: **{', '.join(others) or 'none'}**."
    )


def stages_table() -> str:
    """What each stage is worth: answers, and what the language model still knows without pictures."""
    rows = [
        [
            row,
            plain(measured(row, "with the picture", "mean")),
            plain(measured(row, "pictures exchanged", "mean")),
            plain(measured(row, "with the picture", "how many")),
            plain(measured(row, "texts", "facts")),
            plain(measured(row, "texts", "binding")),
        ]
        for row in ("LLaVA", "alignment only", "tuning only")
    ]
    chance = {name: measured("LLaVA", "texts", f"{name}, chance").mean for name in ("facts", "binding")}  # fmt: skip
    head = (
        "mean ± sd, three seeds",
        "right answers",
        "pictures exchanged",
        "right answers to how many",
        f"facts, in words (chance {chance['facts']:.2f})",
        f"new names, in words (chance {chance['binding']:.2f})",
    )
    return markdown(head, rows)


def same_questions(
    models: Mapping[str, nn.Module], scale: Scale, count: int
) -> dict[str, dict[str, float]]:
    """{kind: {system, or "chance": share of right answers}} of questions about single held-out things; the likeliest choice counts.

    models  {"LLaVA": ..., "BLIP-2": ..., "Flamingo": ...}
    """
    found: dict[str, dict[str, float]] = {}
    chat, bridge, pages = (models[name] for name in ("LLaVA", "BLIP-2", "Flamingo"))
    queries, size = blip2.image_prefix(bridge.qformer.config.queries), scale.image_size
    for kind in SAME:
        asked = llava.held_out_questions(kind, scale, count, frozen.ONE_THING)
        found[kind] = {
            "LLaVA": frozen.episode_accuracy(chat, asked, image_prefix=prefix(chat), size=size),
            "BLIP-2": frozen.episode_accuracy(bridge, asked, image_prefix=queries, size=size),
            "Flamingo": flamingo.episode_accuracy(pages, asked, size),
            "chance": most_frequent(asked),
        }
    return found


def same_figure(found: Mapping[str, Mapping[str, float]]):
    """Bars of `same_questions`."""
    chance = {kind: scores["chance"] for kind, scores in found.items()}
    systems = {
        kind: {name: share for name, share in scores.items() if name != "chance"}
        for kind, scores in found.items()
    }
    return share_bars(systems, chance)


def counting_sentence() -> str:
    """How many, with and without feature alignment, and the verdict on it."""
    without, full = (measured(row, "with the picture", "how many") for row in ("tuning only", "LLaVA"))  # fmt: skip
    return (
        f"*How many*: {plain(without)} right without feature alignment, {plain(full)} with it. "
        f"Better without, by the rule: **{yes(without, full)}**."
    )


CLAIMS = (
    ("instruction tuning improves answers", "85.1 against 21.5 (Table 4)", "alignment only"),
    (
        "feature alignment before it improves answers",
        "90.92 against 85.81 (Table 8)",
        "tuning only",
    ),
)
"""What the paper says, its numbers, and our row without this stage."""


def claims_table() -> str:
    """The paper's claims beside our measurements, with a verdict by the course's rule."""
    full = measured("LLaVA", "with the picture", "mean")
    rows = []
    for claim, published, without in CLAIMS:
        less = measured(without, "with the picture", "mean")
        said = f"**{evaluation.verdict(full.values, less.values)}**"
        rows.append([claim, published, f"{plain(full)} against {plain(less)}", said])
    return markdown(("claim of the paper", "paper", "ours: mean ± sd, 3 seeds", "verdict"), rows)


def control_table() -> str:
    """Our own control: are answers better with the right picture?"""
    seen, other = (measured("LLaVA", view, "mean") for view in ("with the picture", "pictures exchanged"))  # fmt: skip
    return markdown(
        ("mean over kinds", "with the picture", "pictures exchanged", "better by the rule"),
        [["right answers", plain(seen), plain(other), f"**{yes(seen, other)}**"]],
    )  # fmt: skip
