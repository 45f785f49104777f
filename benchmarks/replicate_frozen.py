"""Frozen's tables at reduced scale: all rows, three seeds, controls. Writes benchmarks/results/replicate_frozen.json.

    python -m benchmarks.replicate_frozen [--scale smoke|laptop|gpu] [--only rows|lending|real] [--seeds 3]

rows     the paper's systems                                             about 3 minutes a row, seed and core at laptop scale
lending  when does a frozen model lend its abilities to a picture?       about 3 minutes a condition, seed and core
real     SmolLM2 (`make pretrained`) in the place of the tiny one        about 10 minutes

Every row is an encoder before a language model, trained with the same batches and steps as the stage that ships; rows differ in
the language model (frozen, finetuned with the encoder at a twentieth of its rate, scratch: never pretrained, smaller), in what is seen (blind: grey
pictures, in training and test) and in what is read (captions, or questions with answers). What was measured on today's language
model with as many steps and questions is kept, row by row, so that a run that was stopped goes on; all else in the file is
dropped.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace

import torch
import typer
from torch import nn
from torch.nn.functional import normalize

from benchmarks.replicate_shots import sized
from teaching import smollm2
from vlmcourse import recipes, world
from vlmcourse.evaluation import (
    load_matching_results,
    noun_and_background_accuracy,
    save_results,
)
from vlmcourse.parts.language import freeze
from vlmcourse.recipes.frozen import (
    ONE_THING,
    STOP,
    caption_report,
    descriptive_caption,
    episode_accuracy,
    mean_noun_and_background,
    naming_episodes,
    text_only_accuracy,
    thing_and_background,
    vqa_episodes,
)
from vlmcourse.training.checkpoint import checksum
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer
from vlmcourse.world.prompts import CaptionDataset, blank_images, frame_pixels

app = typer.Typer(add_completion=False)
SHOTS = (0, 1, 2, 4, 8)
SEEING_KINDS = ("what", "colour", "presence")
KNOWING = ("category", "place", "purpose")
NAMING = {
    "1 shot": {"shots": 1},
    "2 shots": {"shots": 2},
    "4 shots": {"shots": 4},
    "1 shot, 1 repeat": {"shots": 1, "repeats": 1},
    "1 shot, no induction": {"shots": 1, "induction": False},
    "1 shot, 5 ways": {"shots": 1, "ways": 5},
}
ROWS = ("Frozen", "smaller LM", "finetuned", "scratch", "train-blind", "VQA", "VQA-blind")


def steps(size: Scale) -> int:
    """As many as the stage that ships."""
    return recipes.get("frozen").sizes[size.name].steps


def small(size: Scale) -> dict[str, int]:
    """Two thirds as wide, with as many layers. With a third, and one layer less, no encoder learnt to name things."""
    return sized(size, "medium")


@dataclass(frozen=True)
class SlowLanguageModel(Optimisation):
    """The language model learns at `share` of the encoder's rate. At the whole rate it learns its captions blind, before the
    encoder sees anything: no noun is named."""

    share: float = 1 / 20

    def optimiser(self, model: nn.Module, device: torch.device) -> torch.optim.AdamW:
        made = super().optimiser(model, device)
        slow = {id(parameter) for parameter in model.lm.parameters()}
        for group in list(made.param_groups):
            own = [one for one in group["params"] if id(one) in slow]
            group["params"] = [one for one in group["params"] if id(one) not in slow]
            made.add_param_group({**group, "params": own, "share": self.share})
        return made

    def set_learning_rate(self, optimiser: torch.optim.Optimizer, step: int, steps: int) -> float:
        rate = super().set_learning_rate(optimiser, step, steps)
        for group in optimiser.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
        return rate


def trained(name: str, size: Scale, seed: int):
    """The model of a row, and what it sees."""
    view = blank_images if "blind" in name else world.to_pixels
    lm = {
        "smaller LM": lambda: freeze(
            recipes.get("language").train_or_load(size, **small(size)).model.lm
        ),
        "finetuned": lambda: (
            recipes.get("language").train_or_load(size).model.lm.requires_grad_(True)
        ),
        "scratch": lambda: recipes.language.new_language(size, seed).lm,
    }.get(name)
    data = (
        recipes.frozen.vqa_data(size, SEEING_KINDS, seed, view)
        if "VQA" in name
        else recipes.frozen.caption_data(size, seed, view)
    )
    made = recipes.get("frozen")
    if name == "finetuned":
        made = replace(made, optimisation=SlowLanguageModel(**asdict(made.optimisation)))
    return made.train_or_load(size, seed, lm=lm and lm(), data=data, steps=steps(size)), view


def row(name: str, size: Scale, seed: int, count: int) -> dict:
    """Everything that is measured of one row with one seed."""
    torch.set_num_threads(1)
    made, view = trained(name, size, seed)
    model = made.model
    found = {
        "row": name,
        "seed": seed,
        "learns": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "training loss": sum(step.loss for step in made.history[-50:]) / len(made.history[-50:]),
    }
    if "VQA" not in name:
        found["captions"] = caption_report(model, count, view)
    found["questions"] = {
        kind: {
            shots: episode_accuracy(model, vqa_episodes(kind, shots, count), view)
            for shots in SHOTS
        }
        for kind in SEEING_KINDS + KNOWING
    }
    found["questions, written"] = {
        kind: {
            shots: episode_accuracy(model, vqa_episodes(kind, shots, count), view, written=True)
            for shots in (0, 4)
        }
        for kind in SEEING_KINDS + KNOWING
    }
    found["naming"] = {
        how: episode_accuracy(model, naming_episodes(count=count, **options), view)
        for how, options in NAMING.items()
    }
    if name == "Frozen":
        found["blind"] = {
            kind: episode_accuracy(model, vqa_episodes(kind, 0, count), blank_images)
            for kind in SEEING_KINDS + KNOWING
        }
        found["shuffled"] = {
            kind: episode_accuracy(model, vqa_episodes(kind, 0, count), shuffled=True)
            for kind in SEEING_KINDS + KNOWING
        }
        found["blind"]["naming"], found["shuffled"]["naming"] = (
            episode_accuracy(model, naming_episodes(1, count), blank_images),
            episode_accuracy(model, naming_episodes(1, count), shuffled=True),
        )
    print(found, flush=True)
    return found


def in_words(size: Scale, count: int) -> dict:
    """What the language model answers when it reads two right words in the place of each picture: nobody can lend more."""
    lm = recipes.get("language").train_or_load(size).model
    return {
        "questions": {
            kind: {
                shots: text_only_accuracy(lm, vqa_episodes(kind, shots, count)) for shots in SHOTS
            }
            for kind in SEEING_KINDS + KNOWING
        },
        "naming": {
            how: text_only_accuracy(lm, naming_episodes(count=count, **options))
            for how, options in NAMING.items()
        },
    }


def nowhere(lm: nn.Module) -> None:
    """No start: the paper's plain matrix."""


