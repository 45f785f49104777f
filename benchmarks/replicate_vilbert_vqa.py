"""What is pre-training worth for a task? ViLBERT on questions about scenes: seeds, spread, controls.

    python -m benchmarks.replicate_vilbert_vqa [--scale smoke|laptop|gpu] [--seeds 6]     5 minutes of one core for six seeds

Writes benchmarks/results/replicate_vilbert_vqa.json, after each run. Few questions and few steps, a quarter of the recipe's
each: that is where pre-training should help. The test has 120 held-out questions of each kind, each answer equally often.

    fine-tuned      the pre-trained ViLBERT, all weights trained on; seeds differ in the head and in the order of questions
    from scratch    the same with random weights, others for each seed
"""

from __future__ import annotations

import torch
import typer

from vlmcourse import recipes
from vlmcourse.evaluation import save_results
from vlmcourse.papers.vilbert_tasks import ViLBERTForVQA
from vlmcourse.recipes import vilbert_vqa
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.in_memory import InMemory
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded

app = typer.Typer(add_completion=False)


@app.command(help=__doc__)
def main(scale: str = "laptop", seeds: int = 0) -> None:
    """seeds: how many; 0: as many as the scale has. The results that are kept have six."""
    torch.set_num_threads(1)
    size, vqa = Scale.of(scale), recipes.get("vilbert_vqa")
    sizes = vqa.sizes[size.name]
    few, steps = sizes.questions // 4, sizes.steps // 4
    pretrained = recipes.get("vilbert").train_or_load(size).model
    examples = InMemory(vilbert_vqa.region_questions(size), few)
    held_out, rows = vilbert_vqa.region_questions(size, "test"), []
    test = held_out.batch(held_out.balanced(count := 12 if scale == "smoke" else 120))
    name = f"replicate_vilbert_vqa{'_smoke' if scale == 'smoke' else ''}"
    for seed in range(seeds or size.seeds):
        config = recipes.vilbert.vilbert_config(size)
        starts = {
            "fine-tuned": pretrained,
            "from scratch": recipes.vilbert.new_vilbert(config, seed),
        }
        for row, start in starts.items():
            with seeded(seed):
                model = ViLBERTForVQA(start, len(held_out.vocabulary))
            batches = Batches(examples.batch, sizes.batch, few, seed)
            for _ in fit(model, batches, steps, vqa.optimisation, seed=seed):
                pass
            scores = {
                f"{kind}{view_name}": score
                for view_name, view in recipes.vilbert.VIEWS.items()
                for kind, score in vilbert_vqa.accuracy_by_kind(model, test, view).items()
            }
            rows.append({"row": row, "seed": seed, **scores})
            print(rows[-1], flush=True)
            path = save_results(name, rows, scale=scale, steps=steps, questions=few, count=count)
    print(f"Kept {path}")


if __name__ == "__main__":
    app()
