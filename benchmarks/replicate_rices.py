"""Which examples to show: at random, or the most similar ones (Flamingo's RICES)? Writes benchmarks/results/replicate_rices.json.

    python -m benchmarks.replicate_rices [--scale smoke|laptop] [--seeds 3]     five minutes of a core when the models are there

Twelve things have invented names, and a pool holds four pictures of each. A prompt shows 1 to 8 of the pool's pictures with
their names, and then a new picture. The Flamingo is that of benchmarks.in_context.

    right     share of right answers among the twelve names
    shown     share of prompts in which the right name is among the examples: nobody can learn more from them
    nearest   who says the name of the most similar example, and reads nothing
    blind     the same prompts with grey pictures: what the choice of examples gives away
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import typer

from vlmcourse.evaluation import save_results
from vlmcourse.recipes import in_context
from vlmcourse.recipes.features import FeatureCache
from vlmcourse.recipes.few_shot_report import NAMES
from vlmcourse.training.scale import Scale
from vlmcourse.world.few_shot import retrieve_nearest
from vlmcourse.world.nouns import article
from vlmcourse.world.pages import Episode, nouns_of_split, single_thing
from vlmcourse.world.prompts import blank_images
from vlmcourse.world.scenes import Scene, SeededRandom

app = typer.Typer(add_completion=False)
WAYS, PICTURES = 12, 4
SHOTS = (1, 2, 4, 8)
Choose = Callable[[Scene, Sequence[Scene], int, SeededRandom], list[int]]
"""(the new picture, the pool, how many, draws) -> numbers of the pool, the last one beside the question."""


def at_random(query: Scene, pool: Sequence[Scene], count: int, draws: SeededRandom) -> list[int]:
    """Any examples."""
    return draws.sample(range(len(pool)), count)


def most_similar(cache: FeatureCache) -> Choose:
    """The pictures whose features are nearest to the new one's."""

    def choose(query: Scene, pool: Sequence[Scene], count: int, draws: SeededRandom) -> list[int]:
        features = cache.pictures([query, *pool]).mean(1)
        return retrieve_nearest(features[:1], features[1:], count)[0].tolist()

    return choose


def episode(index: int, count: int, choose: Choose) -> Episode:
    """Prompt number `index`: the same things, names, pool and question for every count and choice."""
    draws = SeededRandom("rices", index)
    words = draws.sample(nouns_of_split("test", in_context.NOUNS), WAYS)
    names = draws.sample(NAMES, WAYS)
    shown = [
        (single_thing(word, "test", draws), name)
        for word, name in zip(words, names)
        for _ in range(PICTURES)
    ]
    target = int(draws.random() * WAYS)
    query = single_thing(words[target], "test", draws)
    chosen = choose(query, [scene for scene, _ in shown], count, draws)
    examples = [
        part
        for scene, name in (shown[number] for number in chosen)
        for part in (scene, f"this is {article(name)} .")
    ]
    return Episode((*examples, query, "this is a"), names[target], tuple(names))


def names_shown(one: Episode) -> list[str]:
    """The names of the examples, in order."""
    return [part.split()[3] for part in one.prompt[:-1] if isinstance(part, str)]


def measured(score, blind, choose: Choose, count: int) -> dict[str, dict[str, float]]:
    """{what: {examples: share}} of one way to choose."""
    found: dict[str, dict[str, float]] = {}
    for shots in SHOTS:
        episodes = [episode(index, shots, choose) for index in range(count)]
        values = {
            "right": score(episodes),
            "shown": sum(one.answer in names_shown(one) for one in episodes) / count,
            "nearest": sum(one.answer == names_shown(one)[-1] for one in episodes) / count,
            "blind": blind(episodes),
        }
        for name, value in values.items():
            found.setdefault(name, {})[str(shots)] = round(value, 4)
    return found


@app.command()
def main(scale: str = "laptop", seeds: int = 3, count: int = 256) -> None:
    """Trains (or loads from the cache) Flamingo with each seed and asks it; writes after each."""
    torch.set_num_threads(1)
    size, rows = Scale.of(scale), []
    choices = {
        "random": at_random,
        "RICES": most_similar(FeatureCache(in_context.tower(size), size.image_size)),
    }
    for seed in range(seeds):
        model = in_context.flamingo(size, seed).model.model
        score = in_context.score(model, size.image_size)
        blind = in_context.score(model, size.image_size, blank_images)
        for name, choose in choices.items():
            rows.append({"row": name, "seed": seed, **measured(score, blind, choose, count)})
            print(rows[-1], flush=True)
            save_results(
                f"replicate_rices{'_smoke' if scale == 'smoke' else ''}",
                rows,
                scale=scale,
                count=count,
                chance=round(1 / WAYS, 4),
            )


if __name__ == "__main__":
    app()
