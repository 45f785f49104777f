"""Lesson 10, BLIP-2: its exercises, in the order of the lesson's modules."""

from __future__ import annotations

from teaching import (
    blip2_contrast,
    blip2_generation,
    blip2_layers,
    blip2_masks,
    blip2_matching,
    blip2_prefix,
    blip2_queries,
    blip2_run,
)

EXERCISES = (
    blip2_queries.EXERCISES
    | blip2_masks.EXERCISES
    | blip2_layers.EXERCISES
    | blip2_run.EXERCISES
    | blip2_contrast.EXERCISES
    | blip2_matching.EXERCISES
    | blip2_generation.EXERCISES
    | blip2_prefix.EXERCISES
)
