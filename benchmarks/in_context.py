"""In-context learning in every seed: names bound to pictures by Flamingo and Frozen. Writes benchmarks/results/in_context.json.

    python -m benchmarks.in_context [--scale smoke|laptop|gpu] [--seeds 3] [--only flamingo|frozen|frozen_word_hull]

flamingo          on captions, pages of names and of questions, of 48 nouns; what things are for (purpose) is never asked there
frozen            the recipe of this name, on captions of all nouns: its prefix is linear, as the paper's
frozen_word_hull  the recipe of this name: its prefix ends in the hull of words (an addition of the course)

A run keeps what the file has of other models and seeds. `seconds` are those of training, on one core that may have had other
work; the tests take as long again.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import typer

from vlmcourse import recipes
from vlmcourse.recipes import frozen, in_context
from vlmcourse.recipes.few_shot_report import ALL_NOUNS, binding_report, knowledge_report
from vlmcourse.training.fit import Step
from vlmcourse.training.scale import Scale
from vlmcourse.world.prompts import blank_images
from vlmcourse.world.rendering import to_pixels

app = typer.Typer(add_completion=False)
RESULTS = Path(__file__).parent / "results"
MODELS = ("flamingo", "frozen", "frozen_word_hull")


def shown(step: Step) -> None:
    """A line every hundred steps."""
    if step.step % 100 == 0:
        print(
            f"step {step.step} of {step.steps}, loss {step.loss:.2f}, {step.seconds:.0f} s",
            flush=True,
        )


def measured(name: str, scale: Scale, seed: int, count: int) -> dict:
    """One trained model and its tests."""
    if name == "flamingo":
        stage = in_context.flamingo(scale, seed, on_step=shown)
        nouns, score, blind = (
            in_context.SHOWN,
            *(
                in_context.score(stage.model.model, scale.image_size, view)
                for view in (to_pixels, blank_images)
            ),
        )
    else:
        stage = recipes.get(name).train_or_load(scale, seed, on_step=shown)
        nouns, score, blind = (
            ALL_NOUNS,
            *(frozen.score(stage.model, view) for view in (to_pixels, blank_images)),
        )
    row = {"seed": seed, "questions": count, "seconds": round(stage.history[-1].seconds)}
    row |= binding_report(score, blind, count, nouns)
    row["knowledge"] = knowledge_report(score, count // 2, nouns=nouns)
    print(name, json.dumps(row), flush=True)
    return row


@app.command()
def main(
    scale: str = "laptop",
    seeds: int = 3,
    first: int = 0,
    only: list[str] = typer.Option(list(MODELS), help="Which models."),  # noqa: B008
    count: int = typer.Option(256, help="Questions of each test; of controls four times as many."),
) -> None:
    """Trains (or loads from the cache) and tests each model with each seed; keeps results after each."""
    torch.set_num_threads(1)
    size, name = Scale.of(scale), "in_context" + ("_smoke" if scale == "smoke" else "")
    for model in only:
        for seed in range(first, seeds):
            keep(name, model, measured(model, size, seed, count))


def keep(name: str, model: str, row: dict) -> None:
    """Puts one row into the file, in the place of an older one of this model and seed."""
    try:
        known = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = {}
    rows = [one for one in known.get(model, []) if one["seed"] != row["seed"]] + [row]
    known |= {
        "command": "python -m benchmarks.in_context",
        "chance": 0.25,
        model: sorted(rows, key=lambda one: one["seed"]),
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app()
