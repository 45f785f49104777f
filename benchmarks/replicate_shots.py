"""Flamingo's few-shot curves with three sizes of language model, fine-tuned beside few-shot (its Figure 2 and Tables 1 and 2,
reduced). Writes benchmarks/results/replicate_shots.json.

    python -m benchmarks.replicate_shots [--scale smoke|laptop|gpu] [--seeds 3] [--only small]    about 3 minutes a run and core

The recipe is `in_context.flamingo`: 48 nouns, 300 steps on captions, pages of names and of questions. Rows differ in the language
model alone, whose sizes are trained first on the same texts (8 minutes at most each). All are asked the same held-out questions
after 0 to 8 solved ones, and the names of new things, with the examples' own pictures and with another prompt's. Fine-tuned: what
learns in Flamingo learns on for a quarter of the steps, on single questions of the kinds asked, what things are for among them,
and is asked without examples. Rows that are measured already are kept.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

import torch
import typer
from torch import nn

from vlmcourse import recipes
from vlmcourse.evaluation import load_matching_results, save_results
from vlmcourse.evaluation.prompting import chance_accuracy
from vlmcourse.papers.flamingo import Flamingo
from vlmcourse.parts.language import freeze
from vlmcourse.recipes import in_context
from vlmcourse.recipes.features import FeatureCache
from vlmcourse.recipes.few_shot_report import SHOTS, binding
from vlmcourse.recipes.flamingo import FLAMINGO_OPTIMISATION
from vlmcourse.training.batches import Batches
from vlmcourse.training.checkpoint import checksum
from vlmcourse.training.fit import fit
from vlmcourse.training.mixture import JointDatasets, WeightedLosses
from vlmcourse.training.scale import Scale
from vlmcourse.world import few_shot
from vlmcourse.world.interleaved import PageDataset, Part, WebPages
from vlmcourse.world.pages import Episode, question_prompt
from vlmcourse.world.questions import ask

app = typer.Typer(add_completion=False)
MODELS = {"small": (1 / 3, -1), "medium": (2 / 3, 0), "large": (1, 0)}
"""Width of the scale's language model times this, and so many layers more: the large one is the course's own."""
TASKS = {"knowledge questions": ("category", "place", "purpose"), "seeing questions": ("what",)}


def sized(size: Scale, name: str) -> dict[str, int]:
    """Width and depth of that language model: heads are 32 wide, and there is at least one layer."""
    (times, more), sizes = MODELS[name], recipes.get("language").sizes[size.name]
    width = max(32, round(sizes.width * times / 32) * 32)
    return {"width": width, "depth": max(1, sizes.depth + more)}


def asked(kind: str, shots: int, count: int) -> list[Episode]:
    """Questions about held-out pictures of the 48 nouns, after so many solved ones."""
    web = WebPages("test", noun_subset=in_context.NOUNS)
    return [few_shot.question_episode(web, index, kind, shots) for index in range(count)]


def answered(model: Flamingo, kinds: Sequence[str], shots: int, size: int, count: int) -> float:
    """Share of right answers, the mean over kinds."""
    score = in_context.score(model, size)
    return statistics.fmean(score(asked(kind, shots, count)) for kind in kinds)


def curves(model: Flamingo, size: int, count: int) -> dict[str, dict[str, float]]:
    """{task: {solved examples: share of right answers}}"""
    score, names = in_context.score(model, size), {n: binding(count, n, in_context.NOUNS) for n in SHOTS}  # fmt: skip
    found = {
        task: {str(n): answered(model, kinds, n, size, count) for n in SHOTS}
        for task, kinds in TASKS.items()
    }
    return found | {
        "new names": {str(n): score(names[n]) for n in SHOTS},
        "new names, exchanged pictures": {
            str(n): score(few_shot.other_pictures(names[n])) for n in SHOTS
        },
    }


def tuned(model: Flamingo, cache: FeatureCache, steps: int, seed: int) -> Flamingo:
    """A copy that goes on learning, from pages of one question with its answer."""
    web = in_context.NamedThings(seed=seed)
    kinds = tuple(kind for kinds in TASKS.values() for kind in kinds)

    def page(index: int) -> tuple[Part, ...]:
        draws, scene = web.rng("tuning", index), web.single_thing(index)
        question = ask(scene, draws, (draws.choice(kinds),))
        return scene, f"{question_prompt(question)} {question.answer} ."

    mixed = WeightedLosses(deepcopy(model), {"questions": 1.0}, steps)
    source = JointDatasets({"questions": (PageDataset(page, cache), 32)})
    slower = replace(FLAMINGO_OPTIMISATION, learning_rate=FLAMINGO_OPTIMISATION.learning_rate / 2)
    batches = Batches(source.batch, 1)
    for _ in fit(mixed, batches, steps, slower, seed=seed, precision=torch.float32):
        pass
    return mixed.model.eval()


def run(name: str, size: Scale, tower: nn.Module, seed: int, count: int) -> dict:
    """One language model: Flamingo trained between it and the tower, asked, tuned, asked again."""
    reader = recipes.get("language").train_or_load(size, **sized(size, name)).model
    lm, steps = freeze(deepcopy(reader.lm)), in_context.STEPS[size.name][1]
    cache = FeatureCache(tower, size.image_size)
    data = in_context.sources(in_context.NamedThings(seed=seed), cache)
    stage = in_context.flamingo(size, seed, data, tower=tower, lm=lm)
    model = stage.model.model
    after = tuned(model, cache, max(1, steps // 4), seed)
    return {
        "row": name,
        "seed": seed,
        "seconds": round(stage.history[-1].seconds),
        **sized(size, name),
        "parameters": sum(p.numel() for p in lm.parameters()),
        "learns": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "language model": recipes.language.language_report(reader),
        "curves": curves(model, size.image_size, count),
        "fine-tuned": {
            task: answered(after, kinds, 0, size.image_size, count) for task, kinds in TASKS.items()
        },
    }


@app.command()
def main(
    scale: str = "laptop",
    seeds: int = 0,
    only: list[str] = typer.Option([*MODELS], help="Which rows."),
    count: int = 0,
) -> None:
    """Trains and measures what isn't measured yet; writes after each row."""
    torch.set_num_threads(1)
    size, name = Scale.of(scale), "replicate_shots" + ("_smoke" if scale == "smoke" else "")
    count = count or (8 if scale == "smoke" else 256)
    lm = recipes.get("language").train_or_load(size).model.lm
    facts = {
        "scale": scale,
        "count": count,
        "steps": in_context.STEPS[scale][1],
        "chance": {
            task: statistics.fmean(chance_accuracy(asked(kind, 0, count)) for kind in kinds)
            for task, kinds in TASKS.items()
        },
        "language model": checksum(lm.state_dict())[:16],
    }
    rows = load_matching_results(name, **facts).get("rows", [])
    tower = in_context.tower(size)
    for seed in range(seeds or (1 if scale == "smoke" else size.seeds)):
        for row in only:
            if not any(one["row"] == row and one["seed"] == seed for one in rows):
                rows.append(run(row, size, tower, seed, count))
                print(rows[-1], flush=True)
                save_results(name, rows, **facts)


if __name__ == "__main__":
    app()
