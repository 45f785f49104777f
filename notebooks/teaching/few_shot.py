"""Lesson 12, few-shot learning with Flamingo: its exercises, in the order of the lesson's modules."""

from __future__ import annotations

from teaching import (
    few_shot_answers,
    few_shot_films,
    few_shot_orders,
    few_shot_prompts,
    few_shot_retrieval,
    few_shot_scores,
    few_shot_training,
)

EXERCISES = (
    few_shot_prompts.EXERCISES
    | few_shot_training.EXERCISES
    | few_shot_scores.EXERCISES
    | few_shot_answers.EXERCISES
    | few_shot_retrieval.EXERCISES
    | few_shot_orders.EXERCISES
    | few_shot_films.EXERCISES
)
