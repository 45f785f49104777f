"""Lesson 01, attention and masks: its exercises, and an interactive figure of masks."""

from __future__ import annotations

import torch

from teaching import (
    attention_cache,
    attention_dependency,
    attention_masks,
    attention_modules,
    attention_scores,
)
from vlmcourse.parts import masks
from vlmcourse.plots import mask as draw_mask
from vlmcourse.widgets.interactive import buttons, dropdown, interactive, text_field

EXERCISES = {
    "attention": attention_scores.ATTENTION,
    "prefix_mask": attention_masks.PREFIX,
    "packed_mask": attention_masks.PACKED,
    "masked_attention": attention_scores.MASKED,
    "last_image_mask": attention_masks.LAST_IMAGE,
    "heads": attention_modules.HEADS,
    "dependency": attention_dependency.DEPENDENCY,
    "positions": attention_scores.POSITIONS,
    "block": attention_modules.BLOCK,
    "reachable": attention_masks.REACHABLE,
    "cache": attention_cache.CACHE,
}
"""The checks are in attention_scores.py, attention_masks.py, attention_dependency.py, attention_modules.py and attention_cache.py, the answers in attention_answers.py."""

COMPARISONS = {
    "level(key) <= level(query)": masks.less_equal_mask,
    "group(key) == group(query)": masks.same_group_mask,
}
EXAMPLES = {
    "causal": (0, "0 1 2 3 4 5"),
    "prefix": (0, "0 0 0 1 2 3"),
    "uni-modal": (1, "0 0 0 1 1 1"),
    "bi-directional": (0, "0 0 0 0 0 0"),
    "two documents": (1, "1 1 1 2 2 2"),
}


def mask_of(comparison: str, integers: str) -> masks.Mask:
    """The mask of a comparison (a key of COMPARISONS) on integers typed as text. Raises ValueError for anything else."""
    words = integers.replace(",", " ").split()
    if not 1 <= len(words) <= 16 or not all(word.lstrip("-").isdigit() for word in words):
        raise ValueError(f"'{integers}': expected 1 to 16 whole numbers, such as 0 0 1 2.")
    return COMPARISONS[comparison](torch.tensor([int(word) for word in words]), name=comparison)


def mask_player() -> None:
    """Displays a rule and integers to choose, and the mask that they make."""
    example = dropdown("start from", list(EXAMPLES))
    comparison = buttons("rule", list(COMPARISONS), width="18em")
    integers = text_field("integers", EXAMPLES["causal"][1])

    def start(change: dict) -> None:
        index, numbers = EXAMPLES[change["new"]]
        comparison.value, integers.value = list(COMPARISONS)[index], numbers

    example.observe(start, "value")
    interactive(
        [example, comparison, integers],
        lambda: draw_mask(mask_of(comparison.value, integers.value)),
    )
