"""Lesson 09's failure lab: four runs of CapFilt's filter on the small web, three of them with one fault each.

python -m teaching.capfilt_lab     (in notebooks/) runs them at laptop scale, a minute of one core, and keeps capfilt_lab.json
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from teaching.capfilt_reference import keep_captions
from teaching.capfilt_run import STEPS, THRESHOLD, Run, small_web
from vlmcourse import plots
from vlmcourse.training.scale import Scale

KEPT = Path(__file__).with_suffix(".json")
SHARES = ("false captions thrown out", "right captions kept", "mean of both")
"""What is measured of each run, over web and synthetic captions together."""


@dataclass(frozen=True)
class Loop:
    """One run. trusted: what captioner and filter are tuned on; decide: from the two masks to those that are used."""

    trusted: Callable[[list, list], list] = lambda web, annotated: annotated
    decide: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = lambda web, made: (web, made)


RUNS = {
    "healthy": Loop(),
    "A": Loop(decide=lambda web, made: (made, web)),
    "B": Loop(trusted=lambda web, annotated: web + annotated),
    "C": Loop(decide=lambda web, made: (~web, ~made)),
}


def measured(loop: Loop, run: Run) -> dict[str, float]:
    """What the loop's filter does; `pairs`: how many are left, annotated ones included."""
    web, annotated = run.small.web, run.small.annotated
    base, pairs = run.pretrain(web + annotated), loop.trusted(web, annotated)
    captioner, matcher = run.tune_captioner(base, pairs), run.tune_filter(base, pairs)
    made = run.write(captioner, [picture for picture, _ in web])
    masks = [keep_captions(run.match_logits(matcher, each), THRESHOLD) for each in (web, made)]
    keep, false = torch.cat(loop.decide(*masks)), run.small.false(web + made)
    out, kept = (~keep)[false].float().mean().item(), keep[~false].float().mean().item()
    return dict(zip(SHARES, (out, kept, (out + kept) / 2))) | {
        "pairs": int(keep.sum()) + len(annotated)
    }


def runs(scale: Scale, retrain: bool = False) -> dict[str, dict[str, float]]:
    """All runs; at laptop scale those that were kept, unless they are to be trained again."""
    if scale.name == "laptop" and not retrain:
        return json.loads(KEPT.read_text(encoding="utf-8"))
    run = Run(small_web(scale), STEPS[scale.name])
    return {id: measured(loop, run) for id, loop in RUNS.items()}


def shares(found: dict[str, dict[str, float]]):
    """Bars of the shares of all runs; a filter that throws out at random has a mean of one half."""
    groups = {id: {name: scores[name] for name in SHARES} for id, scores in found.items()}
    return plots.bars(groups, "share of captions", 0.5, form=".2f")


def pairs(found: dict[str, dict[str, float]]):
    """Bars of how many pairs are left."""
    groups = {id: {"pairs": scores["pairs"]} for id, scores in found.items()}
    return plots.bars(groups, "pairs that are left", form=".0f")


if __name__ == "__main__":
    torch.set_num_threads(1)
    made = runs(Scale.of("laptop"), retrain=True)
    KEPT.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(made, indent=1))
