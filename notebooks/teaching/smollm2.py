"""Frozen with a real language model: the encoder of lesson 07 learns to write words of SmolLM2's (135 million parameters).

A step of 32 pictures takes about 5 seconds on one core, so the encoder does not start from nothing: it takes the tower of
the Frozen before the tiny language model, and what that one calls things (`taught`). What is trained comes with the course,
without the language model, which anyone can load.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vlmcourse import recipes, world
from vlmcourse.evaluation import exact_match, generate_texts, rank_choices
from vlmcourse.papers.frozen import Frozen
from vlmcourse.parts.language import freeze, load
from vlmcourse.recipes.frozen import ONE_THING, STOP, frozen_config, new_frozen
from vlmcourse.training import checkpoint
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step, fit
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import SHIPPED, cache_folder
from vlmcourse.world import prompts, tokenizer
from vlmcourse.world.nouns import article

GROUPS = ([one.word for one in world.nouns()], list(world.BACKGROUNDS))
"""What the two vectors of a picture may stand for."""
SMOLLM2_OPTIMISATION = Optimisation(2e-3, weight_decay=0.05, betas=(0.9, 0.95))

IMAGE_PREFIX = "a drawing of <image><image> ."
"""What stands in a text for a picture. With two right words there, SmolLM2 itself goes on with the noun after ASK most of the
time; of ours, "<image><image> .", it makes nothing, for it was not trained on pages that begin so."""
ASK = "it is a drawing of"
CALLED = "the <image><image>"
"""What stands for a picture on a page of names, see `plainly`."""
BATCH = 32
INITIALISATION_PICTURES = 4096
"""Pictures of which the tiny Frozen says its words, before the first step."""


ENCODER = "smollm2_encoder.safetensors"


def encoder_path() -> Path:
    """Where the trained encoder is: in the cache if one was trained here, else with the course."""
    own = cache_folder() / ENCODER
    return own if own.exists() else SHIPPED / ENCODER


def smollm2() -> tuple[nn.Module, object]:
    """SmolLM2, frozen, and its tokenizer, which writes pages as the world's does. About 30 seconds.

    Raises ValueError, with what to do, if its weights are not installed.
    """
    lm, read = load("smollm2")
    return freeze(lm), tokenizer.add_image_token(read)


def first_tokens(words: Sequence[str], read) -> Tensor:
    """Of each word, the token it begins with where it stands within a sentence, (N,)."""
    return tokenizer.encode([f"a {word}" for word in words], using=read)[:, 2]  # <bos> a word


def new_encoder(lm: nn.Module, read, scale: Scale, seed: int = 0) -> Frozen:
    """An untrained encoder for this language model, whose vectors start at average words."""
    words = lm.get_input_embeddings().weight.detach()
    start = torch.stack([words[first_tokens(group, read)].mean(0) for group in GROUPS])
    return new_frozen(
        frozen_config(scale, image_token_id=read.convert_tokens_to_ids("<image>")), lm, seed, start
    )


@torch.no_grad()
def initialise_from(
    model: Frozen, seen: Frozen, read, pairs: world.Pairs, count: int = INITIALISATION_PICTURES
) -> Frozen:
    """The encoder, with the tower of a Frozen that sees before another language model, and a first matrix by least squares.

    seen  says two words of each picture: the noun and the background whose embeddings are nearest to what it writes. The
          matrix is the one that comes closest to this language model's embeddings of those words, over `count` pictures. No
          label and no caption: what one language model's eye calls things is handed to the other's.
    """
    model.vision.load_state_dict(seen.vision.state_dict())
    model.norm.load_state_dict(seen.norm.state_dict())
    shown = [
        world.to_pixels(pairs.images(range(first, min(first + 256, count))))
        for first in range(0, count, 256)
    ]
    summary = torch.cat(
        [seen.norm(seen.vision(pixel_values)) for pixel_values in shown]
    )  # (count, width)
    written = torch.cat(
        [
            seen.encode_prefix(pixel_values).unflatten(0, (len(pixel_values), -1))
            for pixel_values in shown
        ]
    )  # (count, n, D)
    wanted = []
    for mine, group in zip(written.unbind(1), GROUPS):
        own = seen.lm.get_input_embeddings().weight[tokenizer.encode(group)[:, 1]]
        nearest = (normalize(mine, dim=-1) @ normalize(own, dim=-1).T).argmax(-1)
        wanted.append(model.lm.get_input_embeddings().weight[first_tokens(group, read)[nearest]])
    wanted = (
        torch.stack(wanted, 1) - model.start
    ) / model.residual_scale  # (count, n, D'), in the units of the matrix
    summary = torch.cat([summary, summary.new_ones(count, 1)], dim=1)
    solution = torch.linalg.lstsq(summary, wanted.flatten(1)).solution  # (width + 1, n * D')
    model.language_projection.weight.copy_(solution[:-1].T)
    model.language_projection.bias.copy_(solution[-1])
    return model


def trainable_tensors(model: Frozen) -> dict[str, Tensor]:
    """What training may change, and its running averages: all tensors but the language model's."""
    return {
        name: tensor for name, tensor in model.state_dict().items() if not name.startswith("lm.")
    }


