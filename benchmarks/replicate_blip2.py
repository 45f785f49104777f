"""BLIP-2's comparisons at reduced scale, several seeds, controls. Writes benchmarks/results/replicate_blip2.json.

    python -m benchmarks.replicate_blip2 [--scale smoke|laptop|gpu] [--only rows|beside|queries|retrieval] [--fresh]

rows     stage 2 with and without stage 1, and stage 1 by itself (Sec. 4 and Fig. 5 of the paper)
queries  1, 2 and 4 queries in the place of 8, both stages
beside   on the same pictures and captions as stage 2, for as many steps of as many pictures: Frozen before the same language
         model, and BLIP on the same CLIP's tower, which learns on, with a decoder of its own in the language model's place
retrieval  BLIP on the pairs of stage 1, as many of them, before the same CLIP's tower, which learns on: R@1 in the gallery in
         which stage 1 is tested, and captions with and without a prompt

Trained stages are cached, rows are kept as they come: a run that was stopped goes on. Each row says before which language
model it was measured; rows of another one are measured anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
import typer

from vlmcourse import recipes, world
from vlmcourse.evaluation import (
    cider,
    exact_match,
    load_matching_results,
    noun_and_background_accuracy,
    save_results,
)
from vlmcourse.evaluation.interface import SinglePictureModel
from vlmcourse.parts.language import freeze
from vlmcourse.parts.tuning import count_trainable
from vlmcourse.recipes import blip2 as recipe
from vlmcourse.recipes.blip import PROMPT
from vlmcourse.recipes.clip import training_pairs
from vlmcourse.recipes.frozen import (
    ONE_THING,
    caption_report,
    descriptive_caption,
    episode_accuracy,
    vqa_episodes,
)
from vlmcourse.training.checkpoint import checksum
from vlmcourse.training.scale import Scale
from vlmcourse.world.prompts import blank_images, swap_pictures

app = typer.Typer(add_completion=False)
SEEING, KNOWING = ("what", "colour", "presence"), ("category", "place", "purpose")
PARTS = ("rows", "beside", "queries", "retrieval")
CONTROLS: tuple[tuple[str, dict], ...] = (
    ("questions", {}),
    ("questions, blind", {"view": blank_images}),
    ("questions, shuffled", {"shuffled": True}),
)
FEWER = {"1 query": 1, "2 queries": 2, "4 queries": 4}


def learnt(history) -> dict:
    """The training loss at the end, and how long it took."""
    last = history[-50:]
    return {
        "training loss": sum(step.loss for step in last) / len(last),
        "seconds": history[-1].seconds,
    }


def said(model, size: Scale, count: int) -> dict:
    """Captions and questions, as the model sees, blind, and with shuffled pictures."""
    found: dict = {
        "captions": recipe.caption_scores(model, size.image_size, count),
        "captions, blind": recipe.caption_scores(model, size.image_size, count, blank_images),
    }
    for name, options in CONTROLS:
        found[name] = {
            kind: recipe.question_accuracy(model, size.image_size, kind, count, **options)
            for kind in SEEING + KNOWING
        }
    return found


def row(
    name: str,
    size: Scale,
    seed: int,
    vision,
    count: int,
    queries: int | None = None,
    with_stage1: bool = True,
) -> dict:
    """One row with one seed: both stages, or the second from an untrained Q-Former."""
    changes = {} if queries is None else {"queries": queries}
    found: dict = {
        "row": name,
        "seed": seed,
        "queries": queries or recipe.STAGE1_SIZES[size.name].queries,
    }
    if with_stage1:
        first = recipes.get("blip2_stage1").train_or_load(size, seed, vision=vision, **changes)
        former = first.model.qformer
        found["stage 1"] = {
            **learnt(first.history),
            "learns": count_trainable(first.model),
            **recipe.stage1_report(first.model, size.image_size, count),
            **{
                f"told apart, {name}": recipe.caption_pair_accuracy(
                    first.model, size.image_size, change, count
                )
                for name, change in recipes.blip.CHANGES.items()
            },
        }
    else:
        former = recipe.new_qformer(recipe.qformer_config(size, **changes), seed)
    second = recipes.get("blip2").train_or_load(size, seed, vision=vision, qformer=former)
    found |= {
        **learnt(second.history),
        "learns": count_trainable(second.model),
        **said(second.model, size, count),
        "curve": {step.step: step.loss for step in second.history[24::25]},
    }
    print(found, flush=True)
    return found


def frozen(size: Scale, seed: int, count: int) -> dict:
    """Frozen, trained as stage 2 is."""
    sizes = recipe.STAGE2_SIZES[size.name]
    made = recipes.get("frozen").train_or_load(
        size,
        seed,
        lm=freeze(recipes.get("language").train_or_load(size).model.lm),
        steps=sizes.steps,
    )
    found = {
        "row": "Frozen",
        "seed": seed,
        **learnt(made.history),
        "learns": count_trainable(made.model),
        "captions": caption_report(made.model, count),
        "captions, blind": caption_report(made.model, count, blank_images),
    }
    for name, options in CONTROLS:
        found[name] = {
            kind: episode_accuracy(made.model, vqa_episodes(kind, 0, count), **options)
            for kind in SEEING + KNOWING
        }
    print(found, flush=True)
    return found


def blip(size: Scale, seed: int, count: int) -> dict:
    """BLIP, trained as stage 2 is, with all its three losses."""
    pairs = world.Pairs("train", size.image_size, seed, ONE_THING, descriptive_caption)
    made = recipes.get("blip").train_or_load(
        size,
        seed,
        vision=recipes.get("clip").train_or_load(size).model.vision,
        data=pairs,
        steps=recipe.STAGE2_SIZES[size.name].steps,
    )
    asks, scenes = (
        SinglePictureModel("BLIP", made.model, size.image_size),
        [world.sample("test", index, 0, ONE_THING) for index in range(count)],
    )

    def right(episodes: list, view=world.to_pixels, shuffled: bool = False) -> float:
        if shuffled:
            shown = swap_pictures([one.prompt for one in episodes])
            episodes = [replace(one, prompt=prompt) for one, prompt in zip(episodes, shown)]
        return exact_match(asks.choose(episodes, view), [one.answer for one in episodes])

    found = {
        "row": "BLIP",
        "seed": seed,
        **learnt(made.history),
        "learns": count_trainable(made.model),
        "captions": noun_and_background_accuracy(asks.captions(scenes), scenes),
        "captions, blind": noun_and_background_accuracy(
            asks.captions(scenes, blank_images), scenes
        ),
    }
    for name, options in CONTROLS:
        found[name] = {
            kind: right(vqa_episodes(kind, 0, count), **options) for kind in SEEING + KNOWING
        }
    print(found, flush=True)
    return found


def captions_by_prompt(model, size: Scale, count: int) -> dict[str, float]:
    """CIDEr-D of greedy captions after "a picture of", and of those without a prompt, by the same references.

    Who writes these words without being asked hasn't said less: they are taken off. "writes it": share of these captions.
    """
    pairs = world.Pairs("test", size.image_size, things=recipes.blip.THINGS)
    pictures = world.to_pixels(pairs.images(range(count)))
    given = [recipes.blip.references(scene) for scene in pairs.scenes(range(count))]
    prompted, free = (
        recipes.blip.generate_captions(model, pictures, prompt=start) for start in (PROMPT, "")
    )
    bare = [text.removeprefix(PROMPT).strip() for text in free]
    return {
        "prompt": sum(cider(prompted, given)) / count,
        "no prompt": sum(cider(bare, given)) / count,
        "writes it": sum(text.startswith(PROMPT) for text in free) / count,
    }


def blip_on_pairs(size: Scale, seed: int, count: int) -> dict:
    """BLIP on as many of stage 1's pairs as stage 1 itself."""
    pairs, first = training_pairs(size, seed), recipe.STAGE1_SIZES[size.name]
    batch = recipes.get("blip").sizes[size.name].batch
    made = recipes.get("blip").train_or_load(
        size,
        seed,
        vision=recipes.get("clip").train_or_load(size).model.vision,
        data=pairs,
        steps=first.steps * first.batch // batch,
    )
    found = {
        "row": "BLIP",
        "seed": seed,
        "steps": len(made.history),
        **learnt(made.history),
        "learns": count_trainable(made.model),
        **recipes.blip.retrieval_report(made.model, world.Pairs("test", size.image_size), count),
        "CIDEr": captions_by_prompt(made.model, size, count),
    }
    print(found, flush=True)
    return found


