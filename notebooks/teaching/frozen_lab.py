"""Lesson 07's failure lab: four small trainings, three of them with one fault each.

python -m teaching.frozen_lab   (in notebooks/) runs them at laptop scale, three minutes of one core, and keeps frozen_lab.json
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from torch import Tensor, nn

from teaching import frozen_model
from teaching.frozen_figures import with_chance
from teaching.frozen_model import BuiltFrozen
from teaching.frozen_reference import PARTS
from vlmcourse import plots, world
from vlmcourse.parts.language import LanguageModel
from vlmcourse.training.scale import Scale
from vlmcourse.world import prompts

KEPT = Path(__file__).with_suffix(".json")
SCORES = tuple(frozen_model.TESTS)
"""What the runs are compared by, on held-out pictures."""


def guessing_loss() -> float:
    """Nats per token of a caption (noun, background, full stop) for who guesses the first two among all and is sure of the third."""
    return (math.log(len(frozen_model.NOUNS)) + math.log(len(world.BACKGROUNDS))) / 3


def nothing_frozen(module: nn.Module) -> None:
    """All weights of the language model are trained."""
    module.requires_grad_(True)


def all_words(ids: Tensor, image_id: int, end_id: int, pad_id: int) -> Tensor:
    """Every token but the first, with the slots."""
    scored = torch.ones_like(ids, dtype=torch.bool)
    scored[:, 0] = False
    return scored & (ids != pad_id)


RUNS: dict[str, dict] = {
    "healthy": {},
    "A": {"freeze": nothing_frozen},
    "B": {"view": prompts.blank_images},
    "C": {"caption_mask": all_words},
}


def run(id: str, scale: Scale, steps: int, count: int = 128) -> dict[str, float]:
    """Trains one run; its loss at the end, and what it can do on held-out pictures, measured without the fault."""
    faults = dict(RUNS[id])
    data = frozen_model.captions(scale, 24 * count, view=faults.pop("view", None))
    model = BuiltFrozen(scale, frozen_model.language_model(scale), {**PARTS, **faults})
    history = frozen_model.train(model, data, steps)
    texts = world.documents.Documents("test").batch(range(32))
    with torch.no_grad():
        on_texts = LanguageModel(model.lm).losses(texts)["lm"].item()
    last = history[-max(1, steps // 20) :]
    return {
        "training loss": sum(step.loss for step in last) / len(last),
        "loss on texts without pictures": on_texts,
        **frozen_model.report(model, count),
    }


def runs(scale: Scale, retrain: bool = False) -> dict[str, dict[str, float]]:
    """All runs; at laptop scale those that were kept, unless they are to be trained again."""
    if scale.name == "laptop" and not retrain:
        return json.loads(KEPT.read_text(encoding="utf-8"))
    steps, count = (4, 8) if scale.name == "smoke" else (300, 128)
    return {id: run(id, scale, steps, count) for id in RUNS}


def show(found: dict[str, dict[str, float]], names: tuple[str, ...], label: str):
    """Bars of measurements of all runs."""
    groups = {id: {name: scores[name] for name in names} for id, scores in found.items()}
    return plots.bars(groups, label, sideways=True)


def shares(found: dict[str, dict[str, float]], label: str):
    """Bars of SCORES of all runs, with marks of what needs no picture: the most frequent answer, or chance among names."""
    groups = {id: {name: scores[name] for name in SCORES} for id, scores in found.items()}
    asked = {name: questions(128) for name, questions in frozen_model.TESTS.items()}
    marks = {
        name: max(1 / len(episodes[0].choices), frozen_model.most_frequent(episodes))
        for name, episodes in asked.items()
    }
    drawn = plots.bars(groups, label, sideways=True, highest=1)
    return with_chance(drawn, dict.fromkeys(groups, marks), "needs no picture")


if __name__ == "__main__":
    torch.set_num_threads(1)
    made = runs(Scale.of("laptop"), retrain=True)
    KEPT.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(made, indent=1))
