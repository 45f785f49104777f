"""Scenes that differ in one attribute, so that the same words describe both, bound otherwise: hard negatives whose truth is
known. Bags of words cannot tell them apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from vlmcourse.world.captions import detailed
from vlmcourse.world.pairs import Pairs
from vlmcourse.world.scenes import BACKGROUNDS, Draws, Scene, sample, split_of

Swap = Callable[[Scene, Draws], Scene | None]


def exchanged(scene: Scene, draws: Draws) -> Scene | None:
    """Two things trade places: what was left is right. None for a thing alone."""
    if len(scene.things) < 2:
        return None
    one, other = sorted(draws.several(range(len(scene.things)), 2))
    things = list(scene.things)
    for here, there in ((one, other), (other, one)):
        things[here] = replace(scene.things[here], word=scene.things[there].word)
    return replace(scene, things=tuple(things))


def repainted(scene: Scene, draws: Draws) -> Scene | None:
    """The same things on a background of another colour, in the same split. None if the split has no other."""
    split = split_of(scene.words, scene.background)
    others = [
        one
        for one in BACKGROUNDS
        if one != scene.background and split_of(scene.words, one) == split
    ]
    return replace(scene, background=draws.pick(others)) if others else None


def either(scene: Scene, draws: Draws) -> Scene | None:
    """Exchanged three times in four where there is something to exchange (places are harder to learn), else repainted."""
    return (draws.random() < 0.75 and exchanged(scene, draws)) or repainted(scene, draws)


@dataclass(frozen=True)
class Siblings(Pairs):
    """Pairs in twos: scene 2i, and as 2i + 1 the same scene with one thing changed; captions of one form. Where a caption
    doesn't say what was changed, both are equal, and the losses know that equal captions are the same.

    swap   (scene, draws) -> the other scene, or None, which leaves the scene as it is
    among  a smaller world: only these nouns are shown. Default: all
    """

    swap: Swap = either
    among: tuple[str, ...] = ()

    def scene(self, index: int) -> Scene:
        scene = sample(self.split, index // 2, self.seed, self.things, self.among)
        if index % 2 == 0:
            return scene
        return self.swap(scene, Draws("swap", self.seed, self.split, index // 2)) or scene

    def truth(self, index: int) -> str:
        return self.caption(self.scene(index), Draws("caption", self.seed, self.split, index // 2))


def choices(
    swap: Swap,
    split: str = "test",
    count: int = 256,
    seed: int = 0,
    things: tuple[int, int] = (1, 4),
    caption: Callable[[Scene, Draws], str] = detailed,
    among: tuple[str, ...] = (),
) -> list[tuple[Scene, str, str]]:
    """(scene, the right caption, the caption of the swapped scene in the same form), of `count` scenes that can be swapped.
    among: see Siblings."""
    found: list[tuple[Scene, str, str]] = []
    index = 0
    while len(found) < count:
        scene = sample(split, index, seed, things, among)
        other = swap(scene, Draws("swap", seed, split, index))
        if other:
            right, wrong = (
                caption(one, Draws("caption", seed, split, index)) for one in (scene, other)
            )
            if right != wrong:
                found.append((scene, right, wrong))
        index += 1
    return found
