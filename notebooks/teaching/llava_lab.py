"""Lesson 14's failure lab: four small trainings, three of them with one fault each.

python -m teaching.llava_lab   (in notebooks/) runs them at laptop scale, two minutes of one core, and keeps llava_lab.json
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from teaching import llava_model
from teaching.llava_figures import share_bars
from teaching.llava_model import BuiltLLaVA, Talks
from teaching.llava_reference import PARTS, accuracy_by_kind, answer_mask, choose_trained
from vlmcourse import plots, world
from vlmcourse.parts.language import LanguageModel
from vlmcourse.training.scale import Scale

KEPT = Path(__file__).with_suffix(".json")
SCORE = "right answers, held-out pictures"


def stops_only(words: Sequence[str]) -> list[bool]:
    """Of each answer only the full stop."""
    return [scored and word == "." for scored, word in zip(answer_mask(words), words)]


def always_the_first(vision: nn.Module, projector: nn.Module, lm: nn.Module, stage: int) -> int:
    """Stage 1 in both stages."""
    return choose_trained(vision, projector, lm, 1)


RUNS: dict[str, dict] = {
    "healthy": {},
    "A": {"exchanged": True},
    "B": {"answer_mask": stops_only},
    "C": {"choose_trained": always_the_first},
}


def loss_on_texts(lm: nn.Module) -> float:
    """The language model's loss on held-out texts without pictures, in nats per token."""
    texts = world.documents.Documents("test").batch(range(16))
    with torch.no_grad():
        return LanguageModel(lm).losses(texts)["lm"].item()


def run(id: str, scale: Scale, scenes: int, steps: tuple[int, int], count: int) -> dict[str, float]:
    """Trains one run; its loss at the end, and what it can do on held-out pictures, measured without the fault."""
    faults = dict(RUNS[id])
    exchanged = faults.pop("exchanged", False)
    model = BuiltLLaVA(scale, {**PARTS, **faults})
    shown = llava_model.scenes_of(scale.image_size, scenes)
    spoken = dict(zip(shown, [*shown[1:], shown[0]] if exchanged else shown))

    def talks(turns_of):
        return Talks(model, shown, lambda scene: turns_of(spoken[scene]))

    llava_model.train(model, 1, talks(llava_model.captions), steps[0])
    dialogues = talks(lambda scene: PARTS["write_dialogue"](*llava_model.symbols_of(scene)))
    history = llava_model.train(model, 2, dialogues, steps[1])
    last = history[-max(1, steps[1] // 20) :]
    scores = llava_model.report(model, count, accuracy_by_kind)
    return {
        "training loss": sum(step.loss for step in last) / len(last),
        "loss on texts without pictures": loss_on_texts(model.lm),
        SCORE: scores["mean"],
    }


def sizes_of(scale: Scale) -> tuple[int, tuple[int, int], int]:
    """Numbers of training scenes, of steps in each stage, and of held-out scenes."""
    return (16, (2, 2), 2) if scale.name == "smoke" else (512, (40, 120), 64)


def runs(scale: Scale, retrain: bool = False) -> dict[str, dict[str, float]]:
    """All runs; at laptop scale those that were kept, unless they are to be trained again."""
    if scale.name == "laptop" and not retrain:
        return json.loads(KEPT.read_text(encoding="utf-8"))
    return {id: run(id, scale, *sizes_of(scale)) for id in RUNS}


def losses(found: dict[str, dict[str, float]]):
    """Bars of both losses of all runs."""
    names = ("training loss", "loss on texts without pictures")
    groups = {id: {name: scores[name] for name in names} for id, scores in found.items()}
    return plots.bars(groups, "loss (nats per scored token)", sideways=True, form=".2f")


def shares(found: dict[str, dict[str, float]], scale: Scale):
    """Bars of right answers of all runs, mean over kinds, and a mark for always saying the most frequent answer."""
    groups = {id: {SCORE: scores[SCORE]} for id, scores in found.items()}
    guessing = llava_model.report_of_guessing(
        scale.image_size, PARTS, sizes_of(scale)[2], accuracy_by_kind
    )
    return share_bars(groups, dict.fromkeys(groups, guessing["mean"]))


if __name__ == "__main__":
    torch.set_num_threads(1)
    made = runs(Scale.of("laptop"), retrain=True)
    KEPT.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(made, indent=1))
