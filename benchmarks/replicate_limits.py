"""What Flamingo can't do, by the lecture's list of limits, three seeds. Writes benchmarks/results/replicate_limits.json.

    python -m benchmarks.replicate_limits [--scale smoke|laptop|gpu] [--seeds 3] [--count 256]    about four minutes a seed

The models are those of `in_context.flamingo`: 48 nouns, captions, and pages of names with 2 to 8 pictures. Asked:

naming    which of the 48 nouns is on a picture, beside CLIP's own zero-shot choice with the same tower
shots     names by number of examples, far beyond the pages of training, of known nouns and of new ones
long      names after LONG examples: longer than any row that the language model was trained on
order     four examples in all orders: how many questions does one order get right and another wrong?
examples  names with wrong answers, swapped or grey pictures
blind     category, place, purpose with every picture grey, without examples and after four, beside chance

The rows "companions" and "no companions" are of lesson 13's bridge, from other seeds, on training pictures whose things have
companions and on others. Asked is POPE, with claims as that lesson calibrates them, on held-out pictures without companions:

pope      scores by the way absent nouns are chosen; adversarial ones often stand beside what is there
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

import numpy as np
import torch
import typer

from teaching import side_by_side_measures as measures
from teaching import side_by_side_reference, side_by_side_systems
from vlmcourse import recipes, world
from vlmcourse.evaluation import (
    accuracy,
    class_embeddings,
    eval_mode,
    load_matching_results,
    save_results,
    zero_shot,
)
from vlmcourse.evaluation.interface import PromptedModel
from vlmcourse.evaluation.prompting import (
    accuracy_by_shots,
    chance_accuracy,
    corrupted_example_accuracy,
    episode_accuracy,
    sensitivity,
)
from vlmcourse.recipes import in_context
from vlmcourse.recipes.few_shot_report import binding
from vlmcourse.training.checkpoint import checksum
from vlmcourse.training.scale import Scale
from vlmcourse.world import corruptions, few_shot, tokenizer
from vlmcourse.world.interleaved import END_OF_CHUNK, IMAGE_TEXT, WebPages
from vlmcourse.world.pages import Episode
from vlmcourse.world.prompts import blank_images
from vlmcourse.world.regions import SubsetOfNouns

app = typer.Typer(add_completion=False)
SHOTS = (0, 1, 2, 4, 8, 16, 24)
LONG = 48
"""Such a prompt takes some 390 words; the rows of the language model's training had 256."""
KNOWING = ("category", "place", "purpose")
COMPANIONS = {"companions": side_by_side_systems.Habits.companions, "no companions": 0.0}


def naming(model: PromptedModel, size: Scale, count: int) -> dict[str, float]:
    """Which of the nouns is it? Flamingo after "this is", and CLIP, whose tower it has, by the likeliest sentence."""
    web = WebPages("test", noun_subset=in_context.NOUNS)
    scenes = [web.single_thing(index) for index in range(count)]
    names = tuple(map(world.article, in_context.NOUNS))
    episodes = [Episode((one, "this is"), world.article(one.words[0]), names) for one in scenes]
    pairs = SubsetOfNouns(
        "train", size.image_size, 0, (1, 1), world.captions.prompted, noun_subset=in_context.NOUNS
    )
    clip = recipes.get("clip").train_or_load(size, data=pairs, steps=in_context.STEPS[size.name][0])
    pictures = world.to_pixels(np.stack([world.render(one, size.image_size) for one in scenes]))
    classes = class_embeddings(clip.model, names, world.captions.PROMPTS, tokenizer.encode)
    labels = torch.tensor([names.index(one.answer) for one in episodes])
    with eval_mode(clip.model):
        chosen = zero_shot(clip.model.encode_image(pictures), classes)
    return {
        "Flamingo": episode_accuracy(model.choose, episodes),
        "CLIP": accuracy(chosen, labels),
        "chance": 1 / len(names),
    }