def planned(
    size: Scale, vision, count: int, seeds: int
) -> dict[str, dict[tuple[str, int], Callable[[], dict]]]:
    """Part -> (row, seed) -> what measures it."""
    numbers = range(seeds or size.seeds)
    return {
        "rows": {
            (name, seed): partial(
                row, name, size, seed, vision, count, with_stage1=name == "both stages"
            )
            for seed in numbers
            for name in ("both stages", "stage 2 alone")
        },
        "beside": {
            (name, seed): partial(work, size, seed, count)
            for seed in numbers
            for name, work in (("Frozen", frozen), ("BLIP", blip))
        },
        "queries": {
            (name, seed): partial(row, name, size, seed, vision, count, queries)
            for seed in numbers
            for name, queries in FEWER.items()
        },
        "retrieval": {
            ("BLIP", seed): partial(blip_on_pairs, size, seed, count) for seed in numbers
        },
    }


@app.command()
def main(
    scale: str = "laptop",
    only: list[str] = typer.Option(list(PARTS), help="Which parts to measure."),
    count: int = 256,
    threads: int = 1,
    seeds: int = typer.Option(0, help="How many; 0: the scale's."),
    fresh: bool = typer.Option(False, help="Measure anew what is measured already."),
) -> None:
    """Trains and measures what isn't measured yet; writes after each row."""
    torch.set_num_threads(threads)
    size, name = Scale.of(scale), "replicate_blip2" + ("_smoke" if scale == "smoke" else "")
    facts = {
        "scale": scale,
        "count": count,
        "chance": {
            kind: sum(1 / len(one.choices) for one in vqa_episodes(kind, 0, 32)) / 32
            for kind in SEEING + KNOWING
        },
    }
    reader = {
        "language model": checksum(
            recipes.get("language").train_or_load(size).model.lm.state_dict()
        )[:16]
    }
    before = load_matching_results(name, **facts)
    kept = {
        part: [
            one
            for one in before.get(part, [])
            if reader.items() <= one.items() and not (fresh and part in only)
        ]
        for part in PARTS
    }
    for part, rows in planned(size, recipe.tower(size), count, seeds).items():
        for (row_name, seed), measure in rows.items():
            if part in only and not any(
                one["row"] == row_name and one["seed"] == seed for one in kept[part]
            ):
                kept[part].append({**measure(), **reader})
                others = {other: rows for other, rows in kept.items() if other != "rows"}
                save_results(name, kept["rows"], **facts, **others)


if __name__ == "__main__":
    app()
