"""nbgrader's plain test cells: source text that passes if all of it runs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vlmgrader.checks import Check, Verdict

PASSED = "passed"
"""What the student's side brings where all statements of a test cell ran."""


@dataclass(frozen=True)
class CellTest(Check):
    """nbgrader's plain test cell: it passes if all its statements run, with the notebook's names as they are there.

    cell  its source text, hidden tests included

    It runs beside the student's code, which can therefore read hidden tests and even pretend that they passed. What must
    be sure is a Check.
    """

    cell: str = ""

    def judge(self, got: object, args: list, kwargs: dict) -> Verdict:
        """Passed, or with the assertion's own message."""
        if got == PASSED:
            return Verdict(self.name, True, self.points, self.points, "right.")
        message = got[:300] if isinstance(got, str) else "no readable result"
        return Verdict(self.name, False, 0.0, self.points, f"a test failed: {message}")


def of_cell(source: str, points: float) -> CellTest:
    """The check of a plain test cell."""

    def no_inputs(generator: torch.Generator) -> tuple[list, dict]:
        return [], {}

    return CellTest(
        "tests of this cell",
        points,
        "",
        no_inputs,
        lambda: PASSED,
        rounds=1,
        public=False,
        cell=source,
    )
