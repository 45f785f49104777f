"""Lesson 08, BLIP: its exercises, in the order of the lesson's modules."""

from __future__ import annotations

from teaching import (
    blip_blocks,
    blip_contrast,
    blip_decoder,
    blip_evaluation,
    blip_matching,
    blip_momentum,
    blip_sharing,
)

EXERCISES = (
    blip_blocks.EXERCISES
    | blip_sharing.EXERCISES
    | blip_contrast.EXERCISES
    | blip_momentum.EXERCISES
    | blip_matching.EXERCISES
    | blip_decoder.EXERCISES
    | blip_evaluation.EXERCISES
)
