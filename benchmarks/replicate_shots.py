"""Flamingo's few-shot curves with three sizes of language model, fine-tuned beside few-shot (its Figure 2 and Table 1, reduced).
Writes benchmarks/results/replicate_shots.json.

    python -m benchmarks.replicate_shots [--scale smoke|laptop|gpu] [--seeds 1] [--only small] [--fresh]

Row "lesson": lesson 11's own Flamingo, on all nouns, with all that it is tested on. Training is chaotic (what comes in one seed
may not come in another), so the lesson shows its run beside this row's seeds. "a quarter of the scenes": the same, with less to
see; "descriptions weigh three times": the same, with another weight. Rows "small", "medium", "large": the world of 24 nouns and
the steps of replicate_flamingo; only the language model between the same blocks is smaller. These are asked the same held-out
questions after 0 to 8 solved ones, and the names of new things, with the examples' own pictures and with another prompt's. Fine-tuned: what learns in Flamingo learns on for a quarter of
the steps, on such questions alone, and is asked without examples. At laptop scale one core takes ten minutes for the lesson's,
four for each smaller language model, and three for a Flamingo of the small world.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
import typer

from benchmarks.replicate_flamingo import POOL, STEPS, TASKS, TEST, WORDS, asked
from vlmcourse import recipes
from vlmcourse.evaluation import load_matching_results, save_results
from vlmcourse.papers.flamingo import Flamingo
from vlmcourse.parts.language import freeze
from vlmcourse.recipes.flamingo import (
    DATASET_WEIGHTS,
    FLAMINGO_OPTIMISATION,
    SIZES,
    FeatureCache,
    FrozenTower,
    episode_accuracy,
    page_datasets,
)
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.mixture import JointDatasets, WeightedLosses
from vlmcourse.training.scale import Scale
from vlmcourse.world import few_shot
from vlmcourse.world.interleaved import PageDataset, Part, WebPages
from vlmcourse.world.pages import question_prompt
from vlmcourse.world.questions import ask

app = typer.Typer(add_completion=False)
MODELS = {"small": (1 / 3, -1), "medium": (2 / 3, -1), "large": (1, 0)}
"""Width of the scale's language model times this, and so many layers more: the large one is the course's own."""
WHOLE = {
    "lesson": {},
    "a quarter of the scenes": {"scenes": 1 / 4},
    "descriptions weigh three times": {"described": 3.0},
}
"""What is other than in lesson 11: so many different scenes, and weights of the data sets."""
NUMBERS = (0, 1, 2, 4, 8)


def sized(size: Scale, name: str) -> dict[str, int]:
    """Width and depth of that language model: heads are 32 wide, and there is at least one layer."""
    (times, more), sizes = MODELS[name], recipes.get("language").sizes[size.name]
    width = max(32, round(sizes.width * times / 32) * 32)
    return {"width": width, "depth": max(1, sizes.depth + more)}


def curves(model: Flamingo, size: int, count: int) -> dict[str, dict[int, float]]:
    """{task: {solved examples: share of right answers}}"""
    found = {
        task: {number: asked(model, kinds, number, size, count) for number in NUMBERS}
        for task, kinds in TASKS.items()
    }
    for number in NUMBERS:
        episodes = [
            few_shot.binding_episode("test", index, number, noun_subset=WORDS)
            for index in range(count)
        ]
        found.setdefault("new names", {})[number] = episode_accuracy(model, episodes, size)
        found.setdefault("new names, exchanged pictures", {})[number] = episode_accuracy(
            model, few_shot.other_pictures(episodes), size
        )
    return found


def questions(web: WebPages):
    """Pages of one question with its answer, of all kinds that are asked."""
    kinds = tuple(kind for kinds in TASKS.values() for kind in kinds)

    def page(index: int) -> tuple[Part, ...]:
        draws, scene = web.rng("tuning", index), web.single_thing(index)
        one = ask(scene, draws, (draws.choice(kinds),))
        return scene, f"{question_prompt(one)} {one.answer} ."

    return page


def tuned(model: Flamingo, web: WebPages, see: FeatureCache, steps: int, seed: int) -> Flamingo:
    """A copy that goes on learning, from questions alone."""
    mixed = WeightedLosses(deepcopy(model), {"questions": 1.0}, steps)
    source = JointDatasets({"questions": (PageDataset(questions(web), see), 32)})
    for _ in fit(
        mixed,
        Batches(source.batch, 1),
        steps,
        replace(FLAMINGO_OPTIMISATION, learning_rate=FLAMINGO_OPTIMISATION.learning_rate / 2),
        seed=seed,
        precision=torch.float32,
    ):
        pass
    return mixed.model.eval()


def lesson(name: str, size: Scale, tower: FrozenTower, seed: int, count: int) -> dict:
    """Lesson 11's Flamingo from any seed, or the same with fewer different scenes, or other weights."""
    weights = DATASET_WEIGHTS | WHOLE[name]
    pool = round(SIZES[size.name].scenes * weights.pop("scenes", 1))
    data = page_datasets(size, FeatureCache(tower, size.image_size), WebPages(seed=seed, pool=pool))
    trained = recipes.get("flamingo").train_or_load(
        size, seed, tower=tower, data=data, weights=weights
    )
    return {
        "row": name,
        "scenes": pool,
        "seed": seed,
        "steps": len(trained.history),
        "seconds": trained.history[-1].seconds,
        **recipes.flamingo.flamingo_report(trained.model.model, size.image_size, count),
    }


