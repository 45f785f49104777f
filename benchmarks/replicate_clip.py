"""CLIP's tables and figures at reduced scale: three seeds, spread, controls. Writes benchmarks/results/replicate_clip.json.

    python -m benchmarks.replicate_clip [--scale smoke|laptop|gpu]     about an hour at laptop scale on 2 cores

Trained stages are cached, so a run that was stopped goes on where it was; --only noise (or tables, scaling) measures
that part again and keeps the others as they were.
"""

from __future__ import annotations

from dataclasses import asdict, replace

import torch
import typer
from torch import nn
from torch.nn.functional import cross_entropy

from vlmcourse import recipes, world
from vlmcourse.evaluation import (
    accuracy,
    class_embeddings,
    embed,
    features,
    k_shot_probe,
    linear_probe,
    load_results,
    near_duplicates,
    retrieval_recall,
    save_results,
    shift_curve,
    spread,
    zero_shot,
)
from vlmcourse.papers.clip import CLIP, image_tower
from vlmcourse.recipes.recipe import describe
from vlmcourse.training.batches import Batches
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import train_or_load
from vlmcourse.world import tokenizer
from vlmcourse.world.noise import Noise, duplicated, generic, mismatched

SHOTS = (1, 2, 4, 8, 16)
STRENGTHS = (0.1, 1.0)  # L2 of the probes: 0.01 was far worse
app = typer.Typer(add_completion=False, help=__doc__)
SMALL_RUN = {"batch": 128, "steps": 900}
"""Of the rows with a smaller CLIP."""


