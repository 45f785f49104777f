"""The mask player: type one integer per position and see who may look at whom."""

from __future__ import annotations

import torch

from vlmcourse.parts import masks
from vlmcourse.plots import mask as draw_mask

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
    """Displays the player. Everything can be reached by keyboard: tab, arrows, typing."""
    import ipywidgets

    from vlmcourse.widgets.interactive import play

    example = ipywidgets.Dropdown(options=list(EXAMPLES), description="start from")
    comparison = ipywidgets.ToggleButtons(
        options=list(COMPARISONS), description="rule", style={"button_width": "18em"}
    )
    integers = ipywidgets.Text(
        value=EXAMPLES["causal"][1], description="integers", continuous_update=False
    )

    def start(change: dict) -> None:
        rule, numbers = EXAMPLES[change["new"]]
        comparison.value, integers.value = list(COMPARISONS)[rule], numbers

    example.observe(start, "value")
    play(
        [example, comparison, integers],
        lambda: draw_mask(mask_of(comparison.value, integers.value)),
    )
