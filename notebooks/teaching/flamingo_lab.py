"""Lesson 11's failure lab: five small trainings, four of them with one fault; and by how much our two changes speed training up.

python -m teaching.flamingo_lab     (in notebooks/) runs them at laptop scale, two minutes of one core, and keeps flamingo_lab.json
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from teaching import flamingo_model as small
from teaching.flamingo_reference import PARTS, GatedBlock, image_mask, interleave
from vlmcourse import plots, recipes
from vlmcourse.evaluation import eval_mode
from vlmcourse.parts.masks import phi
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer

KEPT = Path(__file__).with_suffix(".json")
LOSSES = ("first step", "last steps")
SCORES = ("noun after picture 1", "noun after picture 2")
MOVES = ("with picture 1", "with picture 2")
EXCHANGED = tuple(f"{score}, picture 1 exchanged" for score in SCORES)
NO_THING = "'picture' after picture 2"
"""Share of pages on which "picture", no thing's name, is the likeliest word where the second noun stands."""
LEARNT = 0.1
"""Nats per word: a mean loss of five steps below this counts as learnt."""

CHANGES = {
    "both changes": (True, small.GATE_LEARNING_RATE),
    "fast gates alone": (False, small.GATE_LEARNING_RATE),
    "fitted outputs alone": (True, 1.0),
    "neither": (False, 1.0),
}
"""What is ours, not the paper's: are outputs of fitted size, and the gates' learning rate in units of the others'."""


class OpenBlock(GatedBlock):
    """Without gates: both outputs are added as they are."""

    def forward(self, y: Tensor, latents: Tensor, mask: Tensor) -> Tensor:
        y = y + self.cross_attention(y, latents, mask)
        return y + self.feedforward(y)


class StuckBlock(GatedBlock):
    """Gates that are frozen together with the language model."""

    def __init__(self, cross_attention: nn.Module, feedforward: nn.Module):
        super().__init__(cross_attention, feedforward)
        self.alpha_xattn.requires_grad_(False)
        self.alpha_dense.requires_grad_(False)


def next_image(ids: Tensor, image_token_id: int, N: int, R: int) -> Tensor:
    """image_mask with every number of an image one too high."""
    begun = torch.cat([torch.full_like(ids[:, :1], image_token_id), ids], dim=1)
    return image_mask(begun, image_token_id, N, R)[:, 1:]


def all_images(ids: Tensor, image_token_id: int, N: int, R: int) -> Tensor:
    """Each token attends to all pictures of its page."""
    return torch.ones_like(image_mask(ids, image_token_id, N, R))


RUNS: dict[str, dict] = {
    "healthy": {},
    "A": {"image_mask": all_images},
    "B": {"GatedBlock": StuckBlock},
    "C": {"image_mask": next_image},
    "D": {"GatedBlock": OpenBlock},
}


def moved(model: small.BuiltFlamingo, pages: small.Pages) -> list[float]:
    """How far the first block's output at words after picture 1 moves when picture 1, or 2, is another page's."""
    batch, parts, found = pages.whole, model.parts, []
    ids, R, C = batch["ids"], model.config.latents, model.config.vision_width
    here = phi(ids == model.config.image_token_id) == 1
    mask = parts["image_mask"](ids, model.config.image_token_id, 2, R)
    table = model.lm.get_input_embeddings()
    with eval_mode(model):
        y = parts["embed_tokens"](table, model.new_rows, model.new_ids, ids)
        latents = parts["resample"](model.resampler, batch["features"]).reshape(len(ids), 2, R, C)
        before = model.blocks[0](y, latents.flatten(1, 2), mask)
        for which in (0, 1):
            other = latents.clone()
            other[:, which] = latents[:, which].roll(1, 0)
            after = model.blocks[0](y, other.flatten(1, 2), mask)
            found.append((after - before)[here].norm(dim=-1).mean().item())
    return found


def prepared(scale: Scale, count: int) -> tuple[nn.Module, small.Pages, small.Pages]:
    """The language model, pages to learn from, and `count` new ones."""
    lm = recipes.get("language").train_or_load(scale).model.lm
    cache = small.feature_cache(scale)
    pages, new = (
        small.Pages(small.TwoPictures(split, cache, interleave), number)
        for split, number in (("train", 4 * count), ("test", count))
    )
    return lm, pages, new


