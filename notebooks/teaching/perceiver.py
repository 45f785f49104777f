"""Lesson 11, Perceiver and Perceiver IO: its exercises, in the order of the lesson's modules."""

from __future__ import annotations

from teaching import perceiver_layers, perceiver_positions

EXERCISES = perceiver_positions.EXERCISES | perceiver_layers.EXERCISES
