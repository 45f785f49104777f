"""CLIP's retrieval, probes and prompts at reduced scale: three seeds, spread. Writes benchmarks/results/replicate_clip.json.

    python -m benchmarks.replicate_clip [--scale smoke|laptop|gpu]     about 25 minutes at laptop scale on 2 cores

Trained stages are cached, so a run that was stopped goes on where it was. What depends on the data (noise, shift, overlap),
and scaling, is measured with smaller models: see replicate_clip_studies.py.
"""

from __future__ import annotations

from dataclasses import asdict

import torch
import typer

from vlmcourse import recipes, world
from vlmcourse.evaluation import (
    accuracy,
    class_embeddings,
    features,
    k_shot_probe,
    linear_probe,
    save_results,
    spread,
    zero_shot,
)
from vlmcourse.papers.clip import CLIP
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer

SHOTS = (1, 2, 4, 8, 16)
STRENGTHS = (0.1, 1.0)  # L2 of the probes: 0.01 was far worse
app = typer.Typer(add_completion=False, help=__doc__)


def together(rows: list[dict[str, float]]) -> dict[str, dict]:
    """Spread over seeds of each measurement: [{name: score} for each seed] -> {name: spread as a dictionary}."""
    return {name: asdict(spread([row[name] for row in rows])) for name in rows[0]}


Labelled = tuple[torch.Tensor, torch.Tensor]


def to_probe(model: CLIP, size: Scale, count: int) -> tuple[Labelled, Labelled]:
    """(features, labels) of `count` single things, to train a probe, and of others to test it."""
    count = count if size.name != "smoke" else 256
    parts = (
        recipes.clip.single_things(size.image_size, count, "train"),
        recipes.clip.single_things(size.image_size, min(count, 1024)),
    )
    train, test = (
        (features(model.vision, model, pixel_values), labels) for _, pixel_values, labels in parts
    )
    return train, test


def linear(model: CLIP, size: Scale) -> float:
    return linear_probe(*to_probe(model, size, 2048), STRENGTHS)


def probes(model: CLIP, size: Scale) -> dict[str, float]:
    """Zero-shot, k-shot and linear probe on single things (CLIP, Fig. 6)."""
    train, test = to_probe(model, size, 6144)
    _, pixel_values, labels = recipes.clip.single_things(size.image_size, len(test[1]))
    with torch.no_grad():
        guessed = zero_shot(model.encode_image(pixel_values), recipes.clip.noun_classes(model))
    found = {
        "zero-shot": accuracy(guessed, labels),
        "linear probe": linear_probe(train, test, STRENGTHS),
    }
    fewest = int(torch.bincount(train[1]).min())
    return found | {
        f"{k}-shot probe": k_shot_probe(train, test, k).mean for k in SHOTS if k <= fewest
    }


def prompts(model: CLIP, size: Scale) -> dict[str, float]:
    """Accuracy by the wording of the prompt (Sec. 3.1.4)."""
    _, pixel_values, labels = recipes.clip.single_things(size.image_size)
    with torch.no_grad():
        images = model.encode_image(pixel_values)
    wordings = {
        **{template: (template,) for template in world.captions.PROMPTS},
        "bare word": None,
        "ensemble of all templates": world.captions.PROMPTS,
    }
    scores = {}
    for name, templates in wordings.items():
        classes = (
            class_embeddings(model, world.known_nouns(), ("{}",), tokenizer.encode)
            if templates is None
            else recipes.clip.noun_classes(model, templates)
        )
        scores[name] = accuracy(zero_shot(images, classes), labels)
    return scores


def tables(size: Scale, seed: int) -> dict[str, dict[str, float]]:
    """Retrieval, probes and prompts of the model of lesson 02: one seed's column of each."""
    model = recipes.get("clip").train_or_load(size, seed).model
    found = {
        "retrieval": recipes.clip.clip_report(model),
        "probes": probes(model, size),
        "prompts": prompts(model, size),
    }
    print(seed, found, flush=True)
    return found


def main_rows(size: Scale) -> dict:
    """The tables over the seeds, and what an untrained tower's features are worth."""
    columns = [tables(size, seed) for seed in range(size.seeds)]
    random = recipes.clip.new_clip(recipes.clip.clip_config(size), 0).eval()
    return {name: together([column[name] for column in columns]) for name in columns[0]} | {
        "untrained linear probe": linear(random, size)
    }


@app.command()
def main(scale: str = "laptop") -> None:
    """Trains what is not in the cache, measures, writes results/replicate_clip.json."""
    size = Scale.of(scale)
    path = save_results(
        "replicate_clip" if scale != "smoke" else "replicate_clip_smoke",
        [main_rows(size)],
        scale=scale,
        seeds=list(range(size.seeds)),
        steps=recipes.get("clip").sizes[scale].steps,
    )
    print(f"Kept {path}")


if __name__ == "__main__":
    app()
