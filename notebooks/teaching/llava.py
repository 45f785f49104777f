"""Lesson 14, After Flamingo: its exercises, in the order of the lesson's modules."""

from __future__ import annotations

from teaching import (
    llava_bridge,
    llava_chat,
    llava_dialogues,
    llava_later,
    llava_stages,
    llava_vision,
)

EXERCISES = (
    llava_vision.EXERCISES
    | llava_bridge.EXERCISES
    | llava_chat.EXERCISES
    | llava_stages.EXERCISES
    | llava_dialogues.EXERCISES
    | llava_later.EXERCISES
)
