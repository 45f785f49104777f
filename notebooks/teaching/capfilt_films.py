"""Lesson 09: the check of the exercise on films."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import capfilt_reference as reference
from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import driver_source


def film_inputs(generator: torch.Generator) -> tuple[list, dict]:
    B, F = number(generator, 2, 3), number(generator, 4, 5)
    return [normal(generator, B, F, 3, 4, 4)], {}


def run_video(target, frames):
    """Driver: video_states with an encoder that gives three states of width 2 for each picture."""
    import torch

    def encode(pixel_values):
        if pixel_values.dim() != 4:
            raise ValueError(
                f"the image encoder takes (N, 3, S, S), and got {tuple(pixel_values.shape)}"
            )
        flat = pixel_values.flatten(1)
        return torch.stack([flat[:, start : start + 6].view(-1, 3, 2) for start in (0, 6)]).sum(0)

    return target(encode, frames)


def film(encode: Callable, frames: Tensor, join: Callable) -> Tensor:
    """video_states whose states (B, F, P, D) are joined in another way."""
    states = encode(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
    return join(states)


def film_mistake(join: Callable) -> Callable:
    return lambda *args: run_video(partial(film, join=join), *args)


FILM_MISTAKES = {
    "the frames' states are averaged: keep all of them, one frame after the other.": film_mistake(
        lambda states: states.mean(1)
    ),
    "the frames' states are added up: keep all of them, one frame after the other.": film_mistake(
        lambda states: states.sum(1)
    ),
    "the states of the frames alternate: all of the first frame come first, then all of the second.": (
        film_mistake(lambda states: states.transpose(1, 2).flatten(1, 2))
    ),
    "frames of different films are mixed: films are the first axis.": film_mistake(
        lambda states: states.transpose(0, 1).reshape(states.shape[0], -1, states.shape[-1])
    ),
    "films and frames are exchanged: after `flatten(0, 1)` the axes are again (B, F), not (F, B).": (
        film_mistake(
            lambda states: (
                states.reshape(*states.shape[1::-1], *states.shape[2:])
                .transpose(0, 1)
                .flatten(1, 2)
            )
        )
    ),
    "the frames stand side by side in the width: the sequence becomes longer, not wider.": (
        film_mistake(lambda states: states.transpose(1, 2).flatten(2, 3))
    ),
    "only the first frame is read.": film_mistake(lambda states: states[:, 0]),
    "only the middle frame is read.": film_mistake(lambda states: states[:, states.shape[1] // 2]),
    "the frames are in reversed order.": film_mistake(lambda states: states.flip(1).flatten(1, 2)),
    "the frames still have an axis of their own: join it with that of the patches.": film_mistake(
        lambda states: states
    ),
    "the films aren't apart any more: the first axis is B.": film_mistake(
        lambda states: states.flatten(0, 1)
    ),
    "each frame's class token alone is kept: keep all its states.": film_mistake(
        lambda states: states[:, :, 0]
    ),
}

EXERCISES = {
    "video_states": Exercise(
        "A film is one long picture.",
        (
            rule(
                "video_states",
                film_inputs,
                partial(run_video, reference.video_states),
                FILM_MISTAKES,
                driver=driver_source(run_video),
            ),
        ),
        reference=reference.video_states,
    ),
}