class Supervised(nn.Module):
    """The control for robustness: CLIP's image tower with a linear layer, trained on labels instead of captions."""

    def __init__(self, config, classes: int, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        self.vision = image_tower(config)
        self.classify = nn.Linear(self.vision.width, classes)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.classify(self.vision(pixel_values))

    def losses(self, batch: dict) -> dict[str, torch.Tensor]:
        return {"label": cross_entropy(self(batch["pixel_values"]), batch["labels"])}


def supervised(size: Scale, seed: int) -> Supervised:
    """Trained on as many pictures as CLIP, each of one thing, with its label."""
    pairs, names = world.Pairs("train", size.image_size, seed, (1, 1)), world.known_nouns()

    def labelled(indices: list[int]) -> dict:
        return {
            "pixel_values": world.to_pixels(pairs.images(indices)),
            "labels": torch.tensor(
                [names.index(scene.words[0]) for scene in pairs.scenes(indices)]
            ),
        }

    config, sizes = recipes.clip.clip_config(size), recipes.get("clip").sizes[size.name]
    return train_or_load(
        "supervised",
        Supervised(config, len(names), seed),
        Batches(labelled, sizes.batch),
        sizes.steps,
        fingerprint={"config": describe(config), "batch": sizes.batch},
        seed=seed,
    ).model


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


def shifts(predictors: dict, size: Scale) -> dict[str, float]:
    """Accuracy in styles that training never showed (Fig. 13): {'CLIP zero-shot, grey': ...}."""
    pairs, _, labels = recipes.clip.single_things(size.image_size)
    images = pairs.images(range(len(labels)))
    return {
        f"{name}, {style}": value
        for name, predict in predictors.items()
        for style, value in shift_curve(predict, images, labels, tuple(world.STYLES)).items()
    }


def duplicates(model: CLIP, size: Scale) -> dict[str, float]:
    """Which test scenes have a near-duplicate in training, and what they are worth (Sec. 5)."""
    pairs, train = world.Pairs("test", size.image_size), recipes.clip.training_pairs(size)
    indices = pairs.distinct(256)
    seen = range(4096 if size.name != "smoke" else 256)
    images, texts = embed(model, pairs, indices)
    near = near_duplicates(images, embed(model, train, seen)[0], 0.95)
    captions = {train.true_caption(index) for index in seen}
    right = ((images @ texts.T).argmax(1) == torch.arange(len(images))).float()
    return {
        "near-duplicate pictures": near.float().mean().item(),
        "captions that training contains": sum(pairs.text(index) in captions for index in indices)
        / len(indices),
        "R@1, all": right.mean().item(),
        "R@1, without near-duplicates": right[~near].mean().item() if (~near).any() else 0.0,
    }


def retrieval_of(model: CLIP, size: Scale) -> float:
    """Mean R@1 of both directions among held-out scenes."""
    pairs = world.Pairs("test", size.image_size)
    found = retrieval_recall(*embed(model, pairs, pairs.distinct(256)))
    return (found["image to text R@1"] + found["text to image R@1"]) / 2


def noise_rows(small: Scale) -> list[dict]:
    """Mean R@1 after training on noisy pairs, at equal steps."""
    kinds = [
        ("clean", None),
        *((f"{share:.0%} mismatched", Noise(share, mismatched)) for share in (0.2, 0.4, 0.6)),
        ("40% generic", Noise(0.4, generic)),
        ("40% duplicated captions", Noise(0.4, duplicated)),
    ]
    return [
        {
            "pairs": name,
            "mean R@1": asdict(
                spread(
                    [
                        retrieval_of(
                            recipes.get("clip")
                            .train_or_load(
                                small,
                                seed,
                                data=recipes.clip.training_pairs(small, seed, noise=noise),
                                **SMALL_RUN,
                            )
                            .model,
                            small,
                        )
                        for seed in range(small.seeds)
                    ]
                )
            ),
        }
        for name, noise in kinds
    ]


def scaling_rows(small: Scale) -> list[dict]:
    """Linear probe and retrieval of ViTs and ResNets of growing width, at equal steps (Fig. 10)."""
    rows = []
    for family, widths, changes in (
        ("ViT", (32, 64, 128), {}),
        ("ResNet", (64, 128, 256), {"resnet": (1, 1, 1)}),
    ):
        for width in widths:
            found, parameters = [], 0
            for seed in range(small.seeds):
                model = (
                    recipes.get("clip")
                    .train_or_load(small, seed, vision_width=width, **SMALL_RUN, **changes)
                    .model
                )
                found.append(
                    {"linear probe": linear(model, small), "mean R@1": retrieval_of(model, small)}
                )
                parameters = sum(p.numel() for p in model.vision.parameters())
            rows.append(
                {"family": family, "width": width, "parameters": parameters, **together(found)}
            )
            print(rows[-1], flush=True)
    return rows


def tables(size: Scale, seed: int) -> dict[str, dict[str, float]]:
    """Every table that needs only the model of the lesson and its control trained on labels: one seed's column of each."""
    model, labels = recipes.get("clip").train_or_load(size, seed).model, supervised(size, seed)
    classes = recipes.clip.noun_classes(model)
    found = {
        "retrieval": recipes.clip.clip_report(model),
        "probes": probes(model, size),
        "prompts": prompts(model, size),
        "overlap": duplicates(model, size),
    }
    with torch.no_grad():
        found["shift"] = shifts(
            {
                "CLIP zero-shot": lambda pixel_values: zero_shot(
                    model.encode_image(pixel_values), classes
                ),
                "supervised": lambda pixel_values: labels(pixel_values).argmax(1),
            },
            size,
        )
    print(seed, found, flush=True)
    return found


def main_rows(size: Scale) -> dict:
    """The tables over the seeds, and what an untrained tower's features are worth."""
    columns = [tables(size, seed) for seed in range(size.seeds)]
    random = recipes.clip.new_clip(recipes.clip.clip_config(size), 0).eval()
    return {name: together([column[name] for column in columns]) for name in columns[0]} | {
        "untrained linear probe": linear(random, size)
    }


PARTS = ("tables", "noise", "scaling")


@app.command()
def main(
    scale: str = "laptop",
    only: list[str] = typer.Option(list(PARTS), help="Which parts to measure."),
) -> None:
    """Trains what is not in the cache, measures, writes results/replicate_clip.json."""
    size = Scale.of(scale)
    small = replace(size, width=64, heads=2, text_depth=2) if scale != "smoke" else size
    name = "replicate_clip" if scale != "smoke" else "replicate_clip_smoke"
    kept = load_results(name)["rows"][0] if set(only) != set(PARTS) else {}
    measured = main_rows(size) if "tables" in only else {}
    if "noise" in only:
        measured["noise"] = noise_rows(small)
    if "scaling" in only:
        measured["scaling"] = scaling_rows(small)
    path = save_results(
        name,
        [kept | measured],
        scale=scale,
        seeds=list(range(size.seeds)),
        steps=recipes.get("clip").sizes[scale].steps,
        small={"width": small.width, "steps": SMALL_RUN["steps"]},
    )
    print(f"Kept {path}")


if __name__ == "__main__":
    app()
