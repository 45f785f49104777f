"""Lesson 04, ViLBERT and VL-BERT: its exercises, in the order of the lesson's modules."""

from __future__ import annotations

from teaching import (
    vilbert_alignment,
    vilbert_head,
    vilbert_inputs,
    vilbert_layers,
    vilbert_losses,
    vilbert_tasks,
)

EXERCISES = (
    vilbert_inputs.EXERCISES
    | vilbert_losses.EXERCISES
    | vilbert_layers.EXERCISES
    | vilbert_alignment.EXERCISES
    | vilbert_tasks.EXERCISES
    | vilbert_head.EXERCISES
)
