"""LLaVA on held-out questions: does it look at its pictures, and what is each stage worth? Seeds, spread, controls.

    VLMCOURSE_PRECISION=float32 python -m benchmarks.replicate_llava [--scale smoke|laptop|gpu] [--seeds 3]

Writes benchmarks/results/replicate_llava.json, after each run; rows that are measured already are kept. Ten minutes of
one core. Each row answers the same held-out questions of each kind, in its own words, with the right picture and with the
picture of another question; and questions without pictures, which only its language model can answer.

    LLaVA            both stages
    alignment only   after the first stage: no instruction tuning
    tuning only      the second stage from the projector that the first one started from: no feature alignment
"""

from __future__ import annotations

import torch
import typer

from vlmcourse import recipes
from vlmcourse.evaluation import load_matching_results, save_results
from vlmcourse.parts.language import LanguageModel
from vlmcourse.recipes import llava
from vlmcourse.recipes.language import language_report
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded

app = typer.Typer(add_completion=False)
ROWS = {"LLaVA": "llava", "alignment only": "llava_alignment", "tuning only": "llava"}
"""Names of rows, and of their recipes."""


def untrained_projector(size: Scale, seed: int) -> llava.Projector:
    """What feature alignment starts from."""
    clip, language = (recipes.get(name).train_or_load(size).model for name in ("clip", "language"))
    with seeded(seed):
        return llava.projector_near_words(llava.image_encoder(clip.vision).width, language.lm)


@app.command(help=__doc__)
def main(scale: str = "laptop", seeds: int = 0, count: int = 64) -> None:
    """seeds: how many; 0: as many as the scale has. count: questions of each kind."""
    torch.set_num_threads(1)
    size, smoke = Scale.of(scale), scale == "smoke"
    count = 8 if smoke else count
    name = f"replicate_llava{'_smoke' if smoke else ''}"
    facts = {"scale": scale, "count": count, "steps": llava.TUNING_SIZES[scale].steps}
    kept = load_matching_results(name, **facts).get("rows", [])
    for row, recipe in ROWS.items():
        for seed in range(seeds or size.seeds):
            if any(one["row"] == row and one["seed"] == seed for one in kept):
                continue
            options = {"projector": untrained_projector(size, seed)} if row == "tuning only" else {}
            model = recipes.get(recipe).train_or_load(size, seed, **options).model
            texts = language_report(LanguageModel(model.lm), count=count)
            kept.append(
                {"row": row, "seed": seed, **llava.llava_report(model, size, count), "texts": texts}
            )
            print(kept[-1], flush=True)
            save_results(name, kept, **facts)


if __name__ == "__main__":
    app()
