"""BLIP on the world's minimal pairs, or on pictures of your own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from vlmcourse import world
from vlmcourse.data.folders import CaptionedPictures
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
from vlmcourse.recipes.recipe import Recipe, Run, Sizes
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import tokenizer
from vlmcourse.world.minimal_pairs import (
    MinimalPairs,
    SceneChange,
    caption_choices,
    change_background,
    swap_positions,
)

CLS, ENC, DEC = (tokenizer.SPECIAL.index(name) for name in ("[CLS]", "[ENC]", "[DEC]"))
PROMPT = "a picture of"
CONTEXT = 96
THINGS = (1, 2)  # in a scene: enough for left, right, above, below, and short captions train faster
SIZES = {"smoke": Sizes(16, 20), "laptop": Sizes(64, 1500), "gpu": Sizes(1024, 10_000)}
BLIP_OPTIMISATION = Optimisation(1.5e-3, weight_decay=0.05, betas=(0.9, 0.98), warmup=0.1)
"""The paper: 3e-4, weight decay 0.05, 3,000 steps of warm-up."""


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
            "context": CONTEXT,
            "embedding": scale.width,
            "image_size": scale.image_size,
            "vision_width": scale.width,
            "vision_depth": scale.vision_depth,
            "vision_heads": scale.heads,
            "text_width": scale.width,
            # three: words find their things, then compare positions, then [ENC] sums up
            "text_depth": max(3, scale.text_depth),
            "text_heads": scale.heads,
            **changes,
        }
    )


def new_blip(config: BLIPConfig, vision: nn.Module | None = None, seed: int = 0) -> BLIP:
    """An untrained BLIP whose weights depend on the seed alone. vision: a trained image tower, which is copied."""
    with seeded(seed):
        return BLIP(config, deepcopy(vision))


def minimal_pairs_data(scale: Scale, seed: int = 0, **changes) -> MinimalPairs:
    """Training pairs in twos that differ in one attribute, as hard negatives; `changes` replace fields of MinimalPairs."""
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


def setup(
    scale: Scale,
    sizes: Sizes,
    seed: int,
    stage,
    *,
    vision: nn.Module | None = None,
    data=None,
    **changes,
) -> Run:
    """vision   a trained image tower, as the paper starts from one. Default: CLIP's
    data     other pairs than minimal_pairs_data(scale, seed)
    changes  of BLIPConfig
    """
    vision = stage("clip").vision if vision is None else vision
    data, config = data or minimal_pairs_data(scale, seed), blip_config(scale, **changes)
    return Run(new_blip(config, vision, seed), data, config, (vision,))


# What it is tested on.

CHANGES = {"exchanged": swap_positions, "repainted": change_background}
"""Changes of a scene, by their names in saved results."""


def prefers_right_caption(
    model: BLIP, choices: Sequence[tuple[world.Scene, str, str]]
) -> dict[str, Tensor]:
    """Is the right caption (the first) preferred to the wrong one? (N,) booleans by ITM and by ITC. Ties count as wrong."""
    size = model.config.image_size
    pixel_values = world.to_pixels(np.stack([world.render(scene, size) for scene, *_ in choices]))
    right, wrong = (tokenizer.encode([choice[which] for choice in choices]) for which in (1, 2))
    with eval_mode(model):
        states = model.vision_context(pixel_values)["states"]
        image = model.encode_image(pixel_values)
        itm = [model.itm_logits(ids, states).softmax(-1)[:, 1] for ids in (right, wrong)]
        itc = [(image * model.encode_text(ids)).sum(1) for ids in (right, wrong)]
    return {"match": itm[0] > itm[1], "contrast": itc[0] > itc[1]}


def caption_pair_accuracy(
    model: BLIP, change: SceneChange, count: int = 256, things: tuple[int, int] = THINGS
) -> dict[str, float]:
    """Share of scenes whose caption is preferred to the caption of the changed scene, by match and by contrast; chance 0.5."""
    preferred = prefers_right_caption(model, caption_choices(change, count=count, things=things))
    return {head: right.float().mean().item() for head, right in preferred.items()}


def match_scorer(
    model: BLIP, pixel_values: Tensor, ids: Tensor
) -> Callable[[Tensor, Tensor], Tensor]:
    """(numbers of images, numbers of texts) -> log-odds that they match, for evaluation.rerank."""
    with eval_mode(model):
        parts = pixel_values.split(256)
        states = torch.cat([model.vision_context(part)["states"] for part in parts])

    def log_odds(images: Tensor, texts: Tensor) -> Tensor:
        with eval_mode(model):
            logits = [
                model.itm_logits(ids[text], states[image])
                for image, text in zip(images.split(512), texts.split(512))
            ]
        return torch.cat(logits).diff(dim=1)[:, 0]

    return log_odds


def generate_captions(
    model: BLIP,
    pixel_values: Tensor,
    sampler: Sampler = greedy,
    prompt: str = PROMPT,
    max_new_tokens: int = 24,
    beams: int | None = None,
    batch: int = 256,
) -> list[str]:
    """What the decoder says of pictures (B, 3, S, S) after the prompt, which is not repeated.

    max_new_tokens  without the prompt, which may be empty;  beams: beam search instead of `sampler`
    """
    begin, captions = torch.tensor([[tokenizer.BOS]]), []
    start = tokenizer.encode([prompt])[:, :-1] if prompt else begin  # without <eos>
    with eval_mode(model):
        for part in pixel_values.split(1 if beams else batch):
            context = model.vision_context(part)
            if beams:
                states = context["states"].expand(beams, -1, -1)
                ids = beam_search(
                    model,
                    start,
                    max_new_tokens,
                    beams,
                    tokenizer.EOS,
                    cache=KVCache(),
                    states=states,
                )[None]
            else:
                prompts = start.expand(len(part), -1)
                ids = generate(
                    model, prompts, max_new_tokens, sampler, tokenizer.EOS, KVCache(), **context
                )
            captions += tokenizer.decode(ids)
    return captions


def references(scene: world.Scene, count: int = 5) -> list[str]:
    """What annotators would say of a scene after the prompt."""
    texts = (
        world.captions.annotated(scene, world.SeededRandom("reference", scene, draw))
        for draw in range(count)
    )
    return sorted({text.removeprefix(PROMPT).strip() for text in texts})


def caption_report(
    model: BLIP, count: int = 256, things: tuple[int, int] = THINGS
) -> dict[str, float]:
    """CIDEr-D (0 to 10) and exact F1 of greedy captions of held-out scenes, beside CIDEr-D with blank and shuffled pictures."""
    pairs = world.Pairs("test", model.config.image_size, things=things)
    scenes, pixel_values = pairs.scenes(range(count)), world.to_pixels(pairs.images(range(count)))
    given = [references(scene) for scene in scenes]

    def mean_cider(pixel_values: Tensor) -> float:
        return sum(cider(generate_captions(model, pixel_values), given)) / count

    controls = measure_controls(mean_cider, pixel_values, 0.0)
    return {
        "CIDEr": controls.model,
        "CIDEr, blind": controls.blind,
        "CIDEr, shuffled": controls.shuffled,
        "F1": scene_graph_f1(generate_captions(model, pixel_values), scenes).f1,
    }


def retrieval_report(model: BLIP, data, count: int = 256, k: int = 16) -> dict[str, float]:
    """R@1 in both directions among `count` different captions, by contrast alone and with the k best re-ranked by match.

    data: pairs; of MinimalPairs the gallery holds each scene beside one that differs in one attribute
    """
    indices = data.distinct(count)
    batch = data.batch(indices)
    images, texts = embed(model, data, indices)
    scorer = match_scorer(model, batch["pixel_values"], batch["ids"])
    return bidirectional_retrieval(images @ texts.T, scorer, min(k, len(indices)))


def blip_report(model: BLIP, scale: Scale | None = None, count: int = 256) -> dict[str, float]:
    """Minimal pairs, retrieval and captions of held-out scenes."""
    pairs = {
        f"told apart, {name}, by {head}": value
        for name, change in CHANGES.items()
        for head, value in caption_pair_accuracy(model, change, count).items()
    }
    gallery = MinimalPairs("test", model.config.image_size, things=THINGS)
    return pairs | retrieval_report(model, gallery, count) | caption_report(model, count)


def own_pictures(pictures: CaptionedPictures, longest: int, scale: Scale) -> dict:
    """Options of `setup` for pictures of your own: their vocabulary, and room for their longest caption (in tokens)."""
    return {"vocabulary": len(pictures.tokenizer), "context": max(CONTEXT, longest)}


recipe = Recipe(
    "blip",
    SIZES,
    setup,
    BLIP_OPTIMISATION,
    blip_report,
    own_pictures=own_pictures,
    own_report=retrieval_report,
    shipped_dtype=torch.float16,
)
