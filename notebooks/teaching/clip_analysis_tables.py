"""Lesson 03's figures and tables of measured rows (benchmarks/replicate_clip_studies.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vlmcourse import plots, world
from vlmcourse.evaluation import Spread, spread, spread_over_seeds
from vlmcourse.recipes.clip_studies import NOUNS, VARIED

UNSEEN = tuple(style for style in world.STYLES if style not in VARIED)
"""Styles that no training picture has."""
CHANCE = 1 / len(NOUNS)


def difference(rows: Sequence[Mapping], study: str, first: Sequence, second: Sequence) -> Spread:
    """Spread over seeds of one measurement minus another."""
    pairs = [spread_over_seeds(rows, study, *path).values for path in (first, second)]
    return spread([a - b for a, b in zip(*pairs)])


def data_set_names(rows: Sequence[Mapping]) -> list[str]:
    """The data sets that were measured."""
    row = next(row for row in rows if row["row"] == "data sets")
    return [name for name, found in row.items() if isinstance(found, Mapping)]


def data_set_figure(rows: Sequence[Mapping]):
    """Zero-shot CLIP minus a probe on the supervised classifier's features, in points, best first."""
    gains = {
        name: difference(rows, "data sets", (name, "zero-shot"), (name, "probe on supervised"))
        for name in data_set_names(rows)
    }
    order = sorted(gains, key=lambda name: -gains[name].mean)
    return with_values(
        plots.bars(
            {name: {"difference": _in_points(gains[name])} for name in order},
            "zero-shot CLIP minus probe (percentage points)",
            sideways=True,
        )
    )


def _in_points(found: Spread) -> Spread:
    return spread([100 * value for value in found.values])


def shots_of(rows: Sequence[Mapping], tower: str) -> list[int]:
    """Numbers of shots that every seed has."""
    measured = [set(row[tower]) - {"all"} for row in rows_of(rows, "shots")]
    return sorted(map(int, set.intersection(*measured)))


def shots_figure(rows: Sequence[Mapping]):
    """k-shot probes on the features of three towers, beside zero-shot CLIP."""
    names = {
        "CLIP": "probe on CLIP",
        "supervised": "probe on the supervised classifier",
        "untrained": "probe on an untrained tower",
    }
    curves = {
        name: {k: spread_over_seeds(rows, "shots", who, str(k)) for k in shots_of(rows, who)}
        for who, name in names.items()
    }
    return plots.curves(
        curves,
        "labelled pictures per class",
        "accuracy on 57 nouns",
        chance=CHANCE,
        xlog=True,
        lines={"zero-shot CLIP": spread_over_seeds(rows, "shots", "zero-shot").mean},
    )


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
    """One measurement over the compute of the image tower, for both families."""
    return plots.curves(
        scaling_points(rows, measurement),
        "forward pass of the image tower (MFLOPs per image, log scale)",
        measurement,
        xlog=True,
    )


def class_list_figure(rows: Sequence[Mapping]):
    """Alarm rates over the number of classes added."""
    names = [key for key in rows_of(rows, "class list")[0] if key.endswith("classes added")]
    added = sorted({int(name.split()[-3]) for name in names})
    return with_values(
        plots.bars(
            {
                str(number): {
                    "clothing called an animal": spread_over_seeds(
                        rows, "class list", f"{number} classes added"
                    ),
                    "animals called an animal": spread_over_seeds(
                        rows, "class list", f"right, {number} classes added"
                    ),
                }
                for number in added
            },
            "share of pictures",
        )
    )


def rows_of(rows: Sequence[Mapping], study: str) -> list[Mapping]:
    """The rows of one study, one for each seed."""
    return [row for row in rows if row["row"] == study]


def seeds(rows: Sequence[Mapping], study: str) -> str:
    """How many seeds of a study were measured, in words."""
    count = len(rows_of(rows, study))
    return "1 seed" if count == 1 else f"{count} seeds"


