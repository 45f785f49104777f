"""What the assignments' notebooks use: check("a1-attention-test", attention), look(picture), and runs to be diagnosed.

The rules of checking are vlmgrader's; here are this course's public cases (`shown/*.json`, made by `vlmcourse build`) and
its pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vlmgrader.public import PublicChecks

FOLDER = Path(__file__).parent / "shown"


def show_difference(got: object, wanted: object) -> None:
    """Shows the table of what was got that is farthest from the one wanted, beside it, where tables can be drawn."""
    import torch

    from vlmcourse import plots

    if not isinstance(wanted, torch.Tensor) or type(got) is not torch.Tensor:
        return
    if got.shape != wanted.shape or got.dtype != wanted.dtype or not got.isfinite().all():
        return
    if wanted.dim() < 2 or min(wanted.shape[-2:]) < 2 or not wanted.numel():
        return
    got, wanted = (value.reshape(-1, *value.shape[-2:]) for value in (got, wanted))
    farthest = int((got.double() - wanted.double()).abs().flatten(1).amax(1).argmax())
    compare = plots.compare_masks if wanted.dtype == torch.bool else plots.compare_values
    plots.show(compare(got[farthest], wanted[farthest]))


check = PublicChecks(FOLDER, show_difference)


def look(drawn: Callable) -> None:
    """Shows the picture that drawn() makes of your functions, once they are written."""
    from vlmcourse.plots import show

    try:
        picture = drawn()
    except NotImplementedError:
        print("There will be a picture here when the functions above are written.")
        return
    except Exception as error:  # the student's code may raise anything: that is an answer
        print(f"No picture yet: your code raised {type(error).__name__}: {error}")
        return
    show(picture)
