"""Lesson 10's study of collapsed queries: small trainings of stage 1 that differ in which queries ITC trains.

python -m teaching.blip2_study   (in notebooks/) runs them at laptop scale, some minutes of one core, and keeps blip2_study.json
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from teaching.blip2_figures import line_named
from teaching.blip2_model import build, own_cosines, small_config, train
from teaching.blip2_reference import PARTS, image_text_similarity, queries_used
from vlmcourse import evaluation, plots, world
from vlmcourse.evaluation import eval_mode
from vlmcourse.recipes.blip2 import tower
from vlmcourse.recipes.features import CachedFeatures
from vlmcourse.training.in_memory import InMemory
from vlmcourse.training.scale import Scale

KEPT = Path(__file__).with_suffix(".json")
SEEDS = 3
MEASURES = ("effective number", "cosine between queries", "R@1")
"""What each row of the study measures."""


def mean_similarity(queries: Tensor, text: Tensor) -> Tensor:
    """The mean cosine of an image's queries in place of the largest."""
    return (normalize(queries, dim=-1) @ normalize(text, dim=-1).T).mean(1)


def similarity_of_half(queries: Tensor, text: Tensor) -> Tensor:
    """In training, the largest cosine of a random half of each image's queries."""
    if torch.is_grad_enabled():
        R = queries.shape[1]
        chosen = torch.rand(len(queries), R).argsort(1)[:, : R // 2]
        queries = queries.gather(1, chosen[..., None].expand(-1, -1, queries.shape[-1]))
    return image_text_similarity(queries, text)


VARIANTS: dict[str, dict[str, Callable]] = {
    "largest (paper)": {},
    "mean": {"image_text_similarity": mean_similarity},
    "largest of a random half": {"image_text_similarity": similarity_of_half},
}


def nothing(*_) -> Tensor:
    """A loss that is always 0."""
    return torch.zeros(())


WITHOUT_ITG = "largest, trained without ITG"
"""The paper's Table 6 says that ITG improves retrieval."""
ROWS = VARIANTS | {WITHOUT_ITG: {"itg_loss": nothing}}


def pictures(scale: Scale, split: str, count: int) -> InMemory:
    """Pictures of two things with captions that name both, as features."""
    pairs = world.Pairs(split, scale.image_size, things=(2, 2), caption=world.captions.annotated)
    return InMemory(CachedFeatures(pairs, tower(scale), count), count)


def run(name: str, seed: int, scale: Scale, steps: int, count: int) -> dict:
    """One training, measured on held-out pictures by its own similarity."""
    parts = {**PARTS, **ROWS[name]}
    model = build(small_config(scale), parts, seed)
    train(model, pictures(scale, "train", 8 * count), steps, seed=seed)
    held_out = pictures(scale, "test", count)
    batch = held_out.whole
    with eval_mode(model):
        queries, text = model.encode(batch["features"], batch["ids"])
        similarities = parts["image_text_similarity"](queries, text)
    pairs = cosine_similarity(queries[:, :, None], queries[:, None], dim=-1).mean(0)
    R = len(pairs)
    return {
        "row": name,
        "seed": seed,
        "effective number": queries_used(own_cosines(model, held_out))[1],
        "cosine between queries": ((pairs.sum() - R) / (R * R - R)).item(),
        "R@1": evaluation.recall_at_1(similarities, torch.arange(count)),
    }


def runs(scale: Scale, retrain: bool = False) -> list[dict]:
    """All runs; at laptop scale those that were kept, unless they are to be trained again."""
    if scale.name == "laptop" and not retrain:
        return kept()
    steps, count, seeds = (3, 8, 2) if scale.name == "smoke" else (100, 128, SEEDS)
    return [run(name, seed, scale, steps, count) for seed in range(seeds) for name in ROWS]


def kept() -> list[dict]:
    """The runs at laptop scale that ship with the lesson."""
    return json.loads(KEPT.read_text(encoding="utf-8"))


def over_seeds(rows: list[dict], name: str, what: str) -> evaluation.Spread:
    """A measurement of one row."""
    return evaluation.spread_over_seeds(rows, name, what)


def figure(rows: list[dict], what: str, label: str, chance: float | None = None, **options):
    """Bars of one measurement of all variants, over seeds."""
    groups: Mapping = {name: {what: over_seeds(rows, name, what)} for name in VARIANTS}
    drawn = plots.bars(groups, label, chance, sideways=True, form=".2f", **options)
    return drawn if chance is None else line_named(drawn, f"guessing: 1 in {1 / chance:.0f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    made = runs(Scale.of("laptop"), retrain=True)
    KEPT.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(made, indent=1))
