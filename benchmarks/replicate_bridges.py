"""All bridges side by side, and what they can't do, several seeds. Writes benchmarks/results/replicate_bridges.json.

    python -m benchmarks.replicate_bridges [--scale smoke|laptop|gpu] [--seeds 3] [--only Frozen] [--count 128] [--fresh]

Rows: the bridges on the same pictures, captions, language model, steps, batches (notebooks/teaching/connectors.py), BLIP asked through its
matching head as well, and, on seed 0, lesson 11's Flamingo, whose pages hold several pictures. CLIP alone, the same tower without
any bridge, is a row of its own: it names things, and cannot write. Trained stages are cached, and rows that are measured already
are kept. Minutes a row at laptop scale on one core, training first: the two maps 4 each, Frozen 4, BLIP 12, BLIP-2 6, Flamingo 4;
measuring takes about two more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial

import numpy as np
import torch
import typer

from teaching import connectors
from vlmcourse import recipes, world
from vlmcourse.evaluation import (
    accuracy,
    interface,
    load_matching_results,
    noun_accuracy,
    noun_and_background_accuracy,
    save_results,
    scene_graph_f1,
    zero_shot,
)
from vlmcourse.evaluation.hallucination import hallucinated_nouns, hallucination_scores
from vlmcourse.evaluation.prompting import (
    accuracy_by_shots,
    chance_accuracy,
    corrupted_example_accuracy,
    episode_accuracy,
    majority_accuracy,
    sensitivity,
)
from vlmcourse.training.checkpoint import checksum
from vlmcourse.training.scale import Scale
from vlmcourse.world import corruptions, few_shot, pages, tokenizer
from vlmcourse.world.pages import Episode
from vlmcourse.world.prompts import blank_images

app = typer.Typer(add_completion=False)
SHOTS = (0, 1, 2, 4, 8, 16)
SEEING, KNOWING = ("what", "colour", "presence"), ("category", "place", "purpose")
NAMES = {
    "linear": "CLIP + linear map",
    "mapped": "CLIP + MLP",
    "frozen": "Frozen",
    "blip": "BLIP",
    "blip2": "BLIP-2",
    "flamingo": "Flamingo",
}
ROWS = ("CLIP alone", *NAMES.values(), "BLIP, by match", "Flamingo, on pages")


def asked(kind: str, examples: int, count: int, things: tuple[int, int] = (1, 1)) -> list[Episode]:
    """Questions of a kind after so many solved ones."""
    return [
        pages.vqa_episode("test", index, kind, examples, things=things) for index in range(count)
    ]


def named(examples: int, count: int) -> list[Episode]:
    """Fast binding of four invented names after so many examples."""
    return [few_shot.binding_episode("test", index, examples) for index in range(count)]


def with_controls(model: interface.PromptedModel, episodes: list[Episode]) -> dict[str, float]:
    """Accuracy, blind, and the two bars that need no picture: chance, and the commonest answer."""
    return {
        "model": episode_accuracy(model.choose, episodes),
        "blind": episode_accuracy(lambda these: model.choose(these, blank_images), episodes),
        "chance": chance_accuracy(episodes),
        "commonest answer": majority_accuracy(episodes),
    }


def captions(model: interface.PromptedModel, count: int) -> dict:
    found = {}
    for name, things in (("one thing", (1, 1)), ("two things", (2, 2))):
        scenes = [world.sample("test", index, 0, things) for index in range(count)]
        said, blind = model.captions(scenes), model.captions(scenes, blank_images)
        found[name] = {
            **noun_and_background_accuracy(said, scenes),
            "noun, blind": noun_accuracy(blind, scenes),
            "F1": scene_graph_f1(said, scenes).f1,
            "invented": hallucinated_nouns(said, scenes),
        }
    return found


def without_examples(model: interface.PromptedModel, count: int) -> dict:
    """What every model can be asked, BLIP too."""
    found = {kind: with_controls(model, asked(kind, 0, count)) for kind in (*SEEING, *KNOWING)}
    found |= {
        "how many": with_controls(model, asked("how many", 0, count, (1, 4))),
        "left or right": with_controls(model, asked("position", 0, count, (2, 2))),
        "caption or exchanged": with_controls(
            model, corruptions.caption_questions(world.minimal_pairs.swap_positions, count)
        ),
        "caption or repainted": with_controls(
            model, corruptions.caption_questions(world.minimal_pairs.change_background, count)
        ),
    }
    return {
        "questions": found,
        "captions": captions(model, count),
        "hallucination": {
            name: asdict(one) for name, one in hallucination_scores(model.choose, count).items()
        },
    }


def with_examples(model: interface.PromptedModel, count: int) -> dict:
    """Prompts of several pictures: for bridges to a language model."""
    few, tasks = max(8, count // 4), {"category": "category", "a new name": ""}

    def make(kind: str, examples: int, number: int) -> list[Episode]:
        return asked(kind, examples, number) if kind else named(examples, number)

    curves = {
        task: accuracy_by_shots(model.choose, lambda n, kind=kind: make(kind, n, count), SHOTS)
        for task, kind in {**tasks, "what": "what", "presence": "presence"}.items()
    }
    ordered = {
        task: sensitivity(model.choose, corruptions.example_orders(make(kind, 4, few)))
        for task, kind in tasks.items()
    }
    chosen = sensitivity(
        model.choose, corruptions.other_examples(asked("category", 4, few), min(12, few - 1))
    )
    sums = corruptions.digit_sums(count)
    return {
        "shots": {
            task: {str(n): value for n, value in curve.items()} for task, curve in curves.items()
        },
        "supports": {
            task: corrupted_example_accuracy(model.choose, make(kind, 4, count))
            for task, kind in tasks.items()
        },
        "order": {task: {**asdict(one), "spread": one.spread} for task, one in ordered.items()},
        "examples": {**asdict(chosen), "spread": chosen.spread},
        "sums": {
            "on signs": episode_accuracy(model.choose, sums),
            "in words": episode_accuracy(model.choose, corruptions.sums_as_text(sums)),
            "chance": chance_accuracy(sums),
        },
    }


def clip_alone(size: Scale, count: int) -> dict:
    """Naming by cosine, and the same choices among captions as the bridges have."""
    model = recipes.get("clip").train_or_load(size).model
    _, pixel_values, labels = recipes.clip.single_things(size.image_size, count)
    with torch.no_grad():
        found = accuracy(
            zero_shot(model.encode_image(pixel_values), recipes.clip.noun_classes(model)), labels
        )

    def choose(episodes: list[Episode]) -> list[str]:
        shown = world.to_pixels(
            np.stack([world.render(one.prompt[0], size.image_size) for one in episodes])
        )
        with torch.no_grad():
            images = model.encode_image(shown)
            return [
                one.choices[
                    int((model.encode_text(tokenizer.encode(one.choices)) @ image).argmax())
                ]
                for one, image in zip(episodes, images)
            ]

    apart = {
        f"caption or {name}": {
            "model": episode_accuracy(choose, corruptions.caption_questions(swap, count)),
            "chance": 0.5,
        }
        for name, swap in (
            ("exchanged", world.minimal_pairs.swap_positions),
            ("repainted", world.minimal_pairs.change_background),
        )
    }
    return {"captions": {"one thing": {"noun": found}}, "questions": apart}


def row(
    name: str, size: Scale, seed: int, count: int, made: Callable[[], connectors.FrozenParts]
) -> dict:
    """Trains (or finds) and measures one row."""
    start = time.perf_counter()
    if name == "CLIP alone":
        found = clip_alone(size, count)
    else:
        key = {title: short for short, title in NAMES.items()}.get(name)
        model = (
            connectors.pages(size)
            if name == "Flamingo, on pages"
            else (
                connectors.ALL[key](made())
                if key
                else interface.matching_model(connectors.blip(made()))
            )
        )
        found = {
            "learnt": model.trained_parameters,
            "seconds": sum(step.seconds for step in model.steps if step.step == step.steps),
        }
        if isinstance(model, interface.MatchingModel):
            found["hallucination"] = {
                kind: asdict(one) for kind, one in hallucination_scores(model.choose, count).items()
            }
            found["questions"] = {
                f"caption or {kind}": with_controls(
                    model, corruptions.caption_questions(swap, count)
                )
                for kind, swap in (
                    ("exchanged", world.minimal_pairs.swap_positions),
                    ("repainted", world.minimal_pairs.change_background),
                )
            }
        else:
            found |= without_examples(model, count)
            if not isinstance(model, interface.SinglePictureModel):
                found |= with_examples(model, count)
    print(f"{name}, seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
    return {"row": name, "seed": seed, **found}


@app.command()
def main(
    scale: str = "laptop",
    seeds: int = 0,
    only: list[str] = typer.Option([], help="Names of rows; default: all."),
    count: int = 0,
    fresh: bool = False,
) -> None:
    """Trains and measures what isn't measured yet; writes after each row."""
    torch.set_num_threads(1)
    if unknown := set(only) - set(ROWS):
        raise ValueError(f"no row '{sorted(unknown)[0]}'; there are {', '.join(ROWS)}.")
    size, name = Scale.of(scale), "replicate_bridges" + ("_smoke" if scale == "smoke" else "")
    count = count or (8 if scale == "smoke" else 128)
    lm = recipes.get("language").train_or_load(size).model.lm
    facts = {
        "scale": scale,
        "count": count,
        "budget": asdict(connectors.BUDGETS[size.name]),
        "language model": checksum(lm.state_dict())[:16],
    }
    kept = [] if fresh else load_matching_results(name, **facts).get("rows", [])
    for seed in range(seeds or (1 if scale == "smoke" else size.seeds)):
        made = cache(partial(connectors.frozen_parts, size, seed))
        for title in ROWS:
            once = title in ("CLIP alone", "Flamingo, on pages")
            if (
                (only and title not in only)
                or (once and seed)
                or any(one["row"] == title and one["seed"] == seed for one in kept)
            ):
                continue
            kept.append(row(title, size, seed, count, made))
            save_results(name, kept, **facts)


if __name__ == "__main__":
    app()
