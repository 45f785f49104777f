"""Short films: scenes in which one thing moves. No single frame shows which way."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vlmcourse.world.nouns import article
from vlmcourse.world.questions import Question
from vlmcourse.world.rendering import render
from vlmcourse.world.scenes import Scene, SeededRandom

DIRECTIONS = {
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, -1),
    "down": (0, 1),
}  # x, y; y grows downwards


@dataclass(frozen=True)
class Video:
    """`frames`: one scene per moment; `mover` moves in `direction`, everything else stays."""

    frames: tuple[Scene, ...]
    mover: str
    direction: str

    def render(self, size: int = 64) -> np.ndarray:
        """uint8 (T, size, size, 3)."""
        return np.stack([render(scene, size) for scene in self.frames])

    @property
    def caption(self) -> str:
        others = [article(word) for word in self.frames[0].words if word != self.mover]
        moving = f"{article(self.mover)} moves {self.direction}"
        return f"{moving} and {' and '.join(others)} stays still" if others else moving

    def questions(self) -> tuple[Question, ...]:
        """Which way, and who."""
        return (
            Question(
                f"where does the {self.mover} move ?", self.direction, "direction", self.mover
            ),
            Question("what moves ?", self.mover, "mover", self.mover),
        )


def make_video(scene: Scene, rng: SeededRandom, frames: int = 8, distance: float = 0.3) -> Video:
    """A thing of the scene crosses `distance` of the picture, at even speed, around its position in the scene.

    Around, and not from: so that on average over films every frame looks alike, and only their order tells the direction.
    """
    if frames < 2:
        raise ValueError(
            f"a film of {frames} frames; expected at least 2: one frame shows no motion."
        )
    number = int(rng.random() * len(scene.things))
    direction = rng.choice(tuple(DIRECTIONS))
    dx, dy = DIRECTIONS[direction]
    moments = []
    for frame in range(frames):
        gone = distance * (frame / (frames - 1) - 0.5)
        moved = replace(
            scene.things[number],
            x=scene.things[number].x + dx * gone,
            y=scene.things[number].y + dy * gone,
        )
        moments.append(
            replace(scene, things=(*scene.things[:number], moved, *scene.things[number + 1 :]))
        )
    return Video(tuple(moments), scene.things[number].word, direction)
