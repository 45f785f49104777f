"""Frozen with a real language model: the encoder of lesson 05 learns to write words of SmolLM2's (135 million parameters).

The tower that already sees comes from the tiny Frozen; only its last matrix starts anew, for another width of words. What is
trained is kept in the cache without the language model, which anyone can load. A step of 32 pictures takes about 5 seconds on
one core. Measured so far, one seed: 240 steps are too few. Its loss falls from 5.5 to 2.4, but all pictures still get nearly
the same caption, and no noun is right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from vlmcourse.lab import checkpoint, tokens, world
from vlmcourse.lab.evaluate import exact, likeliest, texts
from vlmcourse.lab.stages import cache_folder
from vlmcourse.lab.train import Batches, Scale, Step, fit
from vlmcourse.lab.world import prompts
from vlmcourse.lab.world.nouns import article
from vlmcourse.papers.frozen import Frozen
from vlmcourse.parts.language import freeze, load
from vlmcourse.recipes.frozen import ALONE, SEEING, STOP, frozen, frozen_config, new_frozen

PLACE = "<image><image> ."
BATCH = 32


def kept() -> Path:
    """Where the trained encoder is."""
    return cache_folder() / "smollm2_encoder.safetensors"


def smollm2() -> tuple[nn.Module, object]:
    """SmolLM2, frozen, and its tokenizer, which writes pages as the world's does. About 30 seconds.

    Raises ValueError, with what to do, if its weights are not installed.
    """
    lm, read = load("smollm2")
    return freeze(lm), tokens.for_pages(read)


def full_sentence(scene: world.Scene, draws: world.scenes.Draws) -> str:
    """A caption in whole English phrases, then a full stop: shorter forms are of the tiny language model's world only."""
    return f"{world.captions.detailed(scene, draws)} {STOP}"


def average_tokens(lm: nn.Module, read, words: Sequence[str]) -> Tensor:
    """The mean embedding of these words as they stand within a sentence, (D,); of a longer word its first token."""
    first = tokens.encode([f"a {word}" for word in words], using=read)[:, 2]  # <bos> a word
    return lm.get_input_embeddings().weight.detach()[first].mean(0)


def dictionary(own: nn.Module, lm: nn.Module, read, words: Sequence[str]) -> tuple[Tensor, Tensor]:
    """What takes the tiny language model's words to another's: a matrix (D, D') and an offset (D'), by least squares.

    own    the tiny language model; of the other's words, their first tokens count, as they stand within a sentence
    words  whom to translate: those that a picture may stand for. No picture is needed, and no caption
    """
    here, there = (model.get_input_embeddings().weight.detach()[tokens.encode([f"a {word}" for word in words], using=using)[:, 2]]
                   for model, using in ((own, None), (lm, read)))
    matrix = torch.linalg.lstsq(here - here.mean(0), there - there.mean(0), driver="gelsd").solution
    return matrix, there.mean(0) - here.mean(0) @ matrix


def new_encoder(lm: nn.Module, read, scale: Scale, seen: Frozen | None = None, seed: int = 0) -> Frozen:
    """An encoder for this language model.

    seen  the Frozen before the tiny language model: what it writes is translated by `dictionary`, so that the new encoder
          starts by writing what it would have written there. Default: untrained, around average words.
    """
    groups = [[one.word for one in world.nouns()], list(world.BACKGROUNDS)]
    start = torch.stack([average_tokens(lm, read, words) for words in groups])
    model = new_frozen(frozen_config(scale, slot=read.convert_tokens_to_ids("<image>")), lm, seed, start)
    if seen is not None:
        matrix, offset = dictionary(seen.lm, lm, read, sum(groups, []))
        model.vision.load_state_dict(seen.vision.state_dict())
        model.norm.load_state_dict(seen.norm.state_dict())
        model.start.copy_(seen.start @ matrix + offset)
        for name in ("weight", "bias"):
            old = getattr(seen.to_words, name).detach().unflatten(0, seen.start.shape)  # (n, D, width) or (n, D)
            new = torch.einsum("nd...,de->ne...", old, matrix) * (seen.reach / model.reach)
            getattr(model.to_words, name).data.copy_(new.flatten(0, 1))
    return model