MODELS = ("captions, one style", "captions, varied", "labels, one style", "labels, varied")
STYLE_GROUPS = {
    "as trained": ("as trained",),
    "styles in the varied pictures": VARIED[1:],
    "styles in no picture": UNSEEN,
}


def shift_scores(rows: Sequence[Mapping], name: str, styles: tuple[str, ...]) -> Spread:
    """Mean accuracy over some styles of one of MODELS."""
    return spread_over_seeds(rows, "shift", name, styles)


def shift_figure(rows: Sequence[Mapping]):
    """Accuracy of the four models as trained, in styles of the varied pictures, and in styles of neither."""
    return with_values(
        plots.bars(
            {
                name: {model: shift_scores(rows, model, styles) for model in MODELS}
                for name, styles in STYLE_GROUPS.items()
            },
            "accuracy on 57 nouns",
            chance=CHANCE,
        )
    )


def with_values(drawn):
    """The same bars with their values written on them."""
    axes = drawn.axes[0]
    for bars in axes.containers:
        if hasattr(bars, "datavalues"):
            largest = max(abs(value) for value in bars.datavalues)
            form = "%.2f" if largest < 2 else "%.1f"
            axes.bar_label(bars, fmt=form, fontsize=8, padding=3)
    axes.margins(x=0.1) if bars.orientation == "horizontal" else axes.margins(y=0.12)
    return drawn


def prompt_figure(prompts: Mapping[str, Mapping]):
    """Zero-shot accuracy by the wording of the prompt; prompts: {wording: {"values": [...]}}."""
    chance = 1 / len(world.known_nouns())
    return with_values(
        plots.bars(
            {name: {"accuracy": spread(found["values"])} for name, found in prompts.items()},
            "zero-shot accuracy",
            chance=chance,
            sideways=True,
        )
    )


def markdown(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(
        f"| {' | '.join(line)} |" for line in (columns, ["---"] * len(columns), *lines)
    )


def short(found: Spread, form: str = ".2f") -> str:
    """Mean ± standard deviation; the value alone of a single seed."""
    if len(found.values) == 1:
        return f"{found.mean:{form}}"
    return f"{found.mean:{form}} ± {found.std:{form}}"


def data_set_table(rows: Sequence[Mapping]) -> str:
    """Accuracy on each data set: chance, zero-shot, and probes on two towers."""
    scores = ("zero-shot", "probe on supervised", "probe on CLIP")
    return markdown(
        [
            "data set",
            "chance",
            "zero-shot CLIP",
            "probe on the supervised classifier",
            "probe on CLIP",
        ],
        [
            [
                name,
                f"{spread_over_seeds(rows, 'data sets', name, 'chance').mean:.2f}",
                *(short(spread_over_seeds(rows, "data sets", name, score)) for score in scores),
            ]
            for name in data_set_names(rows)
        ],
    )


def by_style(rows: Sequence[Mapping], model: str) -> dict[str, float]:
    """Mean accuracy over seeds in each style of one of MODELS."""
    return {style: spread_over_seeds(rows, "shift", model, style).mean for style in world.STYLES}


def gap_table(rows: Sequence[Mapping], gap_closed: Callable[..., float]) -> str:
    """Of each model: accuracy as trained, the share of it kept under shift, and how much of the gap it closes."""
    reference = by_style(rows, "labels, one style")
    lines = []
    for name in MODELS:
        scores = by_style(rows, name)
        source = scores["as trained"]
        kept = [
            sum(scores[style] for style in styles) / len(styles) / source
            for styles in (VARIED[1:], UNSEEN)
        ]
        closed = f"{gap_closed(scores, reference, 'as trained'):.0%}"
        lines.append([name, f"{source:.2f}", *(f"{share:.0%}" for share in kept), closed])
    return markdown(
        [
            "model",
            "as trained",
            "kept: grey, noise, sketch",
            "kept: rotated, inverted",
            "gap closed",
        ],
        lines,
    )
