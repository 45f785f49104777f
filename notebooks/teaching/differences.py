"""What a wrong answer gave beside what was wanted: numbers in words, tables as a picture."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from vlmcourse import assignments
from vlmgrader.checks import differs


def leaves(got: object, wanted: object) -> Iterator[tuple[object, object]]:
    """The values in two lists of the same structure, pair by pair; of anything else the one pair."""
    if isinstance(got, (list, tuple)) and isinstance(wanted, list) and len(got) == len(wanted):
        for pair in zip(got, wanted):
            yield from leaves(*pair)
    else:
        yield got, wanted


def show_difference(got: object, wanted: object, tolerance: float) -> None:
    """Shows the first value that differs by more than the tolerance: a number in words, a table as a picture, else nothing.

    Of a list with several numbers none is shown: they are facts about an answer, and say nothing without their names.
    """
    pairs = list(leaves(got, wanted))
    facts = sum(isinstance(value, float) for _, value in pairs) > 1
    found = ((one, other) for one, other in pairs if differs(one, other, tolerance))
    got, wanted = next(found, (None, None))
    if isinstance(wanted, float) and isinstance(got, (int, float, Tensor)) and not facts:
        if not isinstance(got, Tensor) or got.numel() == 1:
            print(f"For these inputs yours is {float(got):.4f}; wanted {wanted:.4f}.")
    else:
        assignments.show_difference(got, wanted)
