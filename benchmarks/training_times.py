"""How long training takes from nothing, stage by stage. Writes benchmarks/results/training_times.json.

    python -m benchmarks.training_times [--scale smoke|laptop] [--only clip] [--steps 12]     some minutes on one core

Each stage that ships is prepared and trained for a few steps; the rest is their median times the steps that are left. Counted are
seconds of the processor, on one thread, so that other work on the machine doesn't count. `seconds` of the shipped file's own
history, beside it, are those of a clock, on whatever machine it was, however busy. Features of a frozen tower that are computed
as pictures come up are counted at their price of the first steps, though later steps find most of them: an upper bound.
"""

from __future__ import annotations

import statistics
import time

import torch
import typer

from vlmcourse import recipes
from vlmcourse.evaluation import load_matching_results, save_results
from vlmcourse.recipes import shipping
from vlmcourse.training import checkpoint, stages
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.scale import Scale

app = typer.Typer(add_completion=False)


def measured(name: str, size: Scale, steps: int) -> dict:
    """Seconds of preparation with the first step, of a step, and of all steps of the recipe."""
    recipe = recipes.get(name)
    sizes = recipe.sizes[size.name]
    start = time.process_time()
    run = recipe.prepare(size)
    batches = Batches(run.data.batch, sizes.batch, run.examples, 0)
    times = [start]
    for _ in fit(run.model, batches, steps, recipe.optimisation, precision=torch.float32):
        times.append(time.process_time())
    taken = [later - earlier for earlier, later in zip(times, times[1:])]
    step = statistics.median(taken[1:])
    _, notes = checkpoint.load(stages.SHIPPED / f"{name}.safetensors")
    found = {
        "row": name,
        "steps": sizes.steps,
        "first step": taken[0],
        "step": step,
        "minutes": (taken[0] + step * (sizes.steps - 1)) / 60,
        "minutes by the clock, shipped file": notes["history"][-1][5] / 60,
    }
    print(found, flush=True)
    return found


@app.command()
def main(
    scale: str = "laptop",
    only: list[str] = typer.Option([], help="Names of stages; default: all that ship."),  # noqa: B008
    steps: int = 12,
) -> None:
    """Measures what isn't measured yet; writes after each stage."""
    torch.set_num_threads(1)
    size, name = Scale.of(scale), "training_times" + ("_smoke" if scale == "smoke" else "")
    facts = {"scale": scale, "measured": steps}
    rows = load_matching_results(name, **facts).get("rows", [])
    rows = [row for row in rows if row["row"] not in only]
    for stage in only or shipping.shipped_names():
        if not any(row["row"] == stage for row in rows):
            rows.append(measured(stage, size, steps))
            save_results(name, rows, **facts)
    print(f"together {sum(row['minutes'] for row in rows):.0f} minutes")


if __name__ == "__main__":
    app()
