"""Which way does it move? What a frozen tower's features tell, and what Flamingo makes of them. Writes
benchmarks/results/replicate_films.json.

    python -m benchmarks.replicate_films [--scale smoke|laptop] [--seeds 3] [--only probes] [--only Flamingo]

probes    ridge regression from CLIP's patches to the direction, of the first frame alone, of the first and the last one
Flamingo  trained on films alone for 300 steps, asked about held-out films, their first frames, and the films backwards

films  "round": as the course's pages, three tenths of the picture round the thing's place in its scene. "start": four tenths
       from any place, so that a first frame tells nothing.
time   size of the time embeddings at the start of training, root mean square (features have 1; the recipe has 0.1)

At laptop scale on one core: probes a minute, a Flamingo two minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
import typer
from torch import Tensor

from vlmcourse import recipes
from vlmcourse.evaluation import load_matching_results, save_results
from vlmcourse.parts.language import freeze
from vlmcourse.recipes.flamingo import (
    FLAMINGO_OPTIMISATION,
    FeatureCache,
    FrozenTower,
    episode_accuracy,
)
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.scale import Scale
from vlmcourse.world.interleaved import PageDataset, WebPages
from vlmcourse.world.nouns import article
from vlmcourse.world.pages import Episode
from vlmcourse.world.videos import DIRECTIONS, Video, make_video

app = typer.Typer(add_completion=False)
WORLDS = ("round", "start")
TIMES = (0.1, 0.5)
FILMS = 512
"""Different films of training."""
WAYS = tuple(DIRECTIONS)


def film(web: WebPages, index: int, world: str) -> Video:
    """Film number `index` of one thing."""
    scene, draws = web.single_thing(index), web.rng("which way", index)
    if world == "round":
        return make_video(scene, draws, web.frames)
    (thing,), distance = scene.things, 0.4
    thing = replace(thing, x=0.2 + 0.6 * draws.random(), y=0.2 + 0.6 * draws.random())
    made = make_video(replace(scene, things=(thing,)), draws, web.frames, distance)
    dx, dy = (step * distance / 2 for step in DIRECTIONS[made.direction])
    later = [
        replace(
            one, things=(replace(one.things[0], x=one.things[0].x + dx, y=one.things[0].y + dy),)
        )
        for one in made.frames
    ]
    return replace(made, frames=tuple(later))


def question(shown: Video) -> Episode:
    """'a dog moves' -> left, of four."""
    return Episode((shown, f"{article(shown.mover)} moves"), shown.direction, WAYS)


def first_frame(shown: Video) -> Video:
    """Its first frame, as often as it has frames."""
    return replace(shown, frames=shown.frames[:1] * len(shown.frames))


def backwards(shown: Video) -> Video:
    """The other way round; the direction that is asked stays that of the film."""
    return replace(shown, frames=shown.frames[::-1])


def ridge(features: Tensor, answers: Tensor, test: Tensor, penalty: float = 0.1) -> Tensor:
    """Answers (M,) of a ridge regression from features (N, F) to one-hot answers; penalty: in units of their mean square."""
    mean = features.mean(0)
    features, test = features - mean, test - mean
    kernel = features @ features.T
    kernel += penalty * kernel.diagonal().mean() * torch.eye(len(kernel))
    weights = torch.linalg.solve(kernel, torch.eye(len(WAYS))[answers] - 1 / len(WAYS))
    return (test @ features.T @ weights).argmax(1)


def probes(world: str, cache: FeatureCache, seed: int, count: int) -> dict[str, float]:
    """Share of right directions on held-out films, read off the features linearly."""
    shown = [film(WebPages(seed=seed), index, world) for index in range(3 * count)]
    shown += [film(WebPages("test"), index, world) for index in range(count)]
    answers = torch.tensor([WAYS.index(one.direction) for one in shown])
    first, last = (cache.pictures([one.frames[n] for one in shown]).flatten(1) for n in (0, -1))
    found = {}
    for name, features in (
        ("first frame", first),
        ("first and last frame", torch.cat([first, last], 1)),
    ):
        said = ridge(features[:-count], answers[:-count], features[-count:])
        found[name] = (said == answers[-count:]).float().mean().item()
    return found


def flamingo(
    world: str, time: float, size: Scale, cache: FeatureCache, seed: int, steps: int, count: int
) -> dict[str, float]:
    """Flamingo trained on films alone: share of right directions."""
    web, recipe = WebPages(seed=seed), recipes.get("flamingo")

    def page(index: int) -> tuple:
        shown = film(web, index % FILMS, world)
        return shown, f"{article(shown.mover)} moves {shown.direction} ."

    run = recipe.prepare(
        size,
        seed,
        sizes=replace(recipe.sizes[size.name], steps=steps),
        tower=cache.encoder,
        features=cache,
        data={"videos": (PageDataset(page, cache), 16)},
        weights={"videos": 1.0},
    )
    model = run.model.model
    with torch.no_grad():
        embeddings = model.resampler.time_embeddings
        embeddings.mul_(time / embeddings.square().mean().sqrt())
    for _ in fit(run.model, Batches(run.data.batch, 1), steps, FLAMINGO_OPTIMISATION, seed=seed):
        pass
    shown = [film(WebPages("test"), index, world) for index in range(count)]
    kinds = {
        "film": list,
        "first frame": lambda films: list(map(first_frame, films)),
        "backwards": lambda films: list(map(backwards, films)),
    }
    found = {}
    for name, change in kinds.items():
        asked = [
            replace(question(one), prompt=(seen, question(one).prompt[1]))
            for one, seen in zip(shown, change(shown))
        ]
        found[name] = episode_accuracy(model, asked, size.image_size)
    return found


@app.command()
def main(
    scale: str = "laptop",
    seeds: int = 3,
    only: list[str] = typer.Option(["probes", "Flamingo"]),  # noqa: B008
    steps: int = 300,
    count: int = 256,
) -> None:
    """Trains and measures what isn't measured yet; writes after each row."""
    torch.set_num_threads(1)
    size, name = Scale.of(scale), f"replicate_films{'_smoke' if scale == 'smoke' else ''}"
    facts = {"scale": scale, "steps": steps, "count": count, "chance": 1 / len(WAYS)}
    rows = load_matching_results(name, **facts).get("rows", [])
    tower = freeze(FrozenTower(recipes.get("clip").train_or_load(size).model.vision))

    def keep(measure: Callable[[], dict[str, float]], **row) -> None:
        if row["row"] in only and not any(row.items() <= one.items() for one in rows):
            rows.append(row | measure())
            print(rows[-1], flush=True)
            save_results(name, rows, **facts)

    for seed in range(seeds):
        for world in WORLDS:
            see = FeatureCache(tower, size.image_size)
            keep(partial(probes, world, see, seed, count), row="probes", films=world, seed=seed)
            for time in TIMES:
                trained = partial(flamingo, world, time, size, see, seed, steps, count)
                keep(trained, row="Flamingo", films=world, time=time, seed=seed)


if __name__ == "__main__":
    app()
