"""Lesson 11: tables: who learns, the three sizes of the paper beside ours, its claims on architecture beside our runs."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from teaching.flamingo_measures import parameter_counts
from teaching.flamingo_model import BuiltFlamingo
from teaching.frozen_tables import markdown
from vlmcourse.evaluation.directions import Direction, directions
from vlmcourse.evaluation.published import published
from vlmcourse.papers.flamingo import Flamingo
from vlmcourse.parts.language import decoder_layers, width

ARCHITECTURE = range(50, 57)
"""Numbers of the lecture's directions that are about the architecture: gates, blocks, their frequency, the resampler."""


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
    head = ["model", "language model", "its layers x width", "blocks stand before"]
    head += ["blocks (paper)", "before layers ... (count by this rule)", "parameters of blocks"]
    return markdown([*head, "of the resampler"], rows)


def architecture() -> list[Direction]:
    """The lecture's directions about the architecture, with our measurements."""
    return [one for one in directions() if one.number in ARCHITECTURE]


def claims() -> str:
    """The paper's ablations of its architecture beside ours, as Markdown."""
    rows = []
    for one in architecture():
        remark = one.note if one.verdict == "agrees" else one.reason
        rows.append([one.claim, one.published, one.ours(), f"**{one.verdict}**", remark or "–"])
    head = ["claim", "the paper: whole, changed", "ours: mean ± standard deviation", "verdict"]
    return markdown([*head, "remark"], rows)


def about_claims() -> str:
    """How many claims have which verdict, in words."""
    verdicts = [one.verdict for one in architecture()]
    counted = ", ".join(f"{verdicts.count(name)} {name}" for name in dict.fromkeys(verdicts))
    return f"Of these {len(verdicts)} claims: {counted}."


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