def share_of_word(model: small.BuiltFlamingo, pages: small.Pages, word: str) -> float:
    """Share of pages on which this word is the likeliest where the second noun stands."""
    batch, answer = pages.whole, tokenizer.encode([word])[0, 1]
    with eval_mode(model):
        likeliest = model(batch["ids"], batch["features"])[:, :-1].argmax(-1)
    at_nouns = likeliest[batch["nouns"][:, 1:]].unflatten(0, (pages.size, 2))
    return (at_nouns[:, 1] == answer).float().mean().item()


def run(id: str, scale: Scale, steps: int, count: int) -> dict[str, float]:
    """Trains one run: its losses, its right nouns on new pages, and which picture moves its words."""
    lm, pages, new = prepared(scale, count)
    model = small.build(small.small_config(scale), deepcopy(lm), {**PARTS, **RUNS[id]})
    history, _ = small.train(model, pages, steps)
    last = [step.loss for step in history[-max(1, steps // 20) :]]
    exchanged = new.whole["features"].unflatten(0, (count, 2)).clone()
    exchanged[:, 0] = exchanged[:, 0].roll(1, 0)
    return (
        dict(zip(LOSSES, (history[0].loss, sum(last) / len(last))))
        | dict(zip(SCORES, small.right_nouns(model, new)))
        | dict(zip(MOVES, moved(model, new)))
        | dict(zip(EXCHANGED, small.right_nouns(model, new, exchanged.flatten(0, 1))))
        | {NO_THING: share_of_word(model, new, "picture")}
    )


def runs(scale: Scale, retrain: bool = False) -> dict[str, dict[str, float]]:
    """All runs; at laptop scale those that were kept, unless they are to be trained again."""
    if scale.name == "laptop" and not retrain:
        return json.loads(KEPT.read_text(encoding="utf-8"))["runs"]
    return {id: run(id, scale, *lengths(scale)) for id in RUNS}


def lengths(scale: Scale) -> tuple[int, int]:
    """Steps of a training, and new pages it is tested on."""
    return (4, 8) if scale.name == "smoke" else (small.STEPS, small.TESTED)


def steps_to_learn(scale: Scale, fitted: bool, gate_rate: float) -> int | None:
    """At which step the mean loss of five is below LEARNT; None: not in this training."""
    steps, count = lengths(scale)
    lm, pages, _ = prepared(scale, count)
    model = small.build(small.small_config(scale), deepcopy(lm), PARTS, fitted=fitted)
    optimisation = replace(small.OPTIMISATION, gate_rate=gate_rate)
    history, _ = small.train(model, pages, steps, optimisation=optimisation)
    losses = [step.loss for step in history]
    below = (end for end in range(5, steps + 1) if sum(losses[end - 5 : end]) < 5 * LEARNT)
    return next(below, None)


def speed(scale: Scale, retrain: bool = False) -> dict[str, int | None]:
    """`steps_to_learn` with and without our two changes; at laptop scale what was kept."""
    if scale.name == "laptop" and not retrain:
        return json.loads(KEPT.read_text(encoding="utf-8"))["steps to learn"]
    return {name: steps_to_learn(scale, *change) for name, change in CHANGES.items()}


def about_speed(scale: Scale) -> str:
    """The same in words."""
    counted = ", ".join(f"{number} with {name}" for name, number in speed(scale).items())
    return f"first step at which the mean loss of five is below {LEARNT}: {counted} (one seed)"


def show(found: dict[str, dict[str, float]], names: tuple[str, ...], label: str, **options):
    """Bars of these measurements of all runs."""
    groups = {id: {name: values[name] for name in names} for id, values in found.items()}
    return plots.bars(groups, label, **options)


def show_scores(found: dict[str, dict[str, float]]):
    """Bars of the right nouns of all runs, with the share of guessing after the article."""
    return show(found, SCORES, "right nouns (share)", chance=small.CHANCE, highest=1, form=".2f")


def relative(found: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """The runs' MOVES in units of the larger one of each run; both 0 where nothing moves."""
    largest = {id: max(values[name] for name in MOVES) or 1.0 for id, values in found.items()}
    return {
        id: {name: values[name] / largest[id] for name in MOVES} for id, values in found.items()
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    laptop = Scale.of("laptop")
    made = {
        "runs": runs(laptop, retrain=True),
        "steps to learn": speed(laptop, retrain=True),
    }
    KEPT.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(made, indent=1))
