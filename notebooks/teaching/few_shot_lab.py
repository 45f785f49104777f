"""Lesson 12's failure lab: four small trainings, three of them with one fault in the data.

python -m teaching.few_shot_lab   (in notebooks/) runs them at laptop scale, two minutes of a core, and keeps few_shot_lab.json
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from teaching import few_shot_measures as measures
from teaching import few_shot_model, few_shot_reference
from teaching.few_shot_model import NOUNS
from teaching.frozen_figures import with_chance
from vlmcourse import plots, world
from vlmcourse.training.scale import Scale
from vlmcourse.world.pages import Episode

KEPT = Path(__file__).with_suffix(".json")
RUNS = ("healthy", "A", "B", "C")
NAMING, BINDING = "names the thing", "binds four new names, 8 examples"
CHANCE = {NAMING: 1 / len(NOUNS), BINDING: 0.25}


def data_of(id: str, scale: Scale) -> dict[str, few_shot_model.Source]:
    """The training data of a run."""
    data = few_shot_model.sources(scale)
    if id == "A":
        data["pages"] = replace(data["pages"], page=few_shot_model.mismatched_page)
    elif id == "B":
        del data["pairs"]
    elif id == "C":
        del data["pages"]
    return data


def naming(count: int) -> list[Episode]:
    """Held-out pictures of one thing, without an example: which of the nouns is it?"""
    web = measures.TEST
    scenes = [replace(web, noun_subset=NOUNS).single_thing(index) for index in range(count)]
    words = [scene.words[0] for scene in scenes]
    return [
        Episode((scene, f"this is {world.article(word).split()[0]}"), word, NOUNS)
        for scene, word in zip(scenes, words)
    ]


def run(id: str, scale: Scale, steps: int, count: int) -> dict[str, float]:
    """Trains one run; its losses and what it can do, all measured on data without the fault."""
    model, cache = few_shot_model.build(scale), few_shot_model.features_of(scale)
    few_shot_model.train(model, data_of(id, scale), few_shot_reference.accumulate, steps)
    found = {}
    for name, source in few_shot_model.sources(scale, split="test").items():
        with torch.no_grad():
            found[f"loss on {name}"] = model.losses(source.batch(range(count)))["lm"].item()
    for name, episodes in (
        (NAMING, naming(count)),
        (BINDING, few_shot_model.episodes(count, 8)),
    ):
        found[name] = measures.right(model, episodes, few_shot_reference.few_shot_prompt, cache)
    return found


def runs(scale: Scale, retrain: bool = False) -> dict[str, dict[str, float]]:
    """All runs; at laptop scale those that were kept, unless they are to be trained again."""
    if scale.name == "laptop" and not retrain:
        return json.loads(KEPT.read_text(encoding="utf-8"))
    steps, count = (2, 8) if scale.name == "smoke" else (240, 128)
    return {id: run(id, scale, steps, count) for id in RUNS}


def losses(found: dict[str, dict[str, float]]):
    """Bars of the losses of all runs."""
    groups = {
        id: {name: value for name, value in scores.items() if name.startswith("loss")}
        for id, scores in found.items()
    }
    return plots.bars(groups, "loss (nats per token)", sideways=True, form=".2f")


def shares(found: dict[str, dict[str, float]]):
    """Bars of what all runs can do, with marks of guessing."""
    groups = {id: {name: scores[name] for name in CHANCE} for id, scores in found.items()}
    drawn = plots.bars(groups, "right answers (share)", sideways=True, highest=1, form=".2f")
    return with_chance(drawn, dict.fromkeys(groups, CHANCE), "guessing")


if __name__ == "__main__":
    torch.set_num_threads(1)
    made = runs(Scale.of("laptop"), retrain=True)
    KEPT.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(made, indent=1))
