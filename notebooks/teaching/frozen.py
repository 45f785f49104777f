"""Lesson 07, Frozen: its exercises, in the order of the lesson's modules."""

from __future__ import annotations

from teaching import (
    frozen_loss,
    frozen_prefix,
    frozen_prompts,
    frozen_swaps,
    frozen_training,
    frozen_vectors,
)

EXERCISES = (
    frozen_prefix.EXERCISES
    | frozen_training.EXERCISES
    | frozen_loss.EXERCISES
    | frozen_prompts.EXERCISES
    | frozen_swaps.EXERCISES
    | frozen_vectors.EXERCISES
)
