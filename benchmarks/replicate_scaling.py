"""Loss at equal compute: small language models of characters at three budgets. Writes benchmarks/results/replicate_scaling.json.

    python -m benchmarks.replicate_scaling [--scale smoke|laptop] [--seeds 3] [--workers 1]    about 25 minutes on one core

Chinchilla's second approach (Hoffmann et al. 2022, Sec. 3.2): fix the floating-point operations C = 6 N D, train models of
several sizes N on D = C / (6 N) tokens each. Every run has its own learning-rate schedule, which ends when its tokens end.
Rows that the file has already are kept. "exponents": of each seed, the slope of the best size over compute on a log-log plot.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
import typer

from teaching import scaling_models, scaling_valley
from vlmcourse.evaluation import load_results, save_results

app = typer.Typer(add_completion=False)
BUDGETS: dict[float, tuple[tuple[int, ...], int]] = {
    3e10: ((8, 12, 16, 24, 32), 8),
    1e11: ((12, 16, 24, 32, 48), 16),
    3e11: ((24, 32, 48, 64), 32),
}
"""{floating-point operations: (widths, windows a step)}."""
SMOKE: dict[float, tuple[tuple[int, ...], int]] = {1e8: ((8, 12, 16), 8)}


def at_equal_compute(flops: float, width: int, batch: int, seed: int) -> dict[str, float]:
    """One model of this width, trained with so many floating-point operations."""
    torch.set_num_threads(1)
    size = scaling_models.CharacterModel(width).parameters_that_multiply()
    row = scaling_models.train(width, flops / (6 * size), batch, seed, corpus=8_000_000)
    print(row, flush=True)
    return {"flops": flops, "seed": seed, **row}


def exponents(rows: list[dict]) -> list[dict]:
    """The exponent of each seed whose every budget has a best size inside."""
    found, budgets = [], sorted({row["flops"] for row in rows})
    for seed in sorted({row["seed"] for row in rows}):
        runs = [
            [row for row in rows if (row["flops"], row["seed"]) == (flops, seed)]
            for flops in budgets
        ]
        if min(map(len, runs)) < 3:
            continue  # a parabola needs three sizes
        best = [
            scaling_valley.valley([row["parameters"] for row in run], [row["loss"] for row in run])
            for run in runs
        ]
        if len(budgets) > 1 and all(inside for _, inside in best):
            slope = np.polyfit(np.log(budgets), np.log([size for size, _ in best]), 1)[0]
            found.append({"seed": seed, "exponent": float(slope)})
    return found


@app.command()
def main(scale: str = "laptop", seeds: int = 3, workers: int = 1) -> None:
    """Trains what is missing, one thread a worker, and writes the file after each model."""
    small = scale == "smoke"
    name = "replicate_scaling" + ("_smoke" if small else "")
    try:
        rows = load_results(name)["rows"]
    except FileNotFoundError:
        rows = []
    there = {(row["flops"], row["width"], row["seed"]) for row in rows}
    with ProcessPoolExecutor(workers) as pool:
        for seed in range(seeds):
            jobs = [
                pool.submit(at_equal_compute, flops, width, batch, seed)
                for flops, (widths, batch) in (SMOKE if small else BUDGETS).items()
                for width in widths
                if (flops, width, seed) not in there
            ]
            for job in jobs:
                rows.append(job.result())
                save_results(name, rows, scale=scale, exponents=exponents(rows))
    save_results(name, rows, scale=scale, exponents=exponents(rows))


if __name__ == "__main__":
    app()