def one_form(scene: world.Scene, draws: world.scenes.SeededRandom) -> str:
    """Full captions only, which the language model has met less often after a description than short ones."""
    return f"{world.captions.detailed(scene, draws)} {STOP}"


CONDITIONS = {
    "as in this course": (mean_noun_and_background, thing_and_background),
    "start nowhere": (nowhere, thing_and_background),
    "captions of all forms": (mean_noun_and_background, descriptive_caption),
    "full captions only": (mean_noun_and_background, one_form),
}
"""Where the vectors start, and which captions they are trained on."""


def lending(condition: str, size: Scale, seed: int, count: int) -> dict:
    """Does the language model lend its abilities to these vectors? Trained on captions alone in each condition."""
    torch.set_num_threads(1)
    start, caption = CONDITIONS[condition]
    data = CaptionDataset(
        world.Pairs("train", size.image_size, seed, ONE_THING, caption), recipes.frozen.IMAGE_PREFIX
    )
    model = (
        recipes.get("frozen")
        .train_or_load(size, seed, data=data, start=start, steps=steps(size))
        .model
    )
    scenes = [world.sample("test", index, 0, ONE_THING) for index in range(count)]
    words = model.lm.get_input_embeddings().weight
    with torch.no_grad():
        written = model.encode_prefix(
            frame_pixels([(scene,) for scene in scenes], size.image_size)
        ).reshape(count, 2, -1)
        nearest = (normalize(written, dim=-1) @ normalize(words, dim=-1).T).argmax(-1)  # (N, n)
    own = torch.tensor([tokenizer.encode([scene.words[0]])[0, 1] for scene in scenes])
    found = {
        "condition": condition,
        "seed": seed,
        "noun": caption_report(model, count)["noun"],
        **{
            kind: episode_accuracy(model, vqa_episodes(kind, 0, count))
            for kind in SEEING_KINDS + KNOWING
        },
        "naming": episode_accuracy(model, naming_episodes(1, count)),
        "naming, no induction": episode_accuracy(model, naming_episodes(1, count, induction=False)),
        "own word nearest": (nearest == own[:, None]).any(-1).float().mean().item(),
        "length, in words": (written.norm(dim=-1).mean() / words.norm(dim=-1).mean()).item(),
    }
    print(found, flush=True)
    return found


