"""Lesson 03's comparison with the paper: each claim, our measurement over seeds, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from teaching.clip_analysis_scaling import at_equal_compute, scaling_points
from teaching.clip_analysis_styles import MIXED, ORIGINAL, UNSEEN, shift_scores
from teaching.clip_analysis_tables import (
    NAMED,
    data_set_names,
    difference,
    markdown,
    short,
    shots_of,
)
from vlmcourse.evaluation import Spread, spread, spread_over_seeds, verdict, verdict_of_equality
from vlmcourse.evaluation.published import published


@dataclass(frozen=True)
class Claim:
    """What should be higher than what, or equal to it. reason: why ours differs, shown unless it agrees; note: shown always.

    Of a single seed the table says so instead, and whether its direction is the paper's.
    """

    text: str
    paper: str
    higher: Spread
    lower: Spread
    reason: str = ""
    form: str = ".2f"
    rule: Callable[[Sequence[float], Sequence[float]], str] = verdict
    note: str = ""

    def line(self) -> list[str]:
        """A row of the table."""
        found = self.rule(self.higher.values, self.lower.values)
        if len(self.higher.values) == 1:
            same = self.higher.mean > self.lower.mean
            reason = f"one seed decides nothing; direction: {'same' if same else 'opposite'}"
        else:
            reason = self.note if found == "agrees" else self.reason or self.note
        ours = [short(one, self.form) for one in (self.higher, self.lower)]
        return [self.text, self.paper, *ours, found, reason]


def table(claims: Sequence[Claim], first: str) -> str:
    """Claims as Markdown; first: what the number beside the claim is."""
    columns = [
        "claim: the first is higher, or (where it says so) equal",
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


def mean_difference(
    rows: Sequence[Mapping], names: Sequence[str], first: str, second: str
) -> Spread:
    """Mean over data sets of one score minus another, for each seed."""
    pairs = zip(*(mean_over(rows, names, score).values for score in (first, second)))
    return spread([a - b for a, b in pairs])


def share_won(rows: Sequence[Mapping]) -> Spread:
    """Share of the data sets on which zero-shot CLIP beats the probe on the supervised features, for each seed."""
    gains = [
        difference(rows, "data sets", (name, "zero-shot"), (name, "probe on supervised")).values
        for name in data_set_names(rows)
    ]
    return spread([sum(gain > 0 for gain in values) / len(values) for values in zip(*gains)])


def lost(rows: Sequence[Mapping], model: str) -> Spread:
    """Accuracy on original pictures minus mean accuracy under all shifts, for each seed."""
    shifted = (*MIXED, *UNSEEN)
    pairs = zip(*(shift_scores(rows, model, styles).values for styles in ((ORIGINAL,), shifted)))
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
    named = (*NAMED, "backgrounds")
    mean_gain = [
        mean_difference(rows, part, "zero-shot", "probe on supervised")
        for part in (named, [name for name in names if name not in named])
    ]
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
    gaps = difference(rows, "shots", ("zero-shot",), ("CLIP", "4")).values
    close = sum(abs(gap) <= 0.05 for gap in gaps)
    return table(
        [
            Claim("equal: zero-shot; 4-shot probe on CLIP's own features (laptop model)", "equal on average (Fig. 6)",
                  probe["zero-shot"], probe["4-shot probe"],
                  "our captions name exactly these classes, so zero-shot has in effect seen many labels",
                  rule=verdict_of_equality),
            Claim("the same for the small CLIPs of Figure 5", "equal on average (Fig. 6)",
                  zero_shot, spread_over_seeds(rows, "shots", "CLIP", "4"),
                  f"{close} of {len(gaps)} seeds are within 5 points; the seeds differ too much for a verdict",
                  rule=verdict_of_equality),
            Claim(f"equal: zero-shot; {max(shots_of(rows, 'supervised'))}-shot probe on other features", "nearly matches the best (Fig. 6)",
                  zero_shot, most_shots(rows, "supervised"),
                  "our supervised tower learned half of these very nouns with labels",
                  rule=verdict_of_equality),
            Claim("share of data sets where zero-shot beats a probe on ResNet features; one half",
                  f"{wins} of 27", won, spread([0.5] * len(won.values)),
                  "four of our eleven data sets ask what no caption says, and 300 steps leave CLIP unfinished"),
            Claim("zero-shot minus probe: classes that captions name; others",
                  "weak on EuroSAT, satellite images, counting", *mean_gain),
            Claim("mean probe on CLIP; on the supervised classifier", f"+{gain} points",
                  mean_over(rows, names, "probe on CLIP"), mean_over(rows, names, "probe on supervised")),
            Claim("probe at equal compute: ViT; ResNet", "ViTs need a third of the compute",
                  *at_equal_compute(rows, "linear probe"),
                  "one ResNet run did not learn in 300 steps, so the seeds of a family differ as much as the families"),
            Claim("probe: largest ViT; smallest ViT", "larger is better (Fig. 10)", scaling[-1], scaling[0],
                  "higher in every seed, but the seeds differ too much"),
            Claim("lost under shift: labels, one style; captions, varied", "gap up to 75 % smaller (Fig. 13)",
                  lost(rows, "labels, one style"), lost(rows, "captions, varied")),
            Claim("false alarms: class missing; one class added", f"about {before} %; {after} % ('child'; OpenAI's blog)",
                  spread_over_seeds(rows, "class list", "0 classes added"),
                  spread_over_seeds(rows, "class list", "1 classes added"),
                  "one noun covers a fifth of our group; 'child' covers its whole group"),
            Claim("accuracy by prompt: sentence; bare word", "+1.3 points (ImageNet)",
                  wording["a photo of {}"], wording["bare word"],
                  form=".3f",
                  note=f"the article makes the difference: 'a cat' alone reaches {wording['{}'].mean:.3f}; every caption has "
                  "one, so a bare noun is a text never seen"),
            Claim("accuracy by prompt: ensemble; sentence", "+3.5 points (ImageNet)",
                  wording["ensemble of all templates"], wording["a photo of {}"],
                  "our nouns are unambiguous, and captions already use these sentences", ".3f"),
            Claim("equal: accuracy on all test pictures; on the clean part", f"{overlap} % overlap, little effect",
                  spread_over_seeds(rows, "overlap", "all"), spread_over_seeds(rows, "overlap", "clean"),
                  form=".3f", rule=verdict_of_equality),
        ],
        "the paper",
    )  # fmt: skip


def remarks(rows: Sequence[Mapping]) -> str:
    """What the means over data sets in the paper's table hide: the same over the six noun sets alone, in points."""
    zero_shot = mean_difference(rows, NAMED, "zero-shot", "probe on supervised")
    probe = mean_difference(rows, NAMED, "probe on CLIP", "probe on supervised")
    alone = {
        name: 100 * difference(rows, "data sets", (name, "probe on CLIP"), (name, "probe on supervised")).mean
        for name in ("backgrounds", "counting")
    }  # fmt: skip
    low, high = (
        shift_scores(rows, name, (ORIGINAL,)) for name in ("captions, varied", "labels, one style")
    )
    return (
        "Two rows are means over unlike data sets. On the six noun sets alone, zero-shot CLIP minus the "
        f"supervised probe is {100 * zero_shot.mean:+.0f} ± {100 * zero_shot.std:.0f} points, and the probe on "
        f"CLIP minus the supervised probe {100 * probe.mean:+.0f} ± {100 * probe.std:.0f}. The gain of the probe "
        f"on CLIP over all sets comes mostly from backgrounds ({alone['backgrounds']:+.0f}), which an untrained tower "
        f"holds, too, and counting ({alone['counting']:+.0f}). The row on loss under shift needs care, too: the model with captions and "
        f"varied pictures reaches only {low.mean:.2f} on original pictures (labels, one style: {high.mean:.2f}), so it "
        f"has less to lose. The row on overlap mixes few overlapping pictures with many others. On the overlapping ones "
        f"alone the three small CLIPs reach {listed(rows, 'overlapping')}, on the clean ones {listed(rows, 'clean')}, "
        "seed by seed. In every seed they do better on pictures that they were trained on; by the rule the gap is "
        "within noise, because the seeds differ so much. And 3.2 % of the pictures can move the "
        "accuracy on all by at most 3.2 points."
    )


