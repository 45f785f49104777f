"""Lesson 15: fine-tuning repeated with several seeds (real_weights_study.json), and its claims.

python -m teaching.real_weights_study      trains again and replaces the file, about ten minutes
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from teaching import real_weights_model as training
from vlmcourse import recipes
from vlmcourse.evaluation.controls import Spread, spread
from vlmcourse.training.scale import Scale

FILE = Path(__file__).with_suffix(".json")
SEEDS, STEPS = (0, 1, 2, 3, 4), 80
ALPHAS = (0.0, 0.5, 1.0)
SHARES = tuple(training.DECAY**above for above in (5, 4, 3, 2, 1))
"""Rates of the image encoder's layers in "slower below", from the pixels up, as shares of the highest."""
MEAN_SHARE = sum(SHARES) / len(SHARES)
WAYS = {
    "all layers alike": {},
    "slower below": {"decay": training.DECAY},
    "one smaller rate": {"image_shares": (MEAN_SHARE,) * len(SHARES)},
    "slower above": {"image_shares": SHARES[::-1]},
    "lower half frozen": {"frozen": 3},
}
"""Way to fine-tune -> options of train_way."""


def measure(seed: int) -> list[dict]:
    """Accuracies of each way and alpha: rows of {"seed", "way", "alpha", "test crops", "drawings", "photographs"}.

    photographs  shares of right test crops of the regions, summed over each photograph's
    """
    scale, rows = Scale.of("laptop"), []
    clip, task = (
        recipes.get("clip").train_or_load(scale).model,
        training.new_task(Scale.of("laptop")),
    )
    start = training.with_new_words(clip, task, training.PARTS["grow_embedding"])
    for way, options in WAYS.items():
        model, _ = training.train_way(clip, task, training.PARTS, STEPS, seed=seed, **options)
        for alpha in ALPHAS:
            mixed = training.PARTS["mix_models"](start, model, alpha)
            right = training.predicted(mixed, task, task.test) == task.test.labels
            shares = training.by_region(right, task.test.labels)
            rows.append(
                {
                    "seed": seed,
                    "way": way,
                    "alpha": alpha,
                    "test crops": shares.mean().item(),
                    "drawings": training.drawing_accuracy(mixed, scale),
                    "photographs": training.sums_by_photograph(shares).tolist(),
                }
            )
    return rows


def rows() -> list[dict]:
    """The rows of all seeds."""
    return json.loads(FILE.read_text("utf-8"))["rows"]


def values(way: str, alpha: float, what: str) -> Spread:
    """One measure of a way over seeds."""
    return spread([row[what] for row in rows() if (row["way"], row["alpha"]) == (way, alpha)])


def by_photograph(way: str) -> list[Tensor]:
    """For each seed the sums of right shares of a way's test crops over each photograph's regions, (6,)."""
    kept = [row for row in rows() if (row["way"], row["alpha"]) == (way, 1.0)]
    return [torch.tensor(row["photographs"]) for row in kept]


if __name__ == "__main__":
    found = [row for seed in SEEDS for row in measure(seed)]
    FILE.write_text(json.dumps({"steps": STEPS, "rows": found}, indent=1) + "\n", "utf-8")
