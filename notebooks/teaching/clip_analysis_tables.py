"""Lesson 03's figures and tables of measured rows (benchmarks/replicate_clip_studies.py)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from vlmcourse import plots, world
from vlmcourse.evaluation import Spread, spread, spread_over_seeds
from vlmcourse.recipes.clip_studies import NOUNS

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
    return plots.bars(
        {name: {"difference": _in_points(gains[name])} for name in order},
        "zero-shot CLIP minus probe on the supervised classifier\n(percentage points)",
        sideways=True,
        form=".0f",
    )


NAMED = ("animals", "fruit and food", "vehicles", "clothing", "plants and buildings", "household")
"""Data sets whose classes are nouns, which all captions name."""


def data_set_words(rows: Sequence[Mapping]) -> str:
    """Figure 3 and its table in numbers: mean gains of zero-shot over the probe, and what CLIP's own features hold."""
    gain = {
        name: 100 * difference(rows, "data sets", (name, "zero-shot"), (name, "probe on supervised")).mean
        for name in data_set_names(rows)
    }  # fmt: skip
    worst, best = (choose(NAMED, key=gain.__getitem__) for choose in (min, max))
    unnamed = [name for name in gain if name not in (*NAMED, "backgrounds")]
    above = {
        name: _in_points(difference(rows, "data sets", (name, "zero-shot"), (name, "chance")))
        for name in unnamed
    }
    furthest = math.ceil(max(abs(found.mean) for found in above.values()))
    widest = max(above, key=lambda name: max(map(abs, above[name].values)))
    whose = ("zero-shot", "probe on CLIP", "probe on untrained", "chance")
    counted, placed, background = (
        {who: spread_over_seeds(rows, "data sets", name, who).mean for who in whose}
        for name in ("counting", "place in the picture", "backgrounds")
    )
    nouns = {
        who: spread_over_seeds(rows, "data sets", NAMED, f"probe on {who}").mean
        for who in ("CLIP", "untrained")
    }
    return (
        f"On the six noun sets the mean difference lies between {gain[worst]:+.0f} points ({worst}) and "
        f"{gain[best]:+.0f} points ({best}); their mean is "
        f"{sum(gain[name] for name in NAMED) / len(NAMED):+.0f}. On backgrounds zero-shot CLIP gains "
        f"{gain['backgrounds']:+.0f} points: the supervised classifier has learned to ignore them, while some "
        f"captions name them. On each of the last four sets the mean of zero-shot CLIP stays within {furthest} points of "
        f"chance. Single seeds do not: in {widest} they lie between {min(above[widest].values):+.0f} and "
        f"{max(above[widest].values):+.0f} points from it. But a probe on CLIP's *own* features reads "
        f"counting ({counted['probe on CLIP']:.2f}; zero-shot {counted['zero-shot']:.2f}, chance "
        f"{counted['chance']:.2f}) and place ({placed['probe on CLIP']:.2f}; zero-shot "
        f"{placed['zero-shot']:.2f}, chance {placed['chance']:.2f}).\n\n"
        f"The control tells what training added. A probe on an untrained tower reads the nouns of the six sets at "
        f"{nouns['untrained']:.2f} on average (on CLIP {nouns['CLIP']:.2f}), counting at "
        f"{counted['probe on untrained']:.2f} (CLIP {counted['probe on CLIP']:.2f}), but place at "
        f"{placed['probe on untrained']:.2f} and backgrounds at {background['probe on untrained']:.2f}, nearly as "
        f"well as a probe on CLIP ({placed['probe on CLIP']:.2f} and {background['probe on CLIP']:.2f})."
    )


def _in_points(found: Spread) -> Spread:
    return spread([100 * value for value in found.values])


def shots_of(rows: Sequence[Mapping], tower: str) -> list[int]:
    """Numbers of shots that every seed has."""
    measured = [set(row[tower]) - {"all"} for row in rows_of(rows, "shots")]
    return sorted(map(int, set.intersection(*measured)))


def shots_curve(rows: Sequence[Mapping], tower: str) -> dict[int, Spread]:
    """Accuracy of k-shot probes on a tower: {k: spread over seeds}."""
    return {k: spread_over_seeds(rows, "shots", tower, str(k)) for k in shots_of(rows, tower)}


def shots_by_seed(rows: Sequence[Mapping], tower: str) -> list[tuple[float, dict[int, float]]]:
    """Of each seed: zero-shot accuracy, and the accuracy of k-shot probes on a tower, {k: accuracy}."""
    return [
        (row["zero-shot"], {k: row[tower][str(k)] for k in shots_of(rows, tower)})
        for row in rows_of(rows, "shots")
    ]


