"""Prompt tuning, BitFit, adapters and full fine-tuning of the shipped language model. Writes benchmarks/results/replicate_tuning.json.

    python -m benchmarks.replicate_tuning [--scale smoke|laptop]    about 4 minutes on one core

"place"      a known fact is asked in a new form; "new words": thirteen words are to be learnt for known categories
"examples"   the task "place" with few examples, trained on or shown in the prompt
Each method is trained as often, from the same model; three seeds draw other nouns to hold out.
Rows that the file has already are kept.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import typer
from torch import nn

from teaching import tuning_task
from vlmcourse import recipes
from vlmcourse.evaluation import load_results, save_results
from vlmcourse.parts.language import LanguageModel
from vlmcourse.parts.tuning import Adapters, BitFit, PromptTuning, count_trainable
from vlmcourse.training.scale import Scale

app = typer.Typer(add_completion=False)
METHODS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "prompt, 1 vector": lambda lm: PromptTuning(lm, 1),
    "prompt, 5 vectors": lambda lm: PromptTuning(lm, 5),
    "prompt, 20 vectors": lambda lm: PromptTuning(lm, 20),
    "BitFit": BitFit,
    "adapters, width 8": lambda lm: Adapters(lm, 8),
    "all weights": LanguageModel,
    "all weights, not pre-trained": LanguageModel,
}
TASKS = {"place": (tuning_task.place_task, 100), "new words": (tuning_task.new_words_task, 200)}
"""{task: (its data, steps)}."""
FEW = ("prompt, 5 vectors", "all weights")
EXAMPLES = (2, 8)


def measure(
    method: str, task_name: str, seed: int, scale: Scale, examples: int | None = None
) -> dict:
    """One training: accuracy on nouns of the training and held-out ones, and what the model still knows."""
    data, steps = TASKS[task_name]
    task = data(seed, examples)
    base = recipes.get("language").train_or_load(scale).model
    if "not pre-trained" in method:
        base = recipes.language.new_language(scale, seed=7)
    model = METHODS[method](copy.deepcopy(base.lm))
    torch.manual_seed(seed)
    rate = tuning_task.RATES[method.split(",")[0]]
    history = list(
        tuning_task.train(model, task, 3 if scale.name == "smoke" else steps, rate, seed)
    )
    row = {
        "row": method,
        "task": task_name,
        "examples": len(task.train),
        "seed": seed,
        "trained": count_trainable(model),
        "of": sum(parameter.numel() for parameter in base.parameters()),
        "held-out nouns": tuning_task.accuracy(model, task.held_out),
        "training nouns": tuning_task.accuracy(model, task.train),
        "facts": tuning_task.facts(model),
        "loss": history[-1].loss,
    }
    print(row, flush=True)
    return row


def shown(form: str, examples: int, seed: int, scale: Scale) -> dict:
    """Examples in the prompt of the untouched model."""
    task = tuning_task.place_task(seed, examples)
    model = recipes.get("language").train_or_load(scale).model
    score = tuning_task.in_context(model, task, form)
    return {
        "row": form,
        "task": "place",
        "examples": examples,
        "seed": seed,
        "held-out nouns": score,
    }


@app.command()
def main(scale: str = "laptop", seeds: int = 3) -> None:
    """Measures the rows that the file lacks, one after the other on one thread, and writes it after each."""
    torch.set_num_threads(1)
    size, name = Scale.of(scale), "replicate_tuning" + ("_smoke" if scale == "smoke" else "")
    try:
        rows = load_results(name)["rows"]
    except FileNotFoundError:
        rows = []
    for seed in range(seeds):
        jobs = [(method, task, None) for task in TASKS for method in METHODS]
        jobs += [
            (method, "place", count) for count in EXAMPLES for method in (*FEW, *tuning_task.FORMS)
        ]
        for row, task, examples in jobs:
            count = len(TASKS[task][0](seed, examples).train)
            key = {"row": row, "task": task, "examples": count, "seed": seed}
            if any(key.items() <= found.items() for found in rows):
                continue
            if row in tuning_task.FORMS:
                rows.append(shown(row, count, seed, size))
            else:
                rows.append(measure(row, task, seed, size, examples))
            save_results(name, rows, scale=scale)


if __name__ == "__main__":
    app()
