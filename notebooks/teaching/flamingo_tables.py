"""Lesson 11: tables: who learns, the three sizes of the paper beside ours, its claims on architecture beside our runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from teaching.flamingo_measures import parameter_counts, shown_in_squares
from teaching.flamingo_model import BuiltFlamingo
from teaching.frozen_tables import markdown
from vlmcourse import world
from vlmcourse.evaluation import load_results, spread
from vlmcourse.evaluation.directions import Direction, directions
from vlmcourse.evaluation.published import published
from vlmcourse.papers.flamingo import Flamingo
from vlmcourse.parts.language import decoder_layers, width

ARCHITECTURE = range(50, 57)
"""Numbers of the lecture's directions that are about the architecture: gates, blocks, their frequency, the resampler."""
EARLIER = re.compile(
    r"\W*measured with an earlier language model than the one that ships\W*$", re.I
)
"""What remarks on such rows end with."""
VERDICTS_IN_WORDS = {
    "agrees": ("agrees", "agree"),
    "disagrees": ("disagrees", "disagree"),
    "within noise": ("is within noise", "are within noise"),
    "not measured": ("isn't measured", "aren't measured"),
}
"""After one, and after a greater number."""
PLACES = {
    "one, before layer 1": "first layer only",
    "one, before layer 2": "single in the middle (every 2nd)",
    "one, before layer 3": "every 3rd (paper: every 4th)",
    "three, before each layer": "Flamingo",
}
"""Rows of replicate_flamingo.json that differ in where gated blocks stand."""


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def who_learns(model: BuiltFlamingo, vision: nn.Module) -> str:
    """Trained and frozen parameters of each part, as Markdown."""
    counts = parameter_counts(model, vision)
    rows = [[name, f"{learn:,}", f"{stay:,}"] for name, (learn, stay) in counts.items()]
    sums = [sum(both[which] for both in counts.values()) for which in (0, 1)]
    rows.append(["**all**", *(f"**{number:,}**" for number in sums)])
    return markdown(["part", "trained", "frozen"], rows)


def positions(depth: int, every: int) -> list[int]:
    """Numbers, from 1, of the layers that have a block before them."""
    return list(range(1, depth + 1, every))


def stands(depth: int, every: int) -> str:
    """These numbers in words: all, or the first two and the last."""
    where = positions(depth, every)
    return "all" if every == 1 else f"{where[0]}, {where[1]}, ..., {where[-1]}"


def design(model: Flamingo) -> str:
    """The paper's three sizes, and ours, as Markdown."""
    layers, counts = published("flamingo-table-4"), published("flamingo-table-5")
    intervals = {"every layer": 1, "every 4th": 4, "every 7th": 7}
    rows = []
    for name in ("Flamingo-3B", "Flamingo-9B", "Flamingo (80B)"):
        depth, every = layers.value(name, "LM: L"), intervals[counts.value(name, "stand before")]
        rows.append(
            [
                name,
                counts.value(name, "language model"),
                f"{depth} x {layers.value(name, 'LM: D')}",
                counts.value(name, "stand before"),
                f"{layers.value(name, 'blocks: L')}",
                f"{stands(depth, every)} ({len(positions(depth, every))})",
                counts.value(name, "blocks"),
                counts.value(name, "resampler"),
            ]
        )
    c, depth = model.config, len(decoder_layers(model.lm))
    ours = ["**ours**", f"{size(model.lm):,}", f"{depth} x {width(model.lm)}", "every layer"]
    ours += [f"{len(model.blocks)}", f"{stands(depth, c.cross_attention_every)} ({depth})"]
    rows.append([*ours, f"{size(model.blocks):,}", f"{size(model.resampler):,}"])
    head = ["model", "language model", "its layers x width", "a block stands before"]
    head += ["number of blocks (paper)", "before layers (number) by exercise 8"]
    return markdown([*head, "parameters of blocks", "of the resampler"], rows)


def architecture() -> list[Direction]:
    """The lecture's directions about the architecture, with our measurements."""
    return [one for one in directions() if one.number in ARCHITECTURE]


def claims() -> str:
    """The paper's ablations of its architecture beside ours, as Markdown; a dagger marks rows with an earlier language model."""
    rows = []
    for one in architecture():
        remark, earlier = EARLIER.subn("", one.note if one.verdict == "agrees" else one.reason)
        ours = one.ours() + " †" * earlier
        rows.append([one.claim, one.published, ours, f"**{one.verdict}**", remark or "–"])
    head = ["claim", "the paper: whole, changed", "ours: mean ± standard deviation", "verdict"]
    return markdown([*head, "remark"], rows)


def about_claims() -> str:
    """How many claims have which verdict, in words, and what the dagger means."""
    verdicts = [one.verdict for one in architecture()]
    counted = (
        f"{number} {VERDICTS_IN_WORDS[name][number > 1]}"
        for name in dict.fromkeys(verdicts)
        if (number := verdicts.count(name))
    )
    marked = sum(bool(EARLIER.search(one.note + one.reason)) for one in architecture())
    dagger = (
        " †: measured with an earlier language model than the one that ships." if marked else ""
    )
    return f"Of the {len(verdicts)} claims in the next table {', '.join(counted)}.{dagger}"


def places() -> str:
    """The overall score with a single gated block, by the layer that it stands before, as Markdown."""
    measured = load_results("replicate_flamingo")["rows"]
    rows = []
    for place, row in PLACES.items():
        found = spread([one["overall"] for one in measured if one["row"] == row])
        rows.append([place, f"{found.mean:.3f} ± {found.std:.3f}", str(len(found.values))])
    return markdown(["gated blocks", "overall score", "seeds"], rows)


def about_maps(
    scenes: Sequence[world.Scene], found: Sequence[Mapping[str, Tensor]], size: int
) -> str:
    """Where each map is largest, whether the thing is there, and the largest fall beside the thing, as Markdown."""
    rows = []
    for scene, maps in zip(scenes, found):
        word, cells = scene.things[0].word, []
        for values, form in ((maps["attention"], ".0%"), (maps["occlusion"], ".1f")):
            side = int(len(values) ** 0.5)
            shown = shown_in_squares(scene, size, side)
            row, column = divmod(int(values.argmax()), side)
            where = f"a part of the {word}" if shown[values.argmax()] else "empty"
            cells.append(f"{values.max():{form}}: row {row + 1}, column {column + 1} ({where})")
        rows.append([word, *cells, f"{maps['occlusion'][~shown].max():.1f}"])
    head = [
        "picture",
        "most attention",
        "largest fall in nats",
        "largest fall, empty squares alone",
    ]
    return markdown(head, rows)


def controls(found: Mapping[str, str]) -> str:
    """Our own controls of this lesson, as Markdown. found: {what was tested: what was found}"""
    return markdown(["control", "found here"], [[name, value] for name, value in found.items()])


def step_times() -> str:
    """The paper's step times of the architecture's ablations (Table 3), as Markdown."""
    table = published("flamingo-table-3")
    rows = []
    for cells in table.rows:
        of = dict(zip(table.columns, cells))
        if of["changed to"] is None or of["setting"].startswith(("(iv)", "(v)", "(vi)")):
            name = (
                of["setting"]
                if of["changed to"] is None
                else f"{of['setting']}: {of['changed to']}"
            )
            rows.append([name, of["parameters"], f"{of['step time in s']:.2f}", f"{of['overall']}"])
    head = ["Flamingo-3B", "parameters", "step time in s", "overall score"]
    return f"{markdown(head, rows)}\n\nFlamingo, Table 3 (arXiv 2204.14198)."
