"""What the explorers of gates and of few shots show: the course's Flamingo as plain functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vlmcourse import introspection, world
from vlmcourse.evaluation import eval_mode
from vlmcourse.evaluation.generation import STOP
from vlmcourse.papers.flamingo import Flamingo
from vlmcourse.parts.generation import generate, greedy_without
from vlmcourse.parts.language import logits, new_cache, next_token_loss
from vlmcourse.recipes.flamingo import DATASET_WEIGHTS, FeatureCache
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import TrainedStage
from vlmcourse.widgets.explorers.gates import CUT, Ask, gates_set
from vlmcourse.world import interleaved, tokenizer
from vlmcourse.world.interleaved import END_OF_CHUNK, IMAGE_TEXT
from vlmcourse.world.pages import Part, page_text
from vlmcourse.world.prompts import pad_left


def naming_function(
    model: Flamingo, size: int, batch: int = 128
) -> Callable[[Sequence[Sequence[Part]], Sequence[str]], list[dict[str, float]]]:
    """(prompts, names) -> for each prompt {name: probability among these names} of the next word.

    Each picture's latents are computed once. batch: prompts at a time
    """
    latents: dict[world.Scene, Tensor] = {}

    def context(pages: Sequence[Sequence[Part]]) -> dict[str, Tensor]:
        scenes = [part for page in pages for part in page if not isinstance(part, str)]
        if new := [scene for scene in dict.fromkeys(scenes) if scene not in latents]:
            pixel_values = world.to_pixels([world.render(scene, size) for scene in new])
            latents.update(zip(new, model.vision_context(pixel_values)["media"]))
        return {"media": torch.stack([latents[scene] for scene in scenes])}

    def answer(pages: Sequence[Sequence[Part]], names: Sequence[str]) -> list[dict[str, float]]:
        chosen, rows = tokenizer.encode(names)[:, 1], []
        with eval_mode(model):
            for start in range(0, len(pages), batch):
                some = pages[start : start + batch]
                texts = [page_text(page, IMAGE_TEXT, END_OF_CHUNK) for page in some]
                inputs = pad_left(tokenizer.encode(texts))
                logits = model(**inputs, **context(some))[:, -1, chosen]
                rows += logits.softmax(-1).tolist()
        return [dict(zip(names, row)) for row in rows]

    return answer


def continuation_function(
    model: Flamingo, scenes: Sequence[world.Scene], size: int, most: int = 10
) -> Ask:
    """(gates (B, G), numbers of scenes, text) -> the next word's probabilities (B, V), and what the model writes, greedily;
    CUT follows where it has not ended after `most` words and pieces of words."""
    with eval_mode(model):
        latents = model.vision_context(
            world.to_pixels([world.render(scene, size) for scene in scenes])
        )["media"]
    names = list(introspection.gate_values(model))
    stop = int(tokenizer.encode([STOP])[0, 1])
    words = greedy_without(model.config.image_token_id)

    def ask(gates: Tensor, numbers: Sequence[int], text: str) -> tuple[Tensor, list[str]]:
        ids = tokenizer.encode([f"{IMAGE_TEXT} {text.strip()}"])[:, :-1].expand(len(gates), -1)
        context = {"media": latents[list(numbers)]}
        with eval_mode(model), gates_set(model, dict(zip(names, gates.T))):
            probabilities = model(ids, **context)[:, -1].softmax(-1)
            cache = new_cache(model.lm)
            written = generate(model, ids, most, words, stop, cache, **context)
        ended = (written == stop).any(-1).tolist()
        texts = tokenizer.decode(written.where(written != stop, tokenizer.PAD))
        return probabilities, [
            text.strip() if end else f"{text.strip()}{CUT}" for text, end in zip(texts, ended)
        ]

    return ask


def gate_trace(
    trained: TrainedStage, batch: dict, source: str = "described", records: int = 40
) -> dict:
    """What a Flamingo stage noted while it trained: `steps`, `gates`, `loss` of one data set, and `blind`, for the gate explorer's Replay.

    batch    held-out pages of that data set, for the loss with the gates closed
    records  at most so many steps, from the first to the last one, each the same share later than the one before
    """
    model = trained.model.model
    last = len(trained.history)
    numbers = {round(last ** (record / (records - 1))) for record in range(records)}
    chosen = [step for step in trained.history if step.step in numbers]
    opened = trained.model.gates_by_step()
    with eval_mode(model):
        ids = batch["ids"]
        said = logits(
            model.lm, model.embed(ids)
        )  # no media: the blocks are passed by, as with gates at 0
        blind = next_token_loss(said, ids, batch["loss_mask"]).item()
    return {
        "steps": tuple(step.step for step in chosen),
        "gates": {
            name: tuple(values[step.step - 1] for step in chosen) for name, values in opened.items()
        },
        "loss": tuple(step.losses[source] / DATASET_WEIGHTS[source] for step in chosen),
        "blind": blind,
    }


def gate_pages(trained: TrainedStage, scale: Scale, split: str = "test", count: int = 16) -> dict:
    """A batch of held-out descriptions as the model reads them: `ids`, `loss_mask`, `features`."""
    see = FeatureCache(trained.model.model.vision, scale.image_size)
    web = interleaved.WebPages(split)
    return interleaved.PageDataset(web.described, see).batch(range(count))
