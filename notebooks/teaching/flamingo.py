"""Lesson 11, Flamingo's architecture: its exercises, in the order of the lesson's modules."""

from __future__ import annotations

from teaching import flamingo_blocks, flamingo_layers, flamingo_pages, flamingo_resampler

EXERCISES = (
    flamingo_resampler.EXERCISES
    | flamingo_blocks.EXERCISES
    | flamingo_layers.EXERCISES
    | flamingo_pages.EXERCISES
)
