"""Scenes that differ in one attribute, so that the same words describe both, bound otherwise: hard negatives whose truth is
known. Bags of words cannot tell them apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from vlmcourse.world.captions import detailed
from vlmcourse.world.pairs import Pairs
from vlmcourse.world.scenes import BACKGROUNDS, Scene, SeededRandom, sample, split_of

SceneChange = Callable[[Scene, SeededRandom], Scene | None]


def swap_positions(scene: Scene, rng: SeededRandom) -> Scene | None:
    """Two things exchange their positions: what was left is right. None for a thing alone."""
    if len(scene.things) < 2:
        return None
    first, second = sorted(rng.sample(range(len(scene.things)), 2))
    things = list(scene.things)
    for here, there in ((first, second), (second, first)):
        things[here] = replace(scene.things[here], word=scene.things[there].word)
    return replace(scene, things=tuple(things))


def change_background(scene: Scene, rng: SeededRandom) -> Scene | None:
    """The same things on a background of another colour, in the same split. None if the split has no other."""
    split = split_of(scene.words, scene.background)
    others = [
        background
        for background in BACKGROUNDS
        if background != scene.background and split_of(scene.words, background) == split
    ]
    return replace(scene, background=rng.choice(others)) if others else None


def swap_or_change(scene: Scene, rng: SeededRandom) -> Scene | None:
    """swap_positions three times in four where it can be done (positions are harder to learn), else change_background."""
    return (rng.random() < 0.75 and swap_positions(scene, rng)) or change_background(scene, rng)


@dataclass(frozen=True)
class MinimalPairs(Pairs):
    """Pairs in twos: scene 2i, and as 2i + 1 the same scene with one thing changed; captions of one form. Where a caption
    doesn't say what was changed, both are equal, and the losses know that equal captions are the same.

    change       (scene, rng) -> the other scene, or None, which leaves the scene as it is
    noun_subset  only these nouns are shown. Default: all
    """

    change: SceneChange = swap_or_change
    noun_subset: tuple[str, ...] = ()

    def scene(self, index: int) -> Scene:
        scene = sample(self.split, index // 2, self.seed, self.things, self.noun_subset)
        if index % 2 == 0:
            return scene
        return self.change(scene, SeededRandom("swap", self.seed, self.split, index // 2)) or scene

    def true_caption(self, index: int) -> str:
        return self.caption(
            self.scene(index), SeededRandom("caption", self.seed, self.split, index // 2)
        )


def caption_choices(
    change: SceneChange,
    split: str = "test",
    count: int = 256,
    seed: int = 0,
    things: tuple[int, int] = (1, 4),
    caption: Callable[[Scene, SeededRandom], str] = detailed,
    noun_subset: tuple[str, ...] = (),
) -> list[tuple[Scene, str, str]]:
    """(scene, the right caption, the caption of the swapped scene in the same form), of `count` scenes that can be swapped.
    noun_subset: see MinimalPairs."""
    choices: list[tuple[Scene, str, str]] = []
    index = 0
    while len(choices) < count:
        scene = sample(split, index, seed, things, noun_subset)
        changed = change(scene, SeededRandom("swap", seed, split, index))
        if changed:
            right, wrong = (
                caption(version, SeededRandom("caption", seed, split, index))
                for version in (scene, changed)
            )
            if right != wrong:
                choices.append((scene, right, wrong))
        index += 1
    return choices