def shots_figure(rows: Sequence[Mapping]):
    """k-shot probes on the features of three towers, beside zero-shot CLIP with its own band."""
    names = {
        "CLIP": "probe on CLIP",
        "supervised": "probe on the supervised classifier",
        "untrained": "probe on an untrained tower",
    }
    level = spread_over_seeds(rows, "shots", "zero-shot")
    drawn = plots.curves(
        {name: shots_curve(rows, who) for who, name in names.items()},
        "labelled pictures per class (log scale)",
        "accuracy on 57 nouns",
        chance=CHANCE,
        xlog=True,
        lines={"zero-shot CLIP": level.mean},
    )
    axes = drawn.axes[0]
    line = next(line for line in axes.lines if line.get_label() == "zero-shot CLIP")
    axes.axhspan(
        level.mean - level.std, level.mean + level.std, color=line.get_color(), alpha=0.12, lw=0
    )
    drawn.description += f" Band of zero-shot CLIP: ± {level.std:.2g}."
    return drawn


def class_list_words(rows: Sequence[Mapping]) -> str:
    """Figure 10 in numbers: false alarms and animals found, before and after all classes of clothing joined."""
    most = max(int(key.split()[-3]) for key in rows_of(rows, "class list")[0] if "added" in key)
    false, found = (
        [
            short(spread_over_seeds(rows, "class list", f"{kind}{number} classes added"))
            for number in (0, most)
        ]
        for kind in ("", "right, ")
    )
    return (
        f"From 0 to {most} classes of clothing, the share of clothing called an animal falls from {false[0]} to "
        f"{false[1]}; the share of animals called an animal goes from {found[0]} to {found[1]}. Random answers would give "
        f"{alarm_share(0):.2f} and {alarm_share(most):.2f} for both."
    )


def alarm_share(added: int) -> float:
    """Share of alarm classes in the list of Figure 10, after so many classes of clothing joined: random answers' alarm rate."""
    kinds = [world.noun(word).category for word in NOUNS]
    alarms = kinds.count("animal")
    others = len([kind for kind in kinds if kind not in ("animal", "clothing")][::3])
    return alarms / (alarms + others + added)


def class_list_figure(rows: Sequence[Mapping]):
    """Alarm rates over the number of classes added, beside the share of alarm classes in the list."""
    names = [key for key in rows_of(rows, "class list")[0] if key.endswith("classes added")]
    added = sorted({int(name.split()[-3]) for name in names})
    drawn = plots.bars(
        {
            str(number): {
                "clothing called an animal": spread_over_seeds(
                    rows, "class list", f"{number} classes added"
                ),
                "animals called an animal": spread_over_seeds(
                    rows, "class list", f"right, {number} classes added"
                ),
                "share of alarm classes in the list": alarm_share(number),
            }
            for number in added
        },
        "share",
        sideways=True,
        form=".2f",
    )
    drawn.axes[0].set_ylabel("clothing classes added")
    return drawn


def rows_of(rows: Sequence[Mapping], study: str) -> list[Mapping]:
    """The rows of one study, one for each seed."""
    return [row for row in rows if row["row"] == study]


def seeds(rows: Sequence[Mapping], study: str, drawn: str = "dots: seeds; whiskers") -> str:
    """How many seeds of a study were measured, and what is drawn of their spread, in words."""
    count = len(rows_of(rows, study))
    return "1 seed" if count == 1 else f"{count} seeds; {drawn}: one standard deviation"


def prompt_figure(prompts: Mapping[str, Mapping]):
    """Zero-shot accuracy by the wording of the prompt; prompts: {wording: {"values": [...]}}."""
    chance = 1 / len(world.known_nouns())

    def shown(wording: str) -> str:
        return "cat (the bare word)" if wording == "bare word" else wording.format("a cat")

    return plots.bars(
        {shown(name): {"accuracy": spread(found["values"])} for name, found in prompts.items()},
        "zero-shot accuracy",
        chance=chance,
        sideways=True,
        form=".3f",
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
    """Accuracy on each data set: chance, zero-shot, and probes on three towers."""
    scores = ("zero-shot", "probe on supervised", "probe on CLIP", "probe on untrained")
    return markdown(
        [
            "data set",
            "chance",
            "zero-shot CLIP",
            "probe on the supervised classifier",
            "probe on CLIP",
            "control: probe on an untrained tower",
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


NOISE = ("all pairs", "filtered pairs", "no noise")


def noise_table(rows: Sequence[Mapping]) -> str:
    """Small CLIPs trained on noisy pairs, on filtered ones, and on all the pictures with their own captions."""
    columns = {"zero-shot": "zero-shot", "loss": "training loss", "loss, held out": "held-out loss"}
    return markdown(
        ["trained on", *columns.values()],
        [
            [name, *(short(spread_over_seeds(rows, "noise", name, key)) for key in columns)]
            for name in NOISE
        ],
    )
