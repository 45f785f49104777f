"""Vaswani et al.'s Table 3 on lesson 01's look-up task: heads, positions, scaling. Writes benchmarks/results/replicate_attention.json.

    python -m benchmarks.replicate_attention [--steps 400]     about 8 minutes on 2 cores

A run that was stopped goes on where it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import typer
from torch import Tensor, nn

from teaching.attention_answers import (
    MultiHeadAttention,
    PreNormBlock,
    masked_attention,
    prefix_mask,
    sinusoidal_positions,
)
from teaching.lookup import LookUp, LookUpTask, accuracy, train
from vlmcourse.evaluation import load_matching_results, save_results

NAME, WIDTH, SEEDS, LEARNT = "replicate_attention", 64, range(3), 0.5
app = typer.Typer(add_completion=False, help=__doc__)


class Unscaled(MultiHeadAttention):
    """The control for the scaling: scores are not divided by the square root of a head's width."""

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        q, k, v = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        attended = masked_attention(q * math.sqrt(q.shape[-1]), k, v, allowed)
        return self.output(attended.transpose(1, 2).flatten(2))


ROWS = {
    "4 heads, sinusoids, causal": {},
    "1 head": {"heads": 1},
    "16 heads": {"heads": 16},
    "32 heads": {"heads": 32},
    "learned positions": {"positions": "learned"},
    "no positions": {"positions": "none"},
    "1 head, not scaled": {"heads": 1, "attention": Unscaled},
    "no mask (bi-directional)": {"prefix_length": True},
    "blind": {"blind": True},
}


def measure(
    steps: int,
    seed: int,
    heads: int = 4,
    positions: str = "sinusoids",
    attention: Callable[[int, int], nn.Module] = MultiHeadAttention,
    prefix_length: bool = False,
    blind: bool = False,
) -> dict[str, float]:
    """Accuracy after training, and the step at which the loss has fallen to LEARNT nats (mean of 20 steps; `steps`: never)."""
    task = LookUpTask()
    allowed = prefix_mask(task.length if prefix_length else 0, task.length)
    if blind:
        allowed[-1, :-1] = False
    vectors = {
        "sinusoids": sinusoidal_positions(task.length, WIDTH),
        "none": torch.zeros(task.length, WIDTH),
        "learned": None,
    }[positions]
    model = LookUp(task, allowed, attention, PreNormBlock, vectors, WIDTH, heads, seed=seed)
    losses: list[float] = []
    train(model, task, steps, lambda step: losses.append(step.loss), seed=seed)
    means = [sum(losses[end - 20 : end]) / 20 for end in range(20, steps + 1)]
    reached = next((end for end, loss in enumerate(means, 20) if loss < LEARNT), steps)
    return {"accuracy": accuracy(model, task), "steps to learn": reached}


@app.command()
def main(steps: int = 400) -> None:
    rows = load_matching_results(NAME, steps=steps).get("rows", [])
    done = {(row["row"], row["seed"]) for row in rows}
    for seed in SEEDS:
        for name, options in ROWS.items():
            if (name, seed) not in done:
                rows.append({"row": name, "seed": seed, **measure(steps, seed, **options)})
                save_results(NAME, rows, steps=steps)
                print(rows[-1], flush=True)


if __name__ == "__main__":
    app()