def run(name: str, size: Scale, tower: FrozenTower, seed: int, count: int) -> dict:
    """One language model: Flamingo trained between it and the tower, asked, tuned, asked again."""
    reader = recipes.get("language").train_or_load(size, **sized(size, name)).model
    lm, steps = freeze(deepcopy(reader.lm)), STEPS[size.name]
    web, see = (
        WebPages(seed=seed, pool=POOL[size.name], noun_subset=WORDS),
        FeatureCache(tower, size.image_size),
    )
    model = (
        recipes.get("flamingo")
        .train_or_load(
            size, seed, lm=lm, tower=tower, data=page_datasets(size, see, web, share=2), steps=steps
        )
        .model.model
    )
    after = tuned(model, web, see, max(1, steps // 4), seed)
    config = lm.config
    return {
        "row": name,
        "seed": seed,
        "steps": steps,
        "width": config.hidden_size,
        "layers": config.num_hidden_layers,
        "parameters": sum(p.numel() for p in lm.parameters()),
        "learnt": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "language model": recipes.language.language_report(reader),
        "curves": curves(model, size.image_size, count),
        "fine-tuned": {
            task: asked(after, kinds, 0, size.image_size, count) for task, kinds in TASKS.items()
        },
    }


@app.command()
def main(
    scale: str = "laptop",
    seeds: int = 1,
    only: list[str] = typer.Option([*WHOLE, *MODELS], help="Which rows."),
    count: int = 128,
    fresh: bool = False,
) -> None:
    """Trains and measures what isn't measured yet; writes after each row."""
    torch.set_num_threads(1)
    size, name = Scale.of(scale), "replicate_shots" + ("_smoke" if scale == "smoke" else "")
    facts = {
        "scale": scale,
        "count": count,
        "words": len(WORDS),
        "chance": {
            task: float(
                np.mean(
                    [1 / len(few_shot.question_episode(TEST, 0, kind, 0).choices) for kind in kinds]
                )
            )
            for task, kinds in TASKS.items()
        },
        "steps": {"all nouns": SIZES[scale].steps, "the small world": STEPS[scale]},
    }
    kept = [] if fresh else load_matching_results(name, **facts).get("rows", [])
    tower = freeze(FrozenTower(recipes.get("clip").train_or_load(size).model.vision))
    for seed in range(seeds):
        for row in only:
            if any(one["row"] == row and one["seed"] == seed for one in kept):
                continue
            kept.append((lesson if row in WHOLE else run)(row, size, tower, seed, count))
            print(kept[-1], flush=True)
            save_results(name, kept, **facts)


if __name__ == "__main__":
    app()
