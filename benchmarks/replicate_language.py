"""What the tiny language model learns, when, and at what price. Writes benchmarks/results/replicate_language.json.

    python -m benchmarks.replicate_language [--scale smoke|laptop|gpu] [--only phase|learning]

phase     binding, facts and repeats while plain layers read short texts: three seeds   about 25 minutes on 2 cores
learning  what the shipped recipe binds and knows in words with image tags, while it
          learns and at last: three seeds                                               about 9 minutes a seed and core

A run keeps what the file has: the other part, and the seeds that are there.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, as_completed

import torch
import typer

from vlmcourse import recipes, world
from vlmcourse.evaluation import eval_mode, load_results, save_results
from vlmcourse.parts.language import LanguageModel
from vlmcourse.training.fit import Step
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer

app = typer.Typer(add_completion=False)
PARTS = ("phase", "learning")


def phase(scale: Scale, seed: int) -> list[dict]:
    """Rows over the steps of one pretraining run on short texts, from plain random layers."""
    torch.set_num_threads(1)
    model, rows = recipes.language.new_language(scale, seed), []

    def look(step: Step) -> None:
        if step.step == 1 or step.step % max(1, step.steps // 30) == 0:
            report = recipes.language.language_report(model, 256)
            rows.append(
                {
                    "seed": seed,
                    "step": step.step,
                    "loss": step.loss,
                    "binding": report["binding"],
                    "facts": report["facts"],
                    "repeats": repeats(model),
                }
            )
            print(rows[-1], flush=True)

    short = recipes.get("language_short")
    short.train_or_load(scale, seed, model=model, on_step=look, retrain=True)
    return rows


def learning(scale: Scale, seed: int) -> dict:
    """One training by the shipped recipe, also of what is in the cache: its losses, tests on the way, and all tests of
    world.word_tests at the end."""
    torch.set_num_threads(1)
    model, curve = recipes.language.new_language(scale, seed).eval(), []
    count = 4 if scale.name == "smoke" else 128

    def look(step: Step) -> None:
        if step.step % max(1, step.steps // 15) == 0:
            report = recipes.language.word_report(model, count // 2, names=CURVES)
            curve.append({"step": step.step} | step.losses | report)
            print(seed, curve[-1], flush=True)

    language = recipes.get("language")
    stage = language.train_or_load(scale, seed, model=model, on_step=look, retrain=True)
    seconds = round(stage.history[-1].seconds)
    report = recipes.language.word_report(model, count)
    print(seed, report, flush=True)
    return {"seed": seed, "seconds": seconds, "words": report, "curve": curve}


CURVES = (
    "names, 1 shots, tags",
    "names, 4 shots, tags",
    "names, 16 shots, tags",
    "facts",
    "category, 0 shots, tags",
    "relation",
    "relation, turned",
)
"""Tests that are made while the model learns."""


def repeats(model: LanguageModel, count: int = 64) -> float:
    """Share of words of the second period of random repeated words that the model foretells: the induction score."""
    made = [
        world.documents.repeats(world.SeededRandom("test repeats", index)) for index in range(count)
    ]
    ids = tokenizer.encode(made)
    period = torch.tensor([text.split().index(text.split()[0], 1) for text in made])
    with eval_mode(model):
        said = model(ids).argmax(-1)
    at = torch.arange(ids.shape[1] - 1)
    second = (at >= period[:, None]) & (at < 2 * period[:, None])
    return (said[:, :-1] == ids[:, 1:])[second].float().mean().item()


@app.command()
def main(
    scale: str = "laptop",
    only: list[str] = typer.Option(list(PARTS), help="Which parts to measure."),
    seeds: int = typer.Option(3, help="Runs of the parts phase and learning."),
    workers: int = 2,
) -> None:
    """Measures, one thread a worker, and writes results/replicate_language.json."""
    size, name = Scale.of(scale), "replicate_language" + ("_smoke" if scale == "smoke" else "")
    measured = load_results(name)["rows"][0] if set(only) != set(PARTS) else {}
    known = {part: measured.get(part, []) for part in PARTS}
    missing = {
        part: sorted({*range(seeds)} - {row["seed"] for row in rows})
        for part, rows in known.items()
    }
    work = {
        "phase": [(phase, size, seed) for seed in missing["phase"]],
        "learning": [(learning, size, seed) for seed in missing["learning"]],
    }
    steps = recipes.get("language_short").sizes[size.name].steps
    with ProcessPoolExecutor(workers) as pool:
        running = {
            part: [pool.submit(*job) for job in work[part]] for part in PARTS if part in only
        }
        for part, jobs in running.items():
            measured[part] = known[part]
            for one in as_completed(jobs):
                found = one.result()
                measured[part] = measured[part] + (found if part == "phase" else [found])
                measured[part].sort(key=lambda row: row["seed"])
                save_results(name, [measured], scale=scale, steps=steps)
    print(f"Kept {save_results(name, [measured], scale=scale, steps=steps)}")


if __name__ == "__main__":
    app()