def learnt(model: Frozen) -> dict[str, Tensor]:
    """What training may change, and its running averages: all tensors but the language model's."""
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("lm.")}


def train(scale: Scale, steps: int = 2000, seed: int = 0, watch: Callable[[Step], None] = lambda step: None) -> Frozen:
    """Trains the encoder before SmolLM2 on captions of things alone, and keeps it in the cache."""
    lm, read = smollm2()
    model = new_encoder(lm, read, scale, frozen(scale, seed).model, seed)
    data = prompts.Captioned(world.Pairs("train", scale.image_size, seed, ALONE, full_sentence), PLACE, using=read)
    history = []
    for step in fit(model, Batches(data.batch, BATCH), steps, SEEING, seed=seed):
        history.append(step.loss)
        watch(step)
    checkpoint.save(kept(), learnt(model), {"scale": scale.name, "steps": steps, "batch": BATCH, "seed": seed, "losses": history})
    return model.eval()


def seeing_smollm2(scale: Scale) -> tuple[Frozen, object]:
    """SmolLM2 with the encoder that train() kept, and its tokenizer.

    Raises ValueError if SmolLM2 is not installed, or if there is no encoder of this scale.
    """
    if not kept().exists():
        raise ValueError(f"no encoder for SmolLM2 at {kept()}. Train one, which takes hours on two cores: "
                         f"recipes.smollm2.train(Scale.named({scale.name!r})).")
    lm, read = smollm2()
    model, (tensors, notes) = new_encoder(lm, read, scale), checkpoint.load(kept())
    if any(tensors[name].shape != own.shape for name, own in learnt(model).items()):
        raise ValueError(f"the encoder in {kept()} is of scale '{notes['scale']}', not '{scale.name}'. "
                         "Train one: recipes.smollm2.train(scale).")
    model.load_state_dict(tensors, strict=False)
    return model.eval(), read


def captions(model: Frozen, read, scenes: Sequence[world.Scene], view: prompts.View = world.to_pixels) -> list[str]:
    """What it says of each scene after "a picture of", up to the full stop. Greedy."""
    asked = prompts.Prompts([(scene, "a picture of") for scene in scenes], model.config.image_size, PLACE, view, read)
    stop = tokens.encode([f"a {STOP}"], using=read)[0, 2].item()
    return [text.removesuffix(STOP).strip() for text in texts(model, asked, most=8, batch=32, stop=stop)]


def solved(model: Frozen, read, episodes: Sequence[world.pages.Episode], view: prompts.View = world.to_pixels,
           shuffled: bool = False) -> float:
    """Share of episodes whose right answer is the likeliest of the choices: recipes.frozen.solved, in SmolLM2's tokens."""
    pages = [episode.prompt for episode in episodes]
    data = prompts.Prompts(prompts.others(pages) if shuffled else pages, model.config.image_size, PLACE, view, read)
    return _right(model, data, episodes)


def solved_in_words(model: Frozen, read, episodes: Sequence[world.pages.Episode]) -> float:
    """The same with a right description in the place of each picture: what this language model could lend at best."""
    described = [[part if isinstance(part, str) else f"{article(part.words[0])} on {part.background} {STOP}"
                  for part in episode.prompt] for episode in episodes]
    return _right(model, prompts.Prompts(described, model.config.image_size, PLACE, using=read), episodes)


def _right(model: Frozen, data: prompts.Prompts, episodes: Sequence[world.pages.Episode]) -> float:
    said = likeliest(model, data, [[f" {choice}" for choice in episode.choices] for episode in episodes])
    return exact([answer.strip() for answer in said], [one.answer for one in episodes])