def caption_batches(
    scale: Scale, read, seed: int = 0
) -> Callable[[Sequence[int]], dict[str, Tensor]]:
    """Batches of things alone: after PLACE and ASK comes "a cat on blue", in English that any language model has read."""
    pairs = world.Pairs("train", scale.image_size, seed, ONE_THING, in_english)

    def batch(indices: Sequence[int]) -> dict[str, Tensor]:
        return prompts.training_batch(
            [(pairs.scene(index), ASK) for index in indices],
            [pairs.text(index) for index in indices],
            pairs.size,
            IMAGE_PREFIX,
            using=read,
        )

    return batch


def in_english(scene: world.Scene, draws: world.scenes.SeededRandom) -> str:
    """The thing and the background in a phrase, then a full stop."""
    return f"{article(scene.words[0])} on {scene.background} {STOP}"


def train(
    scale: Scale,
    steps: int = 160,
    seed: int = 0,
    on_step: Callable[[Step], None] = lambda step: None,
) -> Frozen:
    """Trains the encoder before SmolLM2 on captions of things alone, and keeps it in the cache."""
    lm, read = smollm2()
    model = initialise_from(
        new_encoder(lm, read, scale, seed),
        recipes.get("frozen").train_or_load(scale, seed).model,
        read,
        world.Pairs("train", scale.image_size, seed, ONE_THING),
        min(INITIALISATION_PICTURES, 32 * recipes.get("frozen").sizes[scale.name].batch),
    )
    history = []
    for step in fit(
        model,
        Batches(caption_batches(scale, read, seed), BATCH),
        steps,
        SMOLLM2_OPTIMISATION,
        seed=seed,
    ):
        history.append(step.loss)
        on_step(step)
    checkpoint.save(
        cache_folder() / ENCODER,
        trainable_tensors(model),
        {"scale": scale.name, "steps": steps, "batch": BATCH, "seed": seed, "losses": history},
    )
    return model.eval()


def trained(lm: nn.Module, read, scale: Scale) -> Frozen:
    """The encoder that train() kept, or the course's, before this SmolLM2.

    Raises ValueError, with what to do, if there is none of this scale.
    """
    if not encoder_path().exists():
        raise ValueError(
            f"no encoder for SmolLM2 at {encoder_path()}. Train one, which takes about ten minutes on a quiet core: "
            f"teaching.smollm2.train(Scale.of({scale.name!r}))."
        )
    model, (tensors, notes) = new_encoder(lm, read, scale), checkpoint.load(encoder_path())
    if any(tensors[name].shape != own.shape for name, own in trainable_tensors(model).items()):
        raise ValueError(
            f"the encoder in {encoder_path()} is of scale '{notes['scale']}', not '{scale.name}'. "
            "Train one: teaching.smollm2.train(scale)."
        )
    model.load_state_dict(tensors, strict=False)
    return model.eval()


def generate_captions(
    model: Frozen, read, scenes: Sequence[world.Scene], view: prompts.View = world.to_pixels
) -> list[str]:
    """What it says of each scene after ASK, up to the full stop. Greedy."""
    asked = prompts.Prompts(
        [(scene, ASK) for scene in scenes], model.config.image_size, IMAGE_PREFIX, view, read
    )
    stop = tokenizer.encode([f"a {STOP}"], using=read)[0, 2].item()
    return [
        text.removesuffix(STOP).strip()
        for text in generate_texts(model, asked, max_new_tokens=8, batch=32, stop=stop)
    ]


def in_plain_english(episode: world.pages.Episode) -> world.pages.Episode:
    """An episode of naming in plain English, with CALLED for its pictures: "the ... is called vem . the ... is called".

    On the world's pages ("this is a vem .") SmolLM2 doesn't bind names even where right words stand for the pictures.
    """
    first = next(place for place, part in enumerate(episode.prompt) if not isinstance(part, str))
    said = [
        f"is called {part.split()[-2]} ." if isinstance(part, str) else part
        for part in episode.prompt[first:-1]
    ]
    return replace(episode, prompt=(*said, "is called"))


def episode_accuracy(
    model: Frozen,
    read,
    episodes: Sequence[world.pages.Episode],
    view: prompts.View = world.to_pixels,
    shuffled: bool = False,
    image_prefix: str = IMAGE_PREFIX,
) -> float:
    """Share of episodes whose right answer is the likeliest of the choices: recipes.frozen.solved, in SmolLM2's tokens."""
    pages = [episode.prompt for episode in episodes]
    data = prompts.Prompts(
        prompts.swap_pictures(pages) if shuffled else pages,
        model.config.image_size,
        image_prefix,
        view,
        read,
    )
    return _right(model, data, episodes)


def text_only_accuracy(
    model: Frozen, read, episodes: Sequence[world.pages.Episode], image_prefix: str = IMAGE_PREFIX
) -> float:
    """The same with a right description in the place of each picture: what this language model could lend at best."""
    said = [
        [
            part
            if isinstance(part, str)
            else image_prefix.replace("<image><image>", f"{part.words[0]} {part.background}")
            for part in episode.prompt
        ]
        for episode in episodes
    ]
    return _right(
        model, prompts.Prompts(said, model.config.image_size, image_prefix, using=read), episodes
    )


def _right(model: Frozen, data: prompts.Prompts, episodes: Sequence[world.pages.Episode]) -> float:
    said = rank_choices(
        model, data, [[f" {choice}" for choice in episode.choices] for episode in episodes]
    )
    return exact_match([answer.strip() for answer in said], [one.answer for one in episodes])