def by_shots(model: PromptedModel, count: int, nouns: tuple[str, ...], split: str) -> dict:
    """Names by number of examples."""
    found = accuracy_by_shots(
        model.choose, lambda shots: binding(count, shots, nouns, split=split), SHOTS
    )
    return {str(shots): value for shots, value in found.items()}


def without_pictures(model: PromptedModel, count: int) -> dict[str, dict[str, float]]:
    """Questions with every picture grey."""
    web = WebPages("test", noun_subset=in_context.NOUNS)
    found = {}
    for kind in KNOWING:
        asked = {
            shots: [few_shot.question_episode(web, index, kind, shots) for index in range(count)]
            for shots in (0, 4)
        }
        found[kind] = {
            f"{shots} examples": episode_accuracy(
                lambda these: model.choose(these, blank_images), episodes
            )
            for shots, episodes in asked.items()
        } | {"chance": chance_accuracy(asked[0])}
    return found


def pope(name: str, size: Scale, seed: int, count: int) -> dict:
    """Lesson 13's bridge from a seed, asked what is on pictures of one or two things."""
    ends = side_by_side_systems.Ends(size)
    bridge = side_by_side_systems.new_bridge(ends, side_by_side_reference.MappedPrefix, seed)
    side_by_side_systems.train(bridge, ends, seed=seed, companions=COMPANIONS[name])
    shown = measures.scenes(count, (1, 2))
    system = side_by_side_systems.prompted(name, bridge, ends)
    claims = side_by_side_reference.raised(measures.noun_log_probs(system, shown))
    found = {"row": name, "seed": seed, "pope": measures.pope(claims, shown)}
    print(found, flush=True)
    return found


def row(size: Scale, seed: int, count: int) -> dict:
    """One Flamingo, trained or loaded, and its limits."""
    stage = in_context.flamingo(size, seed)
    model = PromptedModel(
        "Flamingo", stage.model.model, size.image_size, IMAGE_TEXT, END_OF_CHUNK, stage.history
    )
    nouns = in_context.SHOWN
    ordered = sensitivity(
        model.choose, corruptions.example_orders(binding(count // 4, 4, nouns.known))
    )
    found = {
        "row": "Flamingo",
        "seed": seed,
        "seconds": stage.history[-1].seconds,
        "naming": naming(model, size, count),
        "shots": by_shots(model, count, nouns.known, "test"),
        "long": {str(LONG): episode_accuracy(model.choose, binding(count, LONG, nouns.known))},
        "shots, new nouns": by_shots(model, count, nouns.new, nouns.new_split),
        "order": {**asdict(ordered), "spread": ordered.spread},
        "examples": corrupted_example_accuracy(model.choose, binding(count, 4, nouns.known)),
        "blind": without_pictures(model, count),
    }
    print(found, flush=True)
    return found


@app.command()
def main(scale: str = "laptop", seeds: int = 0, count: int = 0, fresh: bool = False) -> None:
    """Trains and measures what isn't measured yet; writes after each seed."""
    torch.set_num_threads(1)
    size, name = Scale.of(scale), "replicate_limits" + ("_smoke" if scale == "smoke" else "")
    lm = recipes.get("language").train_or_load(size).model.lm
    facts = {
        "scale": scale,
        "count": count or (8 if scale == "smoke" else 256),
        "language model": checksum(lm.state_dict())[:16],
    }
    rows = [] if fresh else load_matching_results(name, **facts).get("rows", [])
    for seed in range(seeds or (1 if scale == "smoke" else size.seeds)):
        for title in ("Flamingo", *COMPANIONS):
            if not any((one["row"], one["seed"]) == (title, seed) for one in rows):
                made = row if title == "Flamingo" else partial(pope, title)
                rows.append(made(size, seed, facts["count"]))
                save_results(name, rows, **facts)


if __name__ == "__main__":
    app()
