"""Lesson 04's failure lab: four small trainings, three of them with one fault each.

python -m teaching.vilbert_lab     (in notebooks/) runs them at laptop scale, two minutes of one core, and keeps vilbert_lab.json
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from teaching.vilbert_model import BuiltViLBERT, build, single_things, small_config, train
from teaching.vilbert_reference import PARTS, mean_where
from vlmcourse import plots, recipes
from vlmcourse.evaluation import masked
from vlmcourse.training.scale import Scale

KEPT = Path(__file__).with_suffix(".json")


class AllPairs(BuiltViLBERT):
    """Words and regions count in false pairs, too."""

    def counted(self, aligned: Tensor) -> Tensor:
        return torch.ones_like(aligned)


def no_exchange(image, text, is_region: Tensor, is_word: Tensor) -> tuple[Tensor, Tensor]:
    """Neither stream gets anything from the other."""
    return torch.zeros_like(image[0]), torch.zeros_like(text[0])


def leaking_token(features: Tensor, is_region: Tensor, is_masked: Tensor) -> Tensor:
    """The mean over all regions, masked ones too."""
    return mean_where(features, is_region)


RUNS: dict[str, tuple[type[BuiltViLBERT], dict]] = {
    "healthy": (BuiltViLBERT, {}),
    "A": (AllPairs, {}),
    "B": (BuiltViLBERT, {"img_token": leaking_token}),
    "C": (BuiltViLBERT, {"co_attention": no_exchange}),
}


def run(id: str, scale: Scale, steps: int, count: int = 128) -> dict[str, float]:
    """Trains one run: its losses at the end of training, and its scores on new pictures, computed without the fault."""
    kind, faults = RUNS[id]
    classifier = recipes.vilbert.region_classifier(scale)
    config = small_config(scale)
    model = build(config, {**PARTS, **faults}, kind)
    history = train(model, single_things(scale, "train", 1024, classifier), steps)
    clean = build(config, PARTS)
    clean.load_state_dict(model.state_dict())
    test = single_things(scale, "test", count, classifier, false=0.0)
    last = history[-max(1, steps // 20) :]
    words = masked.masked_word_accuracy(clean, test, range(count))
    return {
        "loss on words": sum(step.losses["mlm"] for step in last) / len(last),
        "loss on regions": sum(step.losses["mrc"] for step in last) / len(last),
        "masked nouns": words["nouns"],
        "masked regions": masked.masked_region_accuracy(clean, test, range(count)),
    }


def runs(scale: Scale, retrain: bool = False) -> dict[str, dict[str, float]]:
    """All runs; at laptop scale those that were kept, unless they are to be trained again."""
    if scale.name == "laptop" and not retrain:
        return json.loads(KEPT.read_text(encoding="utf-8"))
    steps, count = (750, 128) if scale.name != "smoke" else (4, 16)
    return {id: run(id, scale, steps, count) for id in RUNS}


def show(found: dict[str, dict[str, float]], names: tuple[str, str], label: str, chance=None):
    """Bars of two measurements of all runs; numbers have three decimals."""
    groups = {id: {name: round(scores[name], 3) for name in names} for id, scores in found.items()}
    return plots.bars(groups, label, chance)


if __name__ == "__main__":
    torch.set_num_threads(1)
    made = runs(Scale.of("laptop"), retrain=True)
    KEPT.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(made, indent=1))
