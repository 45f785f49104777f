"""What the tiny language model learns, when, and at what price. Writes benchmarks/results/replicate_language.json.

    python -m benchmarks.replicate_language [--scale smoke|laptop|gpu] [--only phase|flops|tuning|learning]

phase     binding, facts and repeats while plain layers read short texts: three seeds   about 25 minutes on 2 cores
flops     loss at equal compute for models of different sizes (isoFLOP)                 about 10 minutes
tuning    adapters, BitFit, prompt tuning and all weights on a new task                 about 5 minutes
learning  what the shipped recipe binds and knows in words with image tags, while it
          learns and at last: three seeds                                               about 9 minutes a seed and core

A run of one part keeps what the file has: all of the other parts, and the seeds of `phase` and `learning` that are there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from operator import eq

import torch
import typer
from torch import nn

from vlmcourse import recipes, world
from vlmcourse.evaluation import choose_next_token, eval_mode, load_results, save_results
from vlmcourse.parts.language import LanguageModel, tiny
from vlmcourse.parts.tuning import Adapters, BitFit, PromptTuning, count_trainable
from vlmcourse.recipes.language import SHORT_OPTIMISATION, text_prompts
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step, fit
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer
from vlmcourse.world.documents import CategoryTask, Documents

app = typer.Typer(add_completion=False)
PARTS = ("phase", "flops", "tuning", "learning")


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
    """One training by the shipped recipe: its losses, tests on the way (not of a model that is there already, as the shipped one
    of seed 0), and all tests of world.word_tests at the end."""
    torch.set_num_threads(1)
    model, curve = recipes.language.new_language(scale, seed).eval(), []
    count = 4 if scale.name == "smoke" else 128

    def look(step: Step) -> None:
        if step.step % max(1, step.steps // 15) == 0:
            curve.append({"step": step.step} | step.losses)
            if model.training:
                curve[-1] |= recipes.language.word_report(model, count // 2, names=CURVES)
            print(seed, curve[-1], flush=True)

    stage = recipes.get("language").train_or_load(scale, seed, model=model, on_step=look)
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


def at_equal_compute(
    flops: float, width: int, depth: int, batch: int = 16, length: int = 128
) -> dict:
    """The loss on new documents of a model of this width, trained with so many floating-point operations (6 N D)."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = LanguageModel(tiny(len(tokenizer.world_tokenizer()), width, depth, max(1, width // 16)))
    size = sum(p.numel() for p in model.parameters())
    steps = round(flops / (6 * size * batch * length))
    batches = Batches(Documents(length=length).batch, batch)
    list(fit(model, batches, steps, SHORT_OPTIMISATION, precision=torch.float32))
    test = Documents(split="test", length=length).batch(range(64))
    with torch.no_grad():
        row = {
            "flops": flops,
            "width": width,
            "parameters": size,
            "steps": steps,
            "tokens": steps * batch * length,
            "loss": model.losses(test)["lm"].item(),
        }
    print(row, flush=True)
    return row


def tuned(name: str, seed: int, scale: Scale, steps: int) -> dict:
    """One way of learning the task Sorting; scores on held-out nouns, and what the model still knows of its facts."""
    torch.set_num_threads(1)
    task = CategoryTask(seed)
    lm = copy.deepcopy(recipes.get("language").train_or_load(scale).model.lm)
    model: nn.Module = WAYS[name](lm, scale)
    if steps and count_trainable(model):
        rate = 3e-2 if name.startswith("prompt") else 3e-3
        list(
            fit(
                model,
                Batches(task.batch, 32),
                steps,
                Optimisation(rate, weight_decay=0.0),
                seed=seed,
                precision=torch.float32,
            )
        )
    learnt, held_out = task.split()
    facts = recipes.language.language_report(model, 2)["facts"]
    row = {
        "way": name,
        "seed": seed,
        "learns": count_trainable(model),
        "of": sum(p.numel() for p in lm.parameters()),
        "held-out nouns": right(model, task, held_out),
        "training nouns": right(model, task, learnt),
        "facts": facts,
    }
    print(row, flush=True)
    return row


def right(model: nn.Module, task: CategoryTask, words: list[str]) -> float:
    """Share of these nouns sorted rightly: the likeliest of the invented words of the task."""
    choices = list(task.meaning.values())
    said = choose_next_token(
        model, text_prompts([task.question(word) for word in words]), [choices] * len(words)
    )
    return sum(map(eq, said, map(task.answer, words))) / len(words)


def _untouched(lm: nn.Module, scale: Scale) -> LanguageModel:
    return LanguageModel(lm.requires_grad_(False))


def _untrained(lm: nn.Module, scale: Scale) -> LanguageModel:
    return recipes.language.new_language(scale, seed=7)


WAYS: dict[str, Callable[[nn.Module, Scale], nn.Module]] = {
    "untouched": _untouched,
    "prompt, 1 vector": lambda lm, scale: PromptTuning(lm, 1),
    "prompt, 5 vectors": lambda lm, scale: PromptTuning(lm, 5),
    "prompt, 20 vectors": lambda lm, scale: PromptTuning(lm, 20),
    "BitFit": lambda lm, scale: BitFit(lm),
    "adapters, 2 wide": lambda lm, scale: Adapters(lm, 2),
    "adapters, 8 wide": lambda lm, scale: Adapters(lm, 8),
    "all weights": lambda lm, scale: LanguageModel(lm),
    "all weights, never pretrained": _untrained,
}


@app.command()
def main(
    scale: str = "laptop",
    only: list[str] = typer.Option(list(PARTS), help="Which parts to measure."),
    seeds: int = typer.Option(3, help="Runs of the parts phase and learning."),
    workers: int = 2,
) -> None:
    """Measures, one thread a worker, and writes results/replicate_language.json."""
    size, name, small = (
        Scale.of(scale),
        "replicate_language" + ("_smoke" if scale == "smoke" else ""),
        scale == "smoke",
    )
    measured = load_results(name)["rows"][0] if set(only) != set(PARTS) else {}
    known = {part: measured.get(part, []) for part in ("phase", "learning")}
    missing = {  # the shipped model's seed, 0, comes last
        part: sorted({*range(seeds)} - {row["seed"] for row in rows}, reverse=True)
        for part, rows in known.items()
    }
    recipes.get("language").train_or_load(size)  # once, before the workers ask for it
    budgets, widths = (
        ((1e9,), (16, 32)) if small else ((3e11, 1e12, 3e12), (16, 24, 32, 48, 64, 96, 128))
    )
    work = {
        "phase": [(phase, size, seed) for seed in missing["phase"]],
        "flops": [
            (at_equal_compute, budget, width, 1 if small else 3)
            for budget in budgets
            for width in widths
        ],
        "tuning": [
            (tuned, way, seed, size, 3 if small else 300)
            for way in WAYS
            for seed in range(size.seeds)
        ],
        "learning": [(learning, size, seed) for seed in missing["learning"]],
    }
    steps = recipes.get("language_short").sizes[size.name].steps
    with ProcessPoolExecutor(workers) as pool:
        running = {
            part: [pool.submit(*job) for job in work[part]] for part in PARTS if part in only
        }
        for part, jobs in running.items():
            measured[part] = known.get(part, [])
            for one in as_completed(jobs) if part in known else jobs:
                found = one.result()
                measured[part] = measured[part] + (found if part == "phase" else [found])
                if part in known:
                    measured[part].sort(key=lambda row: row["seed"])
                    save_results(name, [measured], scale=scale, steps=steps)
    print(f"Kept {save_results(name, [measured], scale=scale, steps=steps)}")


if __name__ == "__main__":
    app()