def listed(rows: Sequence[Mapping], score: str) -> str:
    """The accuracies of the study on overlap, seed by seed."""
    values = spread_over_seeds(rows, "overlap", score).values
    return ", ".join(f"{value:.2f}" for value in values)


CONTROL = {"agrees": "yes", "disagrees": "no: it is lower", "within noise": "within noise"}
"""What the table of controls says for each verdict of the rule: there is no paper to agree with."""


def control_table(rows: Sequence[Mapping]) -> str:
    """Our own controls: none of the paper's claims."""
    shots = {name: most_shots(rows, name) for name in ("CLIP", "untrained")}
    pairs = [
        ("grey, noise, sketch: captions, varied; captions, one style",
         shift_scores(rows, "captions, varied", MIXED), shift_scores(rows, "captions, one style", MIXED)),
        ("grey, noise, sketch: labels, varied; labels, one style",
         shift_scores(rows, "labels, varied", MIXED), shift_scores(rows, "labels, one style", MIXED)),
        ("lost under shift, one style: labels; captions",
         lost(rows, "labels, one style"), lost(rows, "captions, one style")),
        ("overlap: accuracy on pictures that CLIP was trained on; on clean pictures",
         *(spread_over_seeds(rows, "overlap", part) for part in ("overlapping", "clean"))),
        ("few-shot probe: trained tower; untrained tower", shots["CLIP"], shots["untrained"]),
        ("zero-shot, trained on: filtered pairs; all noisy pairs",
         *(spread_over_seeds(rows, "noise", name, "zero-shot") for name in ("filtered pairs", "all pairs"))),
        ("zero-shot, trained on: pairs without noise; filtered pairs",
         *(spread_over_seeds(rows, "noise", name, "zero-shot") for name in ("no noise", "filtered pairs"))),
    ]  # fmt: skip
    return markdown(
        ["the first is higher", "first", "second", "beyond noise?"],
        [
            [text, short(higher), short(lower), CONTROL[verdict(higher.values, lower.values)]]
            for text, higher, lower in pairs
        ],
    )
