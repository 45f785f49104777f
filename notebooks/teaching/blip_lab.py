"""Lesson 08's failure lab: four small trainings, three of them with one fault each.

python -m teaching.blip_lab     (in notebooks/) runs them at laptop scale, minutes of one core, and keeps blip_lab.json
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from torch import Tensor

from teaching.blip_figures import BLIND_MATCH
from teaching.blip_model import BATCH, NOUNS, build, small_config, small_world, train
from teaching.blip_reference import PARTS, itm_loss, role_inputs
from vlmcourse import evaluation, plots, recipes
from vlmcourse.evaluation import eval_mode
from vlmcourse.recipes.blip import generate_captions
from vlmcourse.training.scale import Scale

KEPT = Path(__file__).with_suffix(".json")
LOSSES = ("ITC loss", "ITM loss", "LM loss")
SCORES = ("right caption, by ITC", "right caption, by ITM", "nouns of its captions")
GUESSES = {
    "ITC loss": ("ITC", math.log(BATCH)),
    "ITM loss": ("ITM", float(BLIND_MATCH)),
    "right caption, by ITC": ("right caption, by either", 0.5),
    "nouns of its captions": ("nouns", 1 / NOUNS),
}
"""What guessing gives, and its name in a legend."""


def always_causal(ids: Tensor, first_token: int, causal: bool, pad: int):
    """role_inputs whose encoders are causal, too."""
    return role_inputs(ids, first_token, True, pad)


def never_causal(ids: Tensor, first_token: int, causal: bool, pad: int):
    """role_inputs whose decoder attends to the future."""
    return role_inputs(ids, first_token, False, pad)


def without_states(
    itm_logits, ids: Tensor, states: Tensor, texts: Tensor, images: Tensor
) -> Tensor:
    """itm_loss whose pairs all have the same states: zeros."""
    return itm_loss(itm_logits, ids, torch.zeros_like(states), texts, images)


RUNS: dict[str, dict] = {
    "healthy": {},
    "A": {"role_inputs": never_causal},
    "B": {"role_inputs": always_causal},
    "C": {"itm_loss": without_states},
}


def run(id: str, scale: Scale, steps: int, count: int = 64) -> dict[str, float]:
    """Trains one run: its losses at the end of training, and its scores on new pictures, computed without the fault."""
    vision = recipes.get("clip").train_or_load(scale).model.vision
    config = small_config(scale, momentum=None, queue_size=0, alpha=0.0)
    model = build(config, {**PARTS, **RUNS[id]}, vision)
    history = train(model, small_world(scale, "train", 512), steps)
    clean = build(config, PARTS, vision)
    clean.load_state_dict(model.state_dict())
    last = history[-max(1, steps // 20) :]
    means = (sum(step.losses[name] for step in last) / len(last) for name in ("itc", "itm", "lm"))
    return dict(zip(LOSSES, means)) | test_scores(clean, scale, count)


def test_scores(model, scale: Scale, count: int) -> dict[str, float]:
    """On held-out minimal pairs: right caption preferred to that of another background, by ITC and ITM; nouns of captions."""
    data = small_world(scale, "test", 2 * count)
    pixel_values, ids = data.whole["pixel_values"], data.whole["ids"]
    other = ids[torch.arange(2 * count) ^ 1]
    differ = (ids != other).any(1)  # a background that can't change leaves both captions equal
    with eval_mode(model):
        states = model.vision_context(pixel_values)["states"]
        image = model.encode_image(pixel_values)
        cosines = [(image * model.encode_text(each)).sum(1) for each in (ids, other)]
        match = [model.itm_logits(each, states).diff(dim=1)[:, 0] for each in (ids, other)]
    right = [(scores[0] > scores[1])[differ].float().mean().item() for scores in (cosines, match)]
    captions = generate_captions(model, pixel_values)
    nouns = evaluation.noun_accuracy(captions, data.data.scenes(range(2 * count)))
    return dict(zip(SCORES, (*right, nouns)))


def runs(scale: Scale, retrain: bool = False) -> dict[str, dict[str, float]]:
    """All runs; at laptop scale those that were kept, unless they are to be trained again."""
    if scale.name == "laptop" and not retrain:
        return json.loads(KEPT.read_text(encoding="utf-8"))
    steps, count = (160, 64) if scale.name != "smoke" else (4, 8)
    return {id: run(id, scale, steps, count) for id in RUNS}


def show(found: dict[str, dict[str, float]], names: tuple[str, ...], label: str):
    """Bars of these measurements of all runs, with a dashed line for what guessing gives."""
    groups = {id: {name: scores[name] for name in names} for id, scores in found.items()}
    drawn, words = plots.bars(groups, label), []
    axes = drawn.axes[0]
    for name, (short, level) in GUESSES.items():
        if name in names:
            words.append(f"guessing, {short}: {level:.3g}")
            style = {"color": plots.COLOURS[names.index(name)], "linestyle": "--", "linewidth": 1.4}
            axes.axhline(level, label=words[-1], **style)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    drawn.description += f" Dashed: {'; '.join(words)}."
    return drawn


if __name__ == "__main__":
    torch.set_num_threads(1)
    made = runs(Scale.of("laptop"), retrain=True)
    KEPT.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(made, indent=1))
