"""Rows of Flamingo's ablation table (its Table 3) where the full model has learnt. Writes benchmarks/results/replicate_ablations.json.

    python -m benchmarks.replicate_ablations [--scale smoke|laptop] [--only "from scratch"] [--seeds 3]    about 4 minutes a run

Every row changes one thing of `in_context.flamingo`: 48 nouns, captions, pages of names and of questions, 300 steps with the same
pages in each. Films aren't shown, and a picture is a single vector, so rows about films and resamplers are in
replicate_flamingo.py. "overall" is the mean of captions, questions that need knowledge, questions that don't, and new names.
What things are for (purpose), a third of the knowledge, is never asked in training. Rows that are measured already are kept.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field

import torch
import typer
from torch import nn

from benchmarks.replicate_flamingo import Grafted, Ungated, Vanilla
from vlmcourse import recipes
from vlmcourse.evaluation import load_matching_results, save_results
from vlmcourse.papers.flamingo import Flamingo
from vlmcourse.parts.language import decoder_layers
from vlmcourse.recipes import in_context
from vlmcourse.recipes.features import FeatureCache
from vlmcourse.recipes.few_shot_report import binding, knowledge_report
from vlmcourse.recipes.flamingo import caption_accuracy
from vlmcourse.training.checkpoint import checksum
from vlmcourse.training.mixture import RoundRobinDatasets
from vlmcourse.training.scale import Scale
from vlmcourse.world.interleaved import Part, WebPages

app = typer.Typer(add_completion=False)
SHOTS = 4
KNOWING = ("category", "place", "purpose")


class NoisyThings(in_context.NamedThings):
    """Captions of which four in ten belong to another picture."""

    def captions(self, index: int) -> tuple[Part, ...]:
        scene, text = super().captions(index)
        if self.rng("mismatched", index).random() < 0.4:
            _, text = super().captions(index + 1)
        return scene, text


@dataclass(frozen=True)
class Row:
    """One change.

    without  data sets that are left out;  pages: where pages come from
    lm       (scale, seed) -> another language model than the frozen one, which is trained, too
    options  of the recipe
    blocks   of CLIP's tower that are used: the first so many, default all
    turns    round robin: each step takes pages of one data set, and there are as many times more steps, for as many pages
    """

    name: str
    without: tuple[str, ...] = ()
    pages: type[in_context.NamedThings] = in_context.NamedThings
    lm: Callable[[Scale, int], nn.Module] | None = None
    options: Mapping = field(default_factory=dict)
    blocks: int | None = None
    turns: bool = False


def pretrained(size: Scale, seed: int) -> nn.Module:
    return recipes.get("language").train_or_load(size).model.lm.requires_grad_(True)


def untrained(size: Scale, seed: int) -> nn.Module:
    return recipes.language.new_language(size, seed).lm


ROWS = (
    Row("Flamingo"),
    Row("from scratch", lm=untrained),
    Row("finetuned", lm=pretrained),
    Row("grafting", options={"parts": {"model": Grafted}}),
    Row("every 3rd (paper: every 4th)", options={"cross_attention_every": 3}),
    Row("w/o pages", without=("names", "questions")),
    Row("w/o image-text pairs", without=("captions",)),
    Row("no tanh gates", options={"parts": {"block": Ungated}}),
    Row("pairs -> noisy pairs", pages=NoisyThings),
    Row("vanilla", options={"parts": {"block": Vanilla}}),
    Row("single in the middle (every 2nd)", options={"cross_attention_every": 2}),
    Row("fewer layers of CLIP (paper: CLIP ViT-L/14)", blocks=1),
    Row("round robin", turns=True),
)


def measured(model: Flamingo, size: int, count: int) -> dict[str, float]:
    """Four of the paper's five columns, and their mean."""
    score, nouns = in_context.score(model, size), in_context.SHOWN
    asked = knowledge_report(score, count, (SHOTS,), nouns)
    found = {
        "captions, noun": caption_accuracy(
            model, size, count, web=WebPages("test", noun_subset=nouns.known)
        )["noun"],
        "knowledge questions": statistics.fmean(asked[kind][str(SHOTS)] for kind in KNOWING),
        "seeing questions": asked["what"][str(SHOTS)],
        "a new name, 8 shots": score(binding(count, 8, nouns.known)),
    }
    kinds = {kind: asked[kind][str(SHOTS)] for kind in KNOWING}
    return found | {"overall": statistics.fmean(found.values()), "knowledge": kinds}


def run(row: Row, size: Scale, tower: nn.Module, seed: int, count: int) -> dict:
    """Trains (or loads) and measures one row."""
    if row.blocks:
        tower = deepcopy(tower)
        tower.vit.transformer.blocks = tower.vit.transformer.blocks[: row.blocks]
    see = FeatureCache(tower, size.image_size)
    data = in_context.sources(row.pages(seed=seed), see)
    data = {name: source for name, source in data.items() if name not in row.without}
    options = dict(row.options) | ({"lm": row.lm(size, seed)} if row.lm else {})
    if row.turns:
        options["steps"] = len(data) * in_context.STEPS[size.name][1]
        data = RoundRobinDatasets(data, 1)
    stage = in_context.flamingo(size, seed, data, tower=tower, **options)
    model = stage.model.model
    found = {
        "row": row.name,
        "seed": seed,
        "steps": len(stage.history),
        "seconds": round(stage.history[-1].seconds),
        "learns": sum(p.numel() for p in model.parameters() if p.requires_grad),
        **measured(model, size.image_size, count),
    }
    print(found, flush=True)
    return found


@app.command()
def main(
    scale: str = "laptop",
    seeds: int = 0,
    only: list[str] = typer.Option([], help="Names of rows; default: all."),
    count: int = 0,
) -> None:
    """Trains and measures what isn't measured yet; writes after each row."""
    torch.set_num_threads(1)
    size, name = Scale.of(scale), "replicate_ablations" + ("_smoke" if scale == "smoke" else "")
    lm = recipes.get("language").train_or_load(size).model.lm
    facts = {
        "scale": scale,
        "count": count or (8 if scale == "smoke" else 128),
        "language model": checksum(lm.state_dict())[:16],
    }
    rows = load_matching_results(name, **facts).get("rows", [])
    tower, depth = in_context.tower(size), len(decoder_layers(lm))
    for row in ROWS:
        if row.options.get("cross_attention_every", 1) > depth:
            print(f"left out: {row.name}; this language model has {depth} layers.")
            continue
        for seed in range(seeds or (1 if scale == "smoke" else size.seeds)):
            known = any((one["row"], one["seed"]) == (row.name, seed) for one in rows)
            if not known and (not only or row.name in only):
                rows.append(run(row, size, tower, seed, facts["count"]))
                save_results(name, rows, **facts)


if __name__ == "__main__":
    app()
