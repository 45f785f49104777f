"""BLIP: the stage of lesson 06 and what it is tested on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from vlmcourse import world
from vlmcourse.evaluation import (
    bidirectional_retrieval,
    cider,
    embed,
    eval_mode,
    measure_controls,
    scene_graph_f1,
)
from vlmcourse.papers.blip import BLIP, BLIPConfig
from vlmcourse.parts.attention import KVCache
from vlmcourse.parts.generation import Sampler, beam_search, generate, greedy
from vlmcourse.training import checkpoint
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import TrainedStage, seeded, train_or_load
from vlmcourse.world import tokenizer
from vlmcourse.world.minimal_pairs import MinimalPairs

CLS, ENC, DEC = (tokenizer.SPECIAL.index(name) for name in ("[CLS]", "[ENC]", "[DEC]"))
PROMPT = "a picture of"
THINGS = (
    1,
    2,
)  # in a scene: all that left, right, above and below need, and short captions train faster
BLIP_OPTIMISATION = Optimisation(
    1.5e-3, weight_decay=0.05, betas=(0.9, 0.98), warmup=0.1
)  # paper: 3e-4, 0.05, 3,000 steps


def blip_config(scale: Scale, **changes) -> BLIPConfig:
    """BLIP's sizes at a scale; `changes` replace fields of BLIPConfig."""
    return BLIPConfig(
        **{
            "vocabulary": len(tokenizer.world_tokenizer()),
            "cls": CLS,
            "enc": ENC,
            "dec": DEC,
            "end": tokenizer.EOS,
            "pad": tokenizer.PAD,
            "context": 96,
            "embedding": scale.width,
            "image_size": scale.image_size,
            "vision_width": scale.width,
            "vision_depth": scale.vision_depth,
            "vision_heads": scale.heads,
            "text_width": scale.width,
            "text_depth": max(
                3, scale.text_depth
            ),  # words find their things, then compare places, then [ENC] sums up
            "text_heads": scale.heads,
            **changes,
        }
    )


def new_blip(config: BLIPConfig, vision: nn.Module | None = None, seed: int = 0) -> BLIP:
    """An untrained BLIP whose weights depend on the seed alone. vision: a learnt image tower, which is copied."""
    with seeded(seed):
        return BLIP(config, deepcopy(vision))


def minimal_pairs_data(scale: Scale, seed: int = 0, **changes) -> MinimalPairs:
    """Training pairs in twos that differ in one attribute: negatives that only a close look tells apart."""
    return MinimalPairs(
        **{
            "split": "train",
            "size": scale.image_size,
            "seed": seed,
            "things": THINGS,
            "caption": world.captions.annotated_or_varied,
            **changes,
        }
    )


def blip(
    scale: Scale | str | None = None,
    seed: int = 0,
    *,
    vision: nn.Module | None = None,
    pairs: world.Pairs | None = None,
    steps: int | None = None,
    on_step: Callable[[Step], None] | None = None,
    **changes,
) -> TrainedStage:
    """BLIP on the world, trained or loaded.

    vision   an image tower that has learnt, such as the CLIP stage's: recipes.clip().model.vision. Default: from scratch
    pairs    default: siblings(scale, seed)
    changes  of BLIPConfig
    """
    size = Scale.of(scale)
    pairs, config = pairs or minimal_pairs_data(size, seed), blip_config(size, **changes)
    data = [
        pairs.split,
        pairs.size,
        pairs.seed,
        pairs.things,
        pairs.caption.__qualname__,
        pairs.noise and [pairs.noise.share, pairs.noise.kind.__name__],
        pairs.change.__qualname__ if isinstance(pairs, MinimalPairs) else None,
        *getattr(pairs, "noun_subset", ()),
    ]
    fingerprint = {
        "config": str(config),
        "batch": size.blip_batch,
        "data": data,
        "vision": vision and checkpoint.checksum(vision.state_dict()),
    }
    return train_or_load(
        "blip",
        new_blip(config, vision, seed),
        Batches(pairs.batch, size.blip_batch),
        steps or size.blip_steps,
        BLIP_OPTIMISATION,
        fingerprint=fingerprint,
        seed=seed,
        on_step=on_step,
    )


# What it is tested on.


def caption_pair_accuracy(
    model: BLIP,
    swap: world.minimal_pairs.SceneChange,
    count: int = 256,
    things: tuple[int, int] = THINGS,
) -> dict[str, float]:
    """Of a scene's caption and the caption of the swapped scene, which one fits better? By match and by contrast; chance 0.5."""
    found = prefers_right_caption(
        model, world.minimal_pairs.caption_choices(swap, count=count, things=things)
    )
    return {judge: right.float().mean().item() for judge, right in found.items()}


