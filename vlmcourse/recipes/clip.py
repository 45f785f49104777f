"""CLIP: the stage of lesson 02, its report, and the command `vlmcourse train clip`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from vlmcourse import world
from vlmcourse.evaluation import (
    accuracy,
    class_embeddings,
    embed,
    measure_controls,
    relevance,
    retrieval_recall,
    zero_shot,
)
from vlmcourse.papers.clip import CLIP, CLIPConfig
from vlmcourse.recipes.own_pictures import read_own_pictures, save_model
from vlmcourse.training import checkpoint
from vlmcourse.training.batches import Batches
from vlmcourse.training.devices import processes
from vlmcourse.training.fit import Step, fit
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import TrainedStage, seeded, train_or_load
from vlmcourse.world import tokenizer

CONTEXT = 32  # tokens a text may have
HELD_OUT = 256  # scenes that retrieval chooses among


def clip_config(scale: Scale, vocabulary: int | None = None, **changes) -> CLIPConfig:
    """CLIP's sizes at a scale; `changes` replace fields of CLIPConfig."""
    return CLIPConfig(
        **{
            "vocabulary": vocabulary or len(tokenizer.world_tokenizer()),
            "end": tokenizer.EOS,
            "context": CONTEXT,
            "embedding": scale.width,
            "image_size": scale.image_size,
            "vision_width": scale.width,
            "vision_depth": scale.vision_depth,
            "vision_heads": scale.heads,
            "text_width": scale.width,
            "text_depth": scale.text_depth,
            "text_heads": scale.heads,
            **changes,
        }
    )


def training_pairs(scale: Scale, seed: int = 0, **changes) -> world.Pairs:
    """The world's training split, with captions as varied as people's, in most frames of prompts. `changes` replace fields of Pairs.

    Half of the scenes show a single thing: who is asked for single things should have met them. (With a quarter, zero-shot
    accuracy stays several points lower at equal steps, and retrieval among scenes of one to four things is the same.)
    """
    return world.Pairs(
        **{
            "split": "train",
            "size": scale.image_size,
            "seed": seed,
            "single_share": 1 / 3,
            "caption": world.captions.prompted,
            **changes,
        }
    )


def new_clip(config: CLIPConfig, seed: int = 0) -> CLIP:
    """An untrained CLIP whose weights depend on the seed alone."""
    with seeded(seed):
        return CLIP(config)


def clip(
    scale: Scale | str | None = None,
    seed: int = 0,
    *,
    pairs: world.Pairs | None = None,
    steps: int | None = None,
    on_step: Callable[[Step], None] | None = None,
    **changes,
) -> TrainedStage:
    """CLIP on the world, trained or loaded. `pairs`: other training data than the world's own; `changes`: of CLIPConfig."""
    size = Scale.of(scale)
    pairs = pairs or training_pairs(size, seed)
    config = clip_config(size, **changes)
    fingerprint = {
        "config": str(config),
        "split": pairs.split,
        "data seed": pairs.seed,
        "things": pairs.things,
        "alone": pairs.single_share,
        "caption": pairs.caption.__qualname__,
        "noise": pairs.noise and [pairs.noise.share, pairs.noise.kind.__name__],
        "batch": size.batch,
    }
    if nouns := getattr(pairs, "noun_subset", ()):
        fingerprint["nouns"] = nouns
    return train_or_load(
        "clip",
        new_clip(config, seed),
        Batches(pairs.batch, size.batch),
        steps or size.steps,
        fingerprint=fingerprint,
        seed=seed,
        on_step=on_step,
    )


def singles(
    size: int, count: int = 512, split: str = "test"
) -> tuple[world.Pairs, torch.Tensor, torch.Tensor]:
    """Scenes of one thing, their pixels, and which known noun each shows: for zero-shot classification and probes."""
    pairs = world.Pairs(split, size, things=(1, 1))
    names = world.known_nouns()
    labels = torch.tensor([names.index(scene.words[0]) for scene in pairs.scenes(range(count))])
    return pairs, world.to_pixels(pairs.images(range(count))), labels


def noun_classes(model: CLIP, templates: tuple[str, ...] = world.captions.PROMPTS) -> torch.Tensor:
    """Class embeddings of all known nouns, (C, E)."""
    return class_embeddings(
        model, [world.article(word) for word in world.known_nouns()], templates, tokenizer.encode
    )


