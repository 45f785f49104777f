"""Lesson 03's figures and words on scaling: accuracy over the compute of the image tower, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from teaching.clip_analysis_tables import CHANCE, rows_of, short
from vlmcourse import plots
from vlmcourse.evaluation import Spread, spread, spread_over_seeds


def scaling_points(rows: Sequence[Mapping], measurement: str) -> dict[str, dict[float, Spread]]:
    """{family: {MFLOPs an image: spread over seeds}} of one measurement."""
    row = next(row for row in rows if row["row"] == "scaling")
    points: dict[str, dict[float, Spread]] = {}
    for name, found in row.items():
        if isinstance(found, Mapping):
            score = spread_over_seeds(rows, "scaling", name, measurement)
            points.setdefault(name.split()[0], {})[found["MFLOPs an image"]] = score
    return points


def scaling_figure(rows: Sequence[Mapping], measurement: str):
    """Accuracy by one measurement over the compute of the image tower, for both families: means and single seeds."""
    points = scaling_points(rows, measurement)
    drawn = plots.curves(
        {family: {x: score.mean for x, score in sizes.items()} for family, sizes in points.items()},
        "forward pass of the image tower (MFLOPs per image, log scale)",
        f"{measurement} accuracy on 57 nouns",
        chance=CHANCE,
        xlog=True,
    )
    draw_seeds(drawn.axes[0], points)
    seeds = "; ".join(
        f"{family} at {x:.3g}: {', '.join(f'{value:.2f}' for value in score.values)}"
        for family, sizes in points.items()
        for x, score in sizes.items()
    )
    drawn.description += f" Single seeds: {seeds}."
    return drawn


def draw_seeds(axes, points: Mapping[str, Mapping[float, Spread]]) -> None:
    """Each seed of each family as small dots joined by a thin line, in the colour and dashes of the family's mean."""
    for line, sizes in zip(axes.lines[: len(points)], points.values()):
        for values in zip(*(score.values for score in sizes.values())):
            axes.plot(
                list(sizes),
                values,
                color=line.get_color(),
                linestyle=line.get_linestyle(),
                linewidth=0.8,
                marker=line.get_marker(),
                markersize=3.5,
                alpha=0.6,
            )
    axes.set_ylim(-0.03, 1)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def not_learned(rows: Sequence[Mapping], measurement: str, factor: float = 2) -> list[str]:
    """The runs whose score is below `factor` times chance: "seed 2 of the larger ResNet"."""
    return [
        f"seed {row['seed']} of the {size} {family}"
        for row, *scores in zip(
            rows_of(rows, "scaling"),
            *(
                [(family, size, value) for value in score.values]
                for family, points in scaling_points(rows, measurement).items()
                for size, score in zip(("smaller", "larger"), points.values())
            ),
        )
        for family, size, value in scores
        if value < factor * CHANCE
    ]


def at_equal_compute(rows: Sequence[Mapping], measurement: str) -> tuple[Spread, Spread]:
    """The smaller ViT, and ResNets at its compute: linear in log compute between the two ResNets."""
    points = scaling_points(rows, measurement)
    wanted, vit = next(iter(points["ViT"].items()))
    (low, below), (high, above) = points["ResNet"].items()
    share = (math.log(wanted) - math.log(low)) / (math.log(high) - math.log(low))
    return vit, spread([a + share * (b - a) for a, b in zip(below.values, above.values)])


def scaling_words(rows: Sequence[Mapping]) -> str:
    """Figures 6 and 7 in numbers: both families at equal compute, and the gain of the larger model of each."""
    parts = []
    for measurement in ("linear probe", "zero-shot"):
        vit, resnet = at_equal_compute(rows, measurement)
        gains = []
        for family, points in scaling_points(rows, measurement).items():
            small, large = points.values()
            gains.append(f"{family} {small.mean:.2f} to {large.mean:.2f}")
        parts.append(
            f"**{measurement.capitalize()}**: at the compute of the smaller ViT, the ViT reaches {short(vit)}, a "
            f"ResNet (interpolated) {short(resnet)}; from the smaller to the larger tower {', '.join(gains)}."
        )
    failed = " and ".join(not_learned(rows, "linear probe"))
    return (
        f"{' '.join(parts)} One run did not learn at all: {failed} stayed below twice chance, and pulls down the mean "
        "of its family. Yet it stays in: nothing was chosen after the fact."
    )
