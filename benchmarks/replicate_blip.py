"""BLIP's tables at reduced scale, with seeds and controls. Writes benchmarks/results/replicate_blip.json.

    python -m benchmarks.replicate_blip [--scale smoke|laptop|gpu] [--only sharing|capfilt|writing|tasks|"small dialogues"|"minimal pairs"] [--fresh]

sharing  Table 3: what encoder and decoder share; retrieval with and without re-ranking, attribute swaps, captions
capfilt  Table 1: captioner and filter, alone and together, on pairs of which 3 in 10 are noise;
writing  Table 2: nucleus sampling or beam search, with the exact noise ratio of each
         and the noisy pairs of a ninth of the pictures: 14 million and 129 million are as far apart
tasks    Sec. 5: questions, two pictures, dialogues, films without training on films
small dialogues  lesson 09's second rounds about twelve things, whose wrong answers are all of the right kind
minimal pairs  not in the paper: who is where, learnt by match from minimal pairs in a smaller world; with ITC on the same pairs,
               on ordinary batches (the paper's division of labour), and without ITC

The image tower begins as the CLIP stage's, as the paper's begins with ImageNet's weights. Careful: that tower has read clean
captions of this world, ImageNet's has read none, so CapFilt has it easier here. Every row of a table takes the same number of
steps, 2 in 5 of lesson 08's; only "two pictures" starts from lesson 08's own model, for from so short a training it learns
nothing (0.53 of the statements, blind 0.53). Trained stages are cached: a run that was stopped goes on.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict

import torch
import typer

from teaching import capfilt_recipe as cleaning
from teaching import (
    capfilt_reference,
    downstream,
    downstream_data,
    downstream_figures,
    minimal_pairs,
)
from teaching.blip_tasks import (
    TWO_PICTURES_OPTIMISATION,
    Dialogues,
    Questions,
    Statements,
    answer_report,
    compare_report,
    finetune,
    talk_report,
    video_report,
)
from vlmcourse import recipes
from vlmcourse.evaluation import load_matching_results, save_results
from vlmcourse.papers.blip import PARAMETER_SHARING
from vlmcourse.papers.blip_tasks import BLIPForNLVR2, BLIPForVisDial, BLIPForVQA
from vlmcourse.training.scale import Scale

app = typer.Typer(add_completion=False)
FEWER = "noisy, a ninth of the pictures"
DIALOGUE_STEPS = 120


def pretrained(size: Scale, seed: int, **changes):
    """The BLIP stage with as many steps as CapFilt's models take, 2 in 5 of the lesson's: some forty are trained here."""
    vision = recipes.get("clip").train_or_load(size).model.vision
    steps = cleaning.pretraining_steps(size)
    return recipes.get("blip").train_or_load(size, seed, vision=vision, steps=steps, **changes)


def sharing(size: Scale, name: str, seed: int) -> dict:
    torch.set_num_threads(1)
    model = pretrained(size, seed, unshared=PARAMETER_SHARING[name]).model
    text = {
        id(p): p.numel()
        for part in (model.encoder, model.decoder, model.head)
        for p in part.parameters()
    }
    return _said(
        {
            "row": name,
            "seed": seed,
            "text parameters": sum(text.values()),
            **recipes.blip.blip_report(model),
        }
    )


def capfilt(size: Scale, name: str, seed: int) -> dict:
    """One row of Table 1: a model from scratch on one of the data sets."""
    torch.set_num_threads(1)
    if name == FEWER:
        images = 60 * recipes.get("blip").sizes[size.name].batch // 9
        few = cleaning.web_pairs(size, images, seed) + cleaning.annotated_pairs(
            size, max(1, images // 6), seed
        )
        report = cleaning.train_on(few, size, seed)[1]
        return _said({"row": name, "seed": seed, "pairs": len(few), **report})
    made = cleaning.capfilt(size, seed)
    report = cleaning.train_on(made.rows[name], size, seed)[1]
    return _said(
        {"row": name, "seed": seed, "pairs": len(made.rows[name]), **report, "filter": made.report}
    )


def writing(size: Scale, name: str, seed: int) -> dict:
    """One row of Table 2: how the captioner writes."""
    torch.set_num_threads(1)
    made = cleaning.capfilt(size, seed, beams=3 if name == "beam" else None)
    report = cleaning.train_on(made.rows["C and F"], size, seed)[1]
    different = len({text for _, text in made.synthetic.rows}) / len(made.synthetic)
    return _said(
        {
            "row": name,
            "seed": seed,
            "noise ratio": made.report["synthetic"]["noise before"],
            "thrown out": made.report["synthetic"]["thrown out"],
            "different captions": different,
            **report,
        }
    )


def tasks(size: Scale, name: str, seed: int) -> dict:
    torch.set_num_threads(1)
    whole = name == "two pictures"
    blip = (recipes.get("blip").train_or_load(size) if whole else pretrained(size, seed)).model
    pixel_values = size.image_size
    if name == "answers":
        model = finetune(
            name, BLIPForVQA(blip), Questions(size=pixel_values, seed=seed), size, seed
        )
        found = {kind: asdict(one) for kind, one in answer_report(model).items()} | {
            "films": video_report(blip, model)
        }
    elif name == "two pictures":
        found = compare_report(
            finetune(
                "comparing",
                BLIPForNLVR2(blip),
                Statements(size=pixel_values, seed=seed),
                size,
                seed,
                cleaning.pretraining_steps(size),
                optimisation=TWO_PICTURES_OPTIMISATION,
            )
        )
    else:
        found = talk_report(
            finetune(
                "talking", BLIPForVisDial(blip), Dialogues(size=pixel_values, seed=seed), size, seed
            )
        )
    return _said({"row": name, "seed": seed, **found})


def small_dialogues(size: Scale, name: str, seed: int) -> dict:
    """Second rounds about one or two of twelve things; the candidates are all colours, or all things."""
    torch.set_num_threads(1)
    steps = {"smoke": 2}.get(size.name, DIALOGUE_STEPS)
    blip = pretrained(size, seed).model
    model = downstream.build(downstream.SmallVisDial, blip, capfilt_reference.PARTS)
    learnt = downstream_data.dialogues(blip, "train", 16 * steps)
    downstream.train(model, learnt.table(), steps, seed=seed)
    asked = downstream_data.dialogues(blip, "test", 8 if size.name == "smoke" else 256)
    views = {
        view: capfilt_reference.ranking_metrics(
            downstream_figures.talk_scores(model, asked, blank), asked.right
        )
        for view, blank in downstream_figures.VIEWS.items()
    }
    chance = sum(1 / len(options) for options in asked.candidates) / len(asked.candidates)
    return _said({"row": name, "seed": seed, "steps": steps, "R@1, chance": chance, **views})


CONTRASTS = {
    "with contrast": minimal_pairs.siblings,
    "contrast on ordinary batches": minimal_pairs.ordinary,
    "without contrast": None,
}


def pairs_that_differ_in_positions(size: Scale, name: str, seed: int) -> dict:
    """Which of two captions with exchanged things is right?"""
    torch.set_num_threads(1)
    made = minimal_pairs.train_on_minimal_pairs(size, seed, contrast=CONTRASTS[name])
    return _said(
        {
            "row": name,
            "seed": seed,
            "seconds": made.history[-1].seconds,
            **minimal_pairs.close_report(made.model),
        }
    )


def _said(row: dict) -> dict:
    print(row, flush=True)
    return row


PARTS = {
    "sharing": (sharing, tuple(PARAMETER_SHARING)),
    "capfilt": (capfilt, ("noisy", "F", "C", "C and F", FEWER)),
    "writing": (writing, ("beam", "nucleus")),
    "tasks": (tasks, ("answers", "two pictures", "dialogues")),
    "small dialogues": (small_dialogues, ("second rounds",)),
    "minimal pairs": (pairs_that_differ_in_positions, tuple(CONTRASTS)),
}


@app.command()
def main(
    scale: str = "laptop",
    only: list[str] = typer.Option(list(PARTS), help="Which parts to measure."),
    seeds: int | None = None,
    workers: int = 2,
    fresh: bool = False,
) -> None:
    """Trains and measures what isn't measured yet (of the parts asked for: all, if `fresh`); writes after each row."""
    size, name = Scale.of(scale), "replicate_blip" + ("_smoke" if scale == "smoke" else "")
    if {"sharing", "tasks", "small dialogues", "minimal pairs"} & set(only):
        recipes.get("clip").train_or_load(size)  # once, before the workers ask for it
    facts = {"scale": scale, "steps": cleaning.pretraining_steps(size)}
    before = load_matching_results(name, **facts)
    measured: dict[str, list[dict]] = {
        part: []
        if fresh and part in only
        else before.get("rows" if part == "sharing" else part, [])
        for part in PARTS
    }
    with ProcessPoolExecutor(workers) as pool:
        for part in only:  # one after the other: rows of a part share stages
            (work, rows), known = PARTS[part], {(one["row"], one["seed"]) for one in measured[part]}
            jobs = [
                pool.submit(work, size, row, seed)
                for seed in range(seeds or size.seeds)
                for row in rows
                if (row, seed) not in known
            ]
            for job in jobs:
                measured[part].append(job.result())
                others = {other: rows for other, rows in measured.items() if other != "sharing"}
                kept = save_results(name, measured["sharing"], **others, **facts)
                print(f"Kept {kept}", flush=True)


if __name__ == "__main__":
    app()
