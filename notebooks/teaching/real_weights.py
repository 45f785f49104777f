"""Lesson 15, real weights: its exercises, in the order of the lesson's modules."""

from __future__ import annotations

from teaching import (
    real_weights_inputs,
    real_weights_loading,
    real_weights_rows,
    real_weights_statistics,
    real_weights_texts,
    real_weights_tiles,
    real_weights_tuning,
)

EXERCISES = (
    real_weights_loading.EXERCISES
    | real_weights_inputs.EXERCISES
    | real_weights_texts.EXERCISES
    | real_weights_tiles.EXERCISES
    | real_weights_rows.EXERCISES
    | real_weights_tuning.EXERCISES
    | real_weights_statistics.EXERCISES
)
