"""Flamingo on captions, pages of names and questions: names that mean nothing, bound by examples in the prompt, and facts.

The recipe is that of the stage "flamingo" in a smaller world: 48 nouns, one thing on a picture, so that one run takes a few
minutes. All other nouns are new to CLIP's tower and to the bridge, six invented names are on no training page, and what a
thing is for is never asked: who answers it has the fact from the language model's texts.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

from torch import Tensor, nn

from vlmcourse import world
from vlmcourse.papers.flamingo import Flamingo
from vlmcourse.parts.language import freeze
from vlmcourse.parts.vision import ViT
from vlmcourse.recipes.features import FeatureCache
from vlmcourse.recipes.few_shot_report import NAMES, Nouns, Score
from vlmcourse.recipes.flamingo import episode_accuracy
from vlmcourse.recipes.recipe import get
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import TrainedStage
from vlmcourse.world import interleaved
from vlmcourse.world.interleaved import PageDataset, WebPages
from vlmcourse.world.pages import question_prompt
from vlmcourse.world.questions import ask
from vlmcourse.world.regions import SubsetOfNouns

NOUNS = world.known_nouns()[:96:2]
"""The 48 nouns of this world."""
NEW_NOUNS = tuple(noun.word for noun in world.nouns() if noun.word not in NOUNS)
SHOWN = Nouns(NOUNS, NEW_NOUNS, "test")
STEPS = {"smoke": (4, 4), "laptop": (700, 300), "gpu": (3000, 3000)}
"""Of CLIP and Flamingo."""
QUESTION_KINDS = ("what", "category", "place")
"""What training pages ask of things."""


class ClassToken(nn.Module):
    """CLIP's summary of a picture, normalised, as its only feature: pixels (M, 3, S, S) -> (M, 1, D)."""

    def __init__(self, vit: ViT):
        super().__init__()
        self.vit, self.width = deepcopy(vit), vit.width

    def forward(self, pixels: Tensor) -> Tensor:
        return nn.functional.layer_norm(self.vit(pixels), (self.width,))[:, None]


@dataclass(frozen=True)
class NamedThings(WebPages):
    """Three sources of pages with one thing on each picture: captions, pages of names, pages of questions."""

    pool: int = 1920
    noun_subset: tuple[str, ...] = NOUNS
    invented: tuple[str, ...] = NAMES

    def captions(self, index: int) -> tuple[interleaved.Part, ...]:
        """A sentence, or the thing's word at once, as descriptions have it in the language model's texts.

        With sentences alone, later blocks can learn to say the word after "this is a", and what stands at the tag needn't
        be a thing: then fewer facts about it are known (with half of the nouns asked, purpose 0.66 instead of 0.80).
        """
        scene = self.single_thing(index)
        (word,) = scene.words
        name = world.article(word)
        forms = (
            f"this is {name}",
            f"{name} on {scene.background}",
            f"{word} {scene.background}",
            word,
            f"a picture of {name}",
        )
        return scene, f"{self.rng('captions', index).choice(forms)} ."

    def name_pages(self, index: int) -> tuple[interleaved.Part, ...]:
        return self.names(index, self.rng("names", index))

    def question_pages(self, index: int) -> tuple[interleaved.Part, ...]:
        """One to five questions of one kind, each about a picture of its own."""
        rng = self.rng("facts", index)
        kind, parts = rng.choice(QUESTION_KINDS), []
        for number in range(1 + int(rng.random() * 5)):
            scene = self.single_thing(5 * index + number)
            question = ask(scene, rng, (kind,))
            parts += [scene, f"{question_prompt(question)} {question.answer} ."]
        return tuple(parts)


def tower(scale: Scale | str | None = None) -> nn.Module:
    """CLIP's tower, trained on these nouns alone, and frozen."""
    size = Scale.of(scale)
    pairs = SubsetOfNouns(
        "train", size.image_size, 0, (1, 1), world.captions.prompted, noun_subset=NOUNS
    )
    clip = get("clip").train_or_load(size, data=pairs, steps=STEPS[size.name][0]).model
    return freeze(ClassToken(clip.vision))


def sources(pages: NamedThings, cache: FeatureCache) -> dict[str, tuple[PageDataset, int]]:
    """The three data sets, each with how many pages a step takes."""
    return {
        "names": (PageDataset(pages.name_pages, cache), 8),
        "captions": (PageDataset(pages.captions, cache), 24),
        "questions": (PageDataset(pages.question_pages, cache), 8),
    }


def flamingo(scale: Scale | str | None = None, seed: int = 0, data=None, **options) -> TrainedStage:
    """Flamingo on captions, names and questions. Its model is WeightedLosses, as that of the recipe "flamingo".

    data     some of `sources`, or others of these names; default: all
    options  of the recipe "flamingo"
    """
    size, vision = Scale.of(scale), options.pop("tower", None) or tower(scale)
    cache = FeatureCache(vision, size.image_size)
    return get("flamingo").train_or_load(
        size,
        seed,
        tower=vision,
        features=cache,
        data=data or sources(NamedThings(seed=seed), cache),
        weights={"names": 1.0, "captions": 1.0, "questions": 1.0},
        **{"steps": STEPS[size.name][1], "latents": 4, **options},
    )


def score(model: Flamingo, size: int, view=world.to_pixels) -> Score:
    """Episodes -> share of right answers, for few_shot_report."""
    return lambda episodes: episode_accuracy(model, episodes, size, view)