def clip_report(model: CLIP, data=None) -> dict[str, float]:
    """Retrieval both ways among held-out pairs and, on the world, zero-shot nouns; each beside its blind controls.

    data: a held-out set of your own (folders.CaptionedPictures); default: the world's test split, compositions never trained on.
    """
    size = model.config.image_size
    pairs = data or world.Pairs("test", size)
    indices = pairs.distinct(HELD_OUT)
    batch = pairs.batch(indices)
    first, relevant = relevance(batch)
    images, texts = embed(model, pairs, indices)
    report: dict[str, float] = {
        "held-out pictures": len(first),
        "held-out pairs": len(indices),
        **retrieval_recall(images[first], texts, relevant=relevant),
    }
    device = next(model.parameters()).device
    with torch.no_grad():
        texts = model.encode_text(batch["ids"].to(device)).cpu()

        def image_to_text(pixel_values: torch.Tensor) -> float:
            embedded = model.encode_image(pixel_values.to(device)).cpu()
            return retrieval_recall(embedded, texts, relevant=relevant)["image to text R@1"]

        chance = relevant.float().mean().item()
        pictures = batch["pixel_values"][first]
        report |= _named("image to text R@1", measure_controls(image_to_text, pictures, chance))
        if data is None:
            _, pixel_values, labels = singles(size)
            classes = noun_classes(model)

            def nouns_right(pixel_values: torch.Tensor) -> float:
                return accuracy(
                    zero_shot(model.encode_image(pixel_values.to(device)).cpu(), classes), labels
                )

            seen = measure_controls(nouns_right, pixel_values, 1 / len(classes))
            report |= {"zero-shot nouns": seen.model, **_named("zero-shot nouns", seen)}
    return report


def _named(name: str, found) -> dict[str, float]:
    return {
        f"{name}, {control}": value
        for control, value in asdict(found).items()
        if control != "model"
    }


def train_clip(
    out: Path,
    scale: str | None = None,
    data: Path | None = None,
    steps: int | None = None,
    seed: int = 0,
    resume: bool = False,
    precision: torch.dtype | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
    say: Callable[[str], None] = print,
    *,
    batch: int | None = None,
    image_column: str | None = None,
    text_column: str | None = None,
) -> dict[str, float]:
    """The command `vlmcourse train clip`: trains, checkpoints every 50 steps, evaluates, writes report.json and the model.

    out        folder for clip.safetensors (the run: weights, optimiser, step), model.safetensors (to be loaded) and report.json
    data       your own pictures in the place of the world: see folders.read_folder, or a data set saved by save_to_disk()
    resume     go on from out's checkpoint; without it a folder that already holds one is refused, so nothing is lost
    precision  see fit()
    batch      rows in a batch, over all processes; default: the scale's, or all there are, as a multiple of the processes
    """
    size, checkpoint_path, state = Scale.of(scale), out / "clip.safetensors", processes()
    steps = size.steps if steps is None else steps
    if steps < 1:
        raise ValueError(f"{steps} steps; expected at least 1.")
    if batch is not None and batch < 2:
        raise ValueError(f"a batch of {batch}; expected at least 2 pictures to contrast.")
    with state.main_process_first():
        _make_way(checkpoint_path, resume, say)
    if data is None:
        held_out, config, words = None, clip_config(size), tokenizer.world_tokenizer()
        batches = Batches(training_pairs(size, seed).batch, batch or size.batch)
        content = None
    else:
        train, held_out = read_own_pictures(data, size.image_size, image_column, text_column, say)
        words = train.tokenizer
        longest = max(train.encode(part.texts).shape[1] for part in (train, held_out))
        config = clip_config(size, len(words), context=max(CONTEXT, longest))
        fitting = min(size.batch, len(train)) // state.num_processes * state.num_processes
        batches = Batches(train.batch, batch or max(1, fitting), len(train), seed)
        content = [train.fingerprint(), held_out.fingerprint()]
    model = new_clip(config, seed)
    fingerprint = {
        "scale": size.name,
        "seed": seed,
        "data": content,
        "batch": batches.size,
        "config": str(config),
    }
    for step in fit(
        model,
        batches,
        steps,
        seed=seed,
        precision=precision,
        checkpoint_path=checkpoint_path,
        checkpoint_every=50,
        fingerprint=fingerprint,
    ):
        on_step(step)
    if not state.is_main_process:
        return {}
    save_model(out, model, words)
    report = clip_report(model, held_out)
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    return report


def _make_way(checkpoint_path: Path, resume: bool, say: Callable[[str], None]) -> None:
    """A good checkpoint is only ever continued, a damaged one is put aside."""
    if checkpoint_path.exists() and not resume:
        raise ValueError(
            f"{checkpoint_path} already holds a run. Go on with it: --resume. Or train elsewhere: --out ANOTHER_FOLDER."
        )
    if checkpoint_path.exists():
        try:
            checkpoint.load(checkpoint_path)
        except checkpoint.DamagedCheckpoint as error:
            aside = checkpoint_path.rename(checkpoint_path.with_suffix(".damaged"))
            say(f"{error} It is put aside as {aside.name}, and training starts again from step 1.")
