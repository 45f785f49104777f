"""Lesson 03's comparison with the paper: each claim, our measurement over seeds, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from teaching.clip_analysis_tables import (
    STYLE_GROUPS,
    data_set_names,
    difference,
    markdown,
    scaling_points,
    shift_scores,
    short,
    shots_of,
)
from vlmcourse.evaluation import Spread, spread, spread_over_seeds, verdict
from vlmcourse.evaluation.published import published

NAMED = 7
"""So many of the data sets, the first ones, have classes that captions name."""


@dataclass(frozen=True)
class Claim:
    """What should be higher than what. reason: why ours differs, shown unless it agrees.

    Of a single seed the table says so instead, and whether its direction is the paper's.
    """

    text: str
    paper: str
    higher: Spread
    lower: Spread
    reason: str = ""
    form: str = ".2f"

    def line(self) -> list[str]:
        """A row of the table."""
        found = verdict(self.higher.values, self.lower.values)
        if len(self.higher.values) == 1:
            same = self.higher.mean > self.lower.mean
            reason = f"one seed decides nothing; direction: {'same' if same else 'opposite'}"
        else:
            reason = "" if found == "agrees" else self.reason
        ours = [short(one, self.form) for one in (self.higher, self.lower)]
        return [self.text, self.paper, *ours, found, reason]


def table(claims: Sequence[Claim], first: str) -> str:
    """Claims as Markdown; first: what the number beside the claim is."""
    columns = [
        "claim: the first is higher",
        first,
        "ours: first",
        "ours: second",
        "verdict",
        "reason",
    ]
    return markdown(columns, [claim.line() for claim in claims])


def mean_over(rows: Sequence[Mapping], names: Sequence[str], score: str) -> Spread:
    """Mean over data sets of a score, for each seed."""
    found = [spread_over_seeds(rows, "data sets", name, score).values for name in names]
    return spread([sum(values) / len(values) for values in zip(*found)])


def share_won(rows: Sequence[Mapping]) -> Spread:
    """Share of the data sets on which zero-shot CLIP beats the probe on the supervised features, for each seed."""
    gains = [
        difference(rows, "data sets", (name, "zero-shot"), (name, "probe on supervised")).values
        for name in data_set_names(rows)
    ]
    return spread([sum(gain > 0 for gain in values) / len(values) for values in zip(*gains)])


def at_equal_compute(rows: Sequence[Mapping]) -> tuple[Spread, Spread]:
    """Probe of the smaller ViT, and of ResNets at its compute: linear in log compute between the two ResNets."""
    points = scaling_points(rows, "linear probe")
    wanted, vit = next(iter(points["ViT"].items()))
    (low, below), (high, above) = points["ResNet"].items()
    share = (math.log(wanted) - math.log(low)) / (math.log(high) - math.log(low))
    return vit, spread([a + share * (b - a) for a, b in zip(below.values, above.values)])


def lost(rows: Sequence[Mapping], model: str) -> Spread:
    """Accuracy as trained minus mean accuracy under all shifts, for each seed."""
    shifted = tuple(style for styles in list(STYLE_GROUPS.values())[1:] for style in styles)
    pairs = zip(
        shift_scores(rows, model, ("as trained",)).values, shift_scores(rows, model, shifted).values
    )
    return spread([source - target for source, target in pairs])


def most_shots(rows: Sequence[Mapping], tower: str) -> Spread:
    """The few-shot probe with the most examples."""
    return spread_over_seeds(rows, "shots", tower, str(max(shots_of(rows, tower))))


def paper_table(rows: Sequence[Mapping], large: Mapping[str, Mapping]) -> str:
    """The paper's claims beside ours. rows: of small CLIPs; large: probes and prompts of the model of lesson 02."""
    fact = {row[0]: row[1] for row in published("clip-facts").rows}
    names = data_set_names(rows)
    zero_shot = spread_over_seeds(rows, "shots", "zero-shot")
    wording, probe = (
        {name: spread(found["values"]) for name, found in large[part].items()}
        for part in ("prompts", "probes")
    )
    scaling = list(scaling_points(rows, "linear probe")["ViT"].values())
    mean_gain = [
        spread([a - b for a, b in zip(*(mean_over(rows, part, score).values
                                        for score in ("zero-shot", "probe on supervised")))])
        for part in (names[:NAMED], names[NAMED:])
    ]  # fmt: skip
    won = share_won(rows)
    wins = fact["data sets on which zero-shot beats a linear probe on ResNet-50"]
    before, after = (
        fact["young people misclassified into non-human or crime-related classes"],
        fact["the same with the class 'child' added"],
    )
    gain = fact[
        "mean gain of a linear probe on the best model (ViT-L/14@336) over the best before it"
    ]
    overlap = fact["mean overlap of test sets with the training data"]
    return table(
        [
            Claim("zero-shot; 4-shot probe on CLIP's own features (laptop model)", "equal on average (Fig. 6)",
                  probe["zero-shot"], probe["4-shot probe"]),
            Claim(f"zero-shot; {max(shots_of(rows, 'supervised'))}-shot probe on other features", "equal to the best (Fig. 6)",
                  zero_shot, most_shots(rows, "supervised"),
                  "our supervised tower learned half of these very nouns with labels"),
            Claim("share of data sets where zero-shot beats a probe on ResNet features; one half",
                  f"{wins} of 27", won, spread([0.5] * len(won.values)),
                  "four of our eleven data sets ask what no caption says"),
            Claim("zero-shot minus probe: classes that captions name; others",
                  "weak on EuroSAT, satellite images, counting", *mean_gain),
            Claim("mean probe on CLIP; on the supervised classifier", f"+{gain} points",
                  mean_over(rows, names, "probe on CLIP"), mean_over(rows, names, "probe on supervised")),
            Claim("probe at equal compute: ViT; ResNet", "ViTs need a third of the compute",
                  *at_equal_compute(rows),
                  "convolutions help with few pairs; the paper has 400 million and larger towers"),
            Claim("probe: largest ViT; smallest ViT", "larger is better (Fig. 10)", scaling[-1], scaling[0],
                  "at equal steps a larger tower is trained less far"),
            Claim("lost under shift: labels, one style; captions, varied", "gap up to 75 % smaller (Fig. 13)",
                  lost(rows, "labels, one style"), lost(rows, "captions, varied")),
            Claim("false alarms: class missing; one class added", f"{before} %; {after} % ('child')",
                  spread_over_seeds(rows, "class list", "0 classes added"),
                  spread_over_seeds(rows, "class list", "1 classes added"),
                  "one noun covers a fifth of our group; 'child' covers its whole group"),
            Claim("accuracy by prompt: sentence; bare word", "+1.3 points (ImageNet)",
                  wording["a photo of {}"], wording["bare word"]),
            Claim("accuracy by prompt: ensemble; sentence", "+3.5 points (ImageNet)",
                  wording["ensemble of all templates"], wording["a photo of {}"],
                  "our nouns are unambiguous, and captions already use these sentences", ".3f"),
            Claim("accuracy: all test pictures; clean part", f"{overlap} % overlap, little effect",
                  spread_over_seeds(rows, "overlap", "all"), spread_over_seeds(rows, "overlap", "clean"),
                  "a small effect is what the paper found, too", ".3f"),
        ],
        "the paper",
    )  # fmt: skip


def control_table(rows: Sequence[Mapping]) -> str:
    """Our own controls: none of the paper's claims."""
    varied = STYLE_GROUPS["styles in the varied pictures"]
    shots = {name: most_shots(rows, name) for name in ("CLIP", "untrained")}
    pairs = [
        ("grey, noise, sketch: captions, varied; captions, one style",
         shift_scores(rows, "captions, varied", varied), shift_scores(rows, "captions, one style", varied)),
        ("grey, noise, sketch: labels, varied; labels, one style",
         shift_scores(rows, "labels, varied", varied), shift_scores(rows, "labels, one style", varied)),
        ("lost under shift, one style: labels; captions",
         lost(rows, "labels, one style"), lost(rows, "captions, one style")),
        ("few-shot probe: trained tower; untrained tower", shots["CLIP"], shots["untrained"]),
    ]  # fmt: skip
    return markdown(
        ["the first is higher", "first", "second", "verdict"],
        [
            [text, short(higher), short(lower), verdict(higher.values, lower.values)]
            for text, higher, lower in pairs
        ],
    )
