"""Lesson 09, CapFilt and downstream tasks: its exercises, in the order of the lesson's modules."""

from __future__ import annotations

from teaching import (
    capfilt_cider,
    capfilt_films,
    capfilt_filter,
    capfilt_loop,
    capfilt_ranking,
    capfilt_tasks,
    capfilt_two_pictures,
)

EXERCISES = (
    capfilt_cider.EXERCISES
    | capfilt_filter.EXERCISES
    | capfilt_loop.EXERCISES
    | capfilt_tasks.EXERCISES
    | capfilt_two_pictures.EXERCISES
    | capfilt_ranking.EXERCISES
    | capfilt_films.EXERCISES
)
