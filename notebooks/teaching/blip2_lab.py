"""Lesson 10's failure lab: four small trainings of stage 1, three of them with one objective under a wrong mask.

python -m teaching.blip2_lab     (in notebooks/) runs them at laptop scale, two minutes of one core, and keeps blip2_lab.json
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from teaching.blip2_measures import different
from teaching.blip2_model import NOUNS, build, small_config, small_world, stage1_scores, train
from teaching.blip2_reference import PARTS, qformer_mask
from teaching.frozen_figures import with_chance
from vlmcourse import plots
from vlmcourse.recipes.blip2 import tower
from vlmcourse.training.scale import Scale

KEPT = Path(__file__).with_suffix(".json")
LOSSES = ("ITC loss", "ITM loss", "ITG loss")
SCORES = ("right caption, by ITC", "right caption, by ITM", "nouns of its captions")


def exchanged(**masks: str):
    """qformer_mask that takes another objective's mask for some. masks: {objective: whose mask it gets}"""

    def mask(objective: str, R: int, is_token: Tensor) -> Tensor:
        return qformer_mask(masks.get(objective, objective), R, is_token)

    return mask


RUNS: dict[str, dict] = {
    "healthy": {},
    "A": {"qformer_mask": exchanged(itm="itc")},
    "B": {"qformer_mask": exchanged(itg="itm")},
    "C": {"qformer_mask": exchanged(itc="itm")},
}


def run(id: str, scale: Scale, steps: int, count: int) -> dict[str, float]:
    """Trains one run: its losses at the end of training, and its scores on new pictures, computed with the right masks."""
    vision, config = tower(scale), small_config(scale)
    model = build(config, {**PARTS, **RUNS[id]})
    history = train(model, small_world(scale, "train", vision, 8 * count), steps)
    clean = build(config, PARTS)
    clean.load_state_dict(model.state_dict())
    last = history[-max(1, steps // 20) :]
    means = (sum(step.losses[name] for step in last) / len(last) for name in ("itc", "itm", "itg"))
    scores = stage1_scores(clean, small_world(scale, "test", vision, 2 * count))
    return dict(zip(LOSSES, means)) | scores


def pairs_tested(scale: Scale) -> int:
    """On how many pictures the first two scores stand: those whose two captions differ."""
    ids = small_world(scale, "test", tower(scale), 2 * size_of(scale)[1]).whole["ids"]
    return int((ids != ids[torch.arange(len(ids)) ^ 1]).any(1).sum())


def tested(scale: Scale) -> str:
    """On what the scores stand, in words."""
    data = small_world(scale, "test", tower(scale), 2 * size_of(scale)[1])
    return (
        f"{data.size} new pictures ({different(data.whole['features'])} different ones; for the first two scores the "
        f"{pairs_tested(scale)} whose two captions differ)"
    )


def size_of(scale: Scale) -> tuple[int, int]:
    """Steps of a run, and half the number of new pictures."""
    return (4, 8) if scale.name == "smoke" else (200, 64)


def runs(scale: Scale, retrain: bool = False) -> dict[str, dict[str, float]]:
    """All runs; at laptop scale those that were kept, unless they are to be trained again."""
    if scale.name == "laptop" and not retrain:
        return json.loads(KEPT.read_text(encoding="utf-8"))
    steps, count = size_of(scale)
    return {id: run(id, scale, steps, count) for id in RUNS}


def show(found: dict[str, dict[str, float]], names: tuple[str, ...], label: str, **options):
    """Bars of these measurements of all runs."""
    groups = {id: {name: scores[name] for name in names} for id, scores in found.items()}
    return plots.bars(groups, label, **options)


def show_scores(found: dict[str, dict[str, float]]):
    """Bars of the scores of all runs, with marks of guessing."""
    guesses = dict(zip(SCORES, (0.5, 0.5, 1 / len(NOUNS))))
    drawn = show(found, SCORES, "share that is right", highest=1, sideways=True, form=".2f")
    return with_chance(drawn, {id: guesses for id in found}, "guessing")


if __name__ == "__main__":
    torch.set_num_threads(1)
    made = runs(Scale.of("laptop"), retrain=True)
    KEPT.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(made, indent=1))
