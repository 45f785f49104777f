"""Induction heads in models of one and two layers, with and without a start that sets them. Writes results/replicate_induction.json.

    python -m benchmarks.replicate_induction [--steps 300]     about 4 minutes of one core

The task: things with invented names (teaching/language_model_induction.py). After training, each head is removed alone.
"""

from __future__ import annotations

import typer

from teaching.language_model_answers import next_word_loss
from teaching.language_model_induction import (
    ROWS,
    NamedPairs,
    learner,
    learning_curve,
    naming,
    previous_scores,
    scores_of_heads,
    without_head,
)
from vlmcourse.evaluation import load_matching_results, save_results

NAME, SEEDS, POINTS = "replicate_induction", range(3), 15
app = typer.Typer(add_completion=False, help=__doc__)


def measure(row: str, seed: int, steps: int) -> dict:
    """The learning curve of one model, and of each of its heads: scores, and the accuracy without it."""
    model, task = learner(row, next_word_loss, seed), naming("short")
    curve = learning_curve(model, steps, max(1, steps // POINTS), seed)
    own, other = scores_of_heads(model, task)
    previous, heads = previous_scores(model, task), []
    for layer, head in [(i, j) for i in range(len(own)) for j in range(own.shape[1])]:
        with without_head(model, layer, head):
            accuracy = NamedPairs().accuracy(model)
        scores = {"own": own, "other": other, "previous": previous}
        found = {name: values[layer, head].item() for name, values in scores.items()}
        heads.append({"layer": layer, "head": head} | found | {"accuracy without": accuracy})
    return {"row": row, "seed": seed, "curve": curve, "heads": heads}


@app.command()
def main(steps: int = 300) -> None:
    rows = load_matching_results(NAME, steps=steps).get("rows", [])
    done = {(row["row"], row["seed"]) for row in rows}
    for seed in SEEDS:
        for row in ROWS:
            if (row, seed) not in done:
                rows.append(measure(row, seed, steps))
                save_results(NAME, rows, steps=steps)
                print(row, seed, rows[-1]["curve"][-1], flush=True)


if __name__ == "__main__":
    app()