def real(size: Scale, count: int) -> dict:
    """SmolLM2 with the encoder of teaching.smollm2.train(): what a real language model changes. One seed."""
    lm, read = smollm2.smollm2()
    model = smollm2.trained(lm, read, size)
    scenes = [world.sample("test", index, 0, ONE_THING) for index in range(count)]
    eye, pairs = (
        recipes.get("frozen").train_or_load(size).model,
        world.Pairs("train", size.image_size, 0, ONE_THING),
    )
    before = smollm2.initialise_from(smollm2.new_encoder(lm, read, size), eye, read, pairs).eval()
    found = {
        "captions": noun_and_background_accuracy(
            smollm2.generate_captions(model, read, scenes), scenes
        ),
        "captions, before training": noun_and_background_accuracy(
            smollm2.generate_captions(before, read, scenes), scenes
        ),
        "captions, blind": noun_and_background_accuracy(
            smollm2.generate_captions(model, read, scenes, blank_images), scenes
        ),
        "answers": {},
    }
    names = {how: naming_episodes(count=2 * count, **NAMING[how]) for how in ("1 shot", "4 shots")}
    asks = {
        **{
            f"{kind}, {shots} shots": (vqa_episodes(kind, shots, count), smollm2.IMAGE_PREFIX)
            for kind, shots in (("colour", 0), ("presence", 0), ("presence", 4), ("category", 0))
        },
        "naming, 4 shots": (names["4 shots"], smollm2.IMAGE_PREFIX),
        **{
            f"naming in plain English, {how}": (
                [smollm2.in_plain_english(one) for one in those],
                smollm2.CALLED,
            )
            for how, those in names.items()
        },
    }
    for name, (those, image_prefix) in asks.items():
        found["answers"][name] = {
            "SmolLM2": smollm2.episode_accuracy(model, read, those, image_prefix=image_prefix),
            "shown grey": smollm2.episode_accuracy(
                model, read, those, blank_images, image_prefix=image_prefix
            ),
            "shuffled pictures": smollm2.episode_accuracy(
                model, read, those, shuffled=True, image_prefix=image_prefix
            ),
            "described in words": smollm2.text_only_accuracy(model, read, those, image_prefix),
            "chance": sum(1 / len(one.choices) for one in those) / len(those),
        }
        print(name, found["answers"][name], flush=True)
    return found


PARTS = ("rows", "lending", "real")


@app.command()
def main(
    scale: str = "laptop",
    only: list[str] = typer.Option(list(PARTS[:2]), help="Which of: rows, lending, real."),
    systems: list[str] = typer.Option(list(ROWS), "--system", help="Which of the rows."),
    count: int = 96,
    seeds: int = 3,
    workers: int = 2,
) -> None:
    """Trains what is not in the cache, measures, writes results/replicate_frozen.json."""
    size, name = Scale.of(scale), "replicate_frozen" + ("_smoke" if scale == "smoke" else "")
    # once, before the workers ask for them
    lm = recipes.get("language").train_or_load(size).model.lm
    if "smaller LM" in systems:
        recipes.get("language").train_or_load(size, **small(size))
    facts = {
        "scale": scale,
        "count": count,
        "steps": steps(size),
        "language model": checksum(lm.state_dict())[:16],
    }
    kept = load_matching_results(name, **facts)
    measured = {"rows": kept.get("rows", []), "lending": kept.get("lending", [])}
    facts["chance"] = {
        kind: sum(1 / len(one.choices) for one in vqa_episodes(kind, 0, 32)) / 32
        for kind in SEEING_KINDS + KNOWING
    }
    facts["words"] = kept.get("words") or in_words(size, count)
    facts["real"] = real(size, count // 3) if "real" in only else kept.get("real")

    def save() -> None:
        save_results(name, measured["rows"], lending=measured["lending"], **facts)

    parts = {"rows": (row, "row", systems), "lending": (lending, "condition", tuple(CONDITIONS))}
    with ProcessPoolExecutor(workers) as pool:
        jobs = {
            pool.submit(work, which, size, seed, count): part
            for seed in range(seeds)
            for part, (work, key, whichs) in parts.items()
            for which in whichs
            if part in only
            and (which, seed) not in {(one[key], one["seed"]) for one in measured[part]}
        }
        for job in as_completed(jobs):
            measured[jobs[job]].append(job.result())
            save()
    save()


if __name__ == "__main__":
    app()