def prefers_right_caption(
    model: BLIP, chosen: Sequence[tuple[world.Scene, str, str]]
) -> dict[str, Tensor]:
    """Is the right caption (the first) preferred? (N,) booleans of each judge, match and contrast. Ties count as wrong."""
    pixel_values = world.to_pixels(
        np.stack([world.render(scene, model.config.image_size) for scene, _, _ in chosen])
    )
    right, wrong = (tokenizer.encode([one[place] for one in chosen]) for place in (1, 2))
    with eval_mode(model):
        states, image = (
            model.vision_context(pixel_values)["states"],
            model.encode_image(pixel_values),
        )
        by_match = [model.itm_logits(ids, states).softmax(-1)[:, 1] for ids in (right, wrong)]
        by_contrast = [(image * model.encode_text(ids)).sum(1) for ids in (right, wrong)]
    return {
        name: one > other for name, (one, other) in (("match", by_match), ("contrast", by_contrast))
    }


def match_scorer(
    model: BLIP, pixel_values: Tensor, ids: Tensor
) -> Callable[[Tensor, Tensor], Tensor]:
    """(numbers of images, numbers of texts) -> log-odds that they belong together, for evaluate.rerank."""
    with eval_mode(model):
        states = torch.cat(
            [model.vision_context(part)["states"] for part in pixel_values.split(256)]
        )

    def log_odds(images: Tensor, texts: Tensor) -> Tensor:
        with eval_mode(model):
            return torch.cat(
                [
                    model.itm_logits(ids[these], states[those]).diff(dim=1)[:, 0]
                    for these, those in zip(texts.split(512), images.split(512))
                ]
            )

    return log_odds


def generate_captions(
    model: BLIP,
    pixel_values: Tensor,
    sampler: Sampler = greedy,
    prompt: str = PROMPT,
    most: int = 24,
    beams: int | None = None,
    batch: int = 256,
) -> list[str]:
    """What the decoder says of pictures after the prompt, which is not repeated. beams: beam search in the place of `sampler`."""
    start = tokenizer.encode([prompt])[:, :-1]  # <bos> prompt, which goes on
    said: list[str] = []
    with eval_mode(model):
        if beams:
            for one in pixel_values.split(1):
                states = model.vision_context(one)["states"].expand(beams, -1, -1)
                said += tokenizer.decode(
                    beam_search(
                        model, start, most, beams, tokenizer.EOS, cache=KVCache(), states=states
                    )[None]
                )
        else:
            for part in pixel_values.split(batch):
                written = generate(
                    model,
                    start.expand(len(part), -1),
                    most,
                    sampler,
                    tokenizer.EOS,
                    KVCache(),
                    **model.vision_context(part),
                )
                said += tokenizer.decode(written)
    return said


def references(scene: world.Scene, count: int = 5) -> list[str]:
    """What annotators would say of a scene after the prompt."""
    said = (
        world.captions.annotated(scene, world.SeededRandom("reference", scene, draw))
        for draw in range(count)
    )
    return sorted({text.removeprefix(PROMPT).strip() for text in said})


def caption_report(
    model: BLIP, count: int = 256, things: tuple[int, int] = THINGS
) -> dict[str, float]:
    """CIDEr-D (0 to 10) and exact F1 of greedy captions of held-out scenes, beside what the same model says blind."""
    pairs = world.Pairs("test", model.config.image_size, things=things)
    scenes, pixel_values = pairs.scenes(range(count)), world.to_pixels(pairs.images(range(count)))
    given = [references(scene) for scene in scenes]

    def loss_mask(pixel_values: Tensor) -> float:
        return sum(cider(generate_captions(model, pixel_values), given)) / count

    seen = measure_controls(loss_mask, pixel_values, 0.0)
    exact = scene_graph_f1(generate_captions(model, pixel_values), scenes)
    return {
        "CIDEr": seen.model,
        "CIDEr, blind": seen.blind,
        "CIDEr, shuffled": seen.shuffled,
        "F1": exact.f1,
    }


def retrieval_report(
    model: BLIP, pairs: world.Pairs, count: int = 256, k: int = 16
) -> dict[str, float]:
    """R@1 both ways among `count` different captions, by contrast alone and with the k best re-ranked by match.

    Of siblings(...) with split "test" the gallery holds each scene beside one that differs in one attribute.
    """
    indices = pairs.distinct(count)
    made = pairs.batch(indices)
    images, texts = embed(model, pairs, indices)
    return bidirectional_retrieval(
        images @ texts.T, match_scorer(model, made["pixel_values"], made["ids"]), k
    )


def blip_report(model: BLIP) -> dict[str, float]:
    """Everything that the stage is tested on."""
    swaps = {
        f"told apart, {swap.__name__}, by {judge}": value
        for swap in (world.minimal_pairs.swap_positions, world.minimal_pairs.change_background)
        for judge, value in caption_pair_accuracy(model, swap).items()
    }
    gallery = MinimalPairs("test", model.config.image_size, things=THINGS)
    return swaps | retrieval_report(model, gallery) | caption_report(model)
