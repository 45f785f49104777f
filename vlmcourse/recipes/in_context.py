"""In-context learning through pictures: names that mean nothing, bound by examples in the prompt. Flamingo and Frozen.

The recipes are those of the papers' stages, in a smaller world: 48 nouns, one thing on a picture, so that one run takes
minutes. All other nouns are new to CLIP's tower and to the bridge, and six invented names are on no training page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vlmcourse import world
from vlmcourse.papers.flamingo import Flamingo
from vlmcourse.papers.frozen import Frozen
from vlmcourse.parts.language import freeze
from vlmcourse.parts.vision import ViT
from vlmcourse.recipes.features import FeatureCache
from vlmcourse.recipes.flamingo import episode_accuracy as flamingo_accuracy
from vlmcourse.recipes.frozen import IMAGE_PREFIX, descriptive_caption
from vlmcourse.recipes.frozen import episode_accuracy as frozen_accuracy
from vlmcourse.recipes.recipe import get
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import TrainedStage
from vlmcourse.world import few_shot, interleaved, prompts, tokenizer
from vlmcourse.world.interleaved import PageDataset, WebPages
from vlmcourse.world.pages import Episode
from vlmcourse.world.regions import SubsetOfNouns

NOUNS = world.known_nouns()[:96:2]
"""The 48 nouns of this world."""
NEW_NOUNS = tuple(noun.word for noun in world.nouns() if noun.word not in NOUNS)
NAMES, HELD_OUT_NAMES = tuple(tokenizer.INVENTED[:-6]), tuple(tokenizer.INVENTED[-6:])
SHOTS = (0, 1, 2, 4, 8)
STEPS = {"smoke": (4, 4, 4), "laptop": (700, 300, 900), "gpu": (3000, 3000, 3000)}
"""Of CLIP, Flamingo, Frozen."""
Score = Callable[[Sequence[Episode]], float]


class ClassToken(nn.Module):
    """CLIP's summary of a picture, normalised, as its only feature: pixels (M, 3, S, S) -> (M, 1, D)."""

    def __init__(self, vit: ViT):
        super().__init__()
        self.vit, self.width = deepcopy(vit), vit.width

    def forward(self, pixels: Tensor) -> Tensor:
        return nn.functional.layer_norm(self.vit(pixels), (self.width,))[:, None]


@dataclass(frozen=True)
class NamedThings(WebPages):
    """Two sources of pages with one thing on each picture: captions, and pages of names."""

    pool: int = 1920
    noun_subset: tuple[str, ...] = NOUNS
    invented: tuple[str, ...] = NAMES

    def captions(self, index: int) -> tuple[interleaved.Part, ...]:
        """'this is a cat .' or 'a cat on blue .'"""
        scene = self.single_thing(index)
        name = world.article(scene.words[0])
        forms = (f"this is {name}", f"{name} on {scene.background}")
        return scene, f"{self.rng('captions', index).choice(forms)} ."

    def name_pages(self, index: int) -> tuple[interleaved.Part, ...]:
        return self.names(index, self.rng("names", index))


def tower(scale: Scale | str | None = None) -> nn.Module:
    """CLIP's tower, trained on these nouns alone, and frozen."""
    size = Scale.of(scale)
    pairs = SubsetOfNouns(
        "train", size.image_size, 0, (1, 1), world.captions.prompted, noun_subset=NOUNS
    )
    clip = get("clip").train_or_load(size, data=pairs, steps=STEPS[size.name][0]).model
    return freeze(ClassToken(clip.vision))


def flamingo(scale: Scale | str | None = None, seed: int = 0, **options) -> TrainedStage:
    """Flamingo on captions and pages of names. Its model is WeightedLosses, as that of the recipe "flamingo"; options: of that."""
    size, vision = Scale.of(scale), tower(scale)
    cache = FeatureCache(vision, size.image_size)
    pages = NamedThings(seed=seed)
    return get("flamingo").train_or_load(
        size,
        seed,
        tower=vision,
        features=cache,
        data={
            "names": (PageDataset(pages.name_pages, cache), 8),
            "captions": (PageDataset(pages.captions, cache), 24),
        },
        weights={"names": 1.0, "captions": 1.0},
        **{"steps": STEPS[size.name][1], "latents": 4, **options},
    )


def frozen(scale: Scale | str | None = None, seed: int = 0, **options) -> TrainedStage:
    """Frozen on captions, its encoder trained from scratch. options: of the recipe "frozen", such as ending=word_hull."""
    size = Scale.of(scale)
    pairs = SubsetOfNouns(
        "train", size.image_size, seed, (1, 1), descriptive_caption, noun_subset=NOUNS
    )
    data = prompts.CaptionDataset(pairs, IMAGE_PREFIX)
    return get("frozen").train_or_load(
        size, seed, data=data, **{"steps": STEPS[size.name][2], **options}
    )


def flamingo_score(model: Flamingo, size: int, view=world.to_pixels) -> Score:
    """Episodes -> share of right answers."""
    return lambda episodes: flamingo_accuracy(model, episodes, size, view)


def frozen_score(model: Frozen, view=world.to_pixels) -> Score:
    """Episodes -> share of right answers."""
    return lambda episodes: frozen_accuracy(model, episodes, view)


def binding(count: int, shots: int, **options) -> list[Episode]:
    """Held-out pictures of four things with invented names. options: of few_shot.binding_episode."""
    options = {"noun_subset": NOUNS, "invented": NAMES, **options}
    return [few_shot.binding_episode("test", index, shots, **options) for index in range(count)]


@torch.no_grad()
def binding_report(score: Score, blind: Score, count: int = 128) -> dict[str, dict[str, float]]:
    """Share of right names among four (chance: 1/4) by number of examples, with controls.

    score, blind  with the pictures, and with every picture grey
    swapped: the examples' pictures are another episode's. held_out_names, novel_nouns: never in training.
    """
    last_shots = SHOTS[-2:]

    def curve(rate: Score, shots: Sequence[int], change=list, **options) -> dict[str, float]:
        return {str(n): round(rate(change(binding(count, n, **options))), 4) for n in shots}

    return {
        "shots": curve(score, SHOTS),
        "swapped": curve(score, last_shots, few_shot.other_pictures),
        "blind": curve(blind, last_shots),
        "held_out_names": curve(score, last_shots, invented=HELD_OUT_NAMES),
        "novel_nouns": curve(score, last_shots, noun_subset=NEW_NOUNS),
    }


def knowledge_report(score: Score, count: int = 128, shots: Sequence[int] = (0, 4)) -> dict:
    """What is known of a thing on a picture: share of right answers among all answers of that kind, by number of examples."""
    web = WebPages("test", noun_subset=NOUNS)
    return {
        kind: {
            str(n): round(
                score([few_shot.question_episode(web, i, kind, n) for i in range(count)]), 4
            )
            for n in shots
        }
        for kind in ("what", "category", "place", "purpose")
    }
