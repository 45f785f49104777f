"""Which cells of a notebook are run in the next kernel, learnt from the kernels that ended before.

A cell of the student's that ended a kernel is left out from then on; one whose time was up gets a second try. Some kernels end later than their cause: a thread left
behind by an earlier cell does it. So the first time, the cells that left threads are left out instead.
A cell that the course handed out is never left out: if a kernel ends there, that was the machine, or something that came
before it. It is run again as it is, then without the cells that left threads, then without any of the student's cells
before it; and if that doesn't help, nothing can be said about this notebook.
"""

from collections import Counter
from dataclasses import dataclass, field

LATE = 2.0  # seconds for a cell that took too long twice


class CannotJudge(RuntimeError):
    """The course's own cells don't run here: the machine's fault, not the student's."""


@dataclass
class CellPlan:
    """protected: numbers of the cells that are never left out; count: how many cells there are."""

    protected: set[int]
    count: int
    left_out: set[int] = field(default_factory=set)
    left_threads: set[int] = field(default_factory=set)
    timeouts: Counter = field(default_factory=Counter)
    ends: Counter = field(default_factory=Counter)  # how often a kernel ended at a cell
    excused: dict[int, set[int]] = field(default_factory=dict)  # left out instead of the cell

    def runs(self, index: int) -> bool:
        return index not in self.left_out

    def seconds(self, index: int, limit: float) -> float:
        """A cell that took too long is tried again at full length in a fresh kernel, once."""
        return LATE if self.timeouts[index] >= 2 else limit

    def leave_out(self, cells: set[int]) -> None:
        self.left_out |= cells - self.protected

    def kernel_ended_at(self, index: int, why: str) -> str:
        """Decides what the next kernel leaves out; gives a note. Raises CannotJudge."""
        self.ends[index] += 1
        suspects = self.left_threads - self.left_out - {index}
        if index in self.protected:
            return self._at_protected(index, why, suspects)
        if "time was up" in why and self.ends[index] == 1:
            return f"{why}; it is tried again"
        if suspects and index not in self.excused:
            self.excused[index] = suspects
            self.leave_out(suspects)
            return f"{why}; cells before it left threads behind ({_numbers(suspects)}) and are left out"
        innocent = self.excused.get(index, set())  # the kernel ended without them, too
        self.left_out -= innocent
        self.left_threads -= innocent
        self.left_out.add(index)
        return f"{why}; it is left out from then on"

    def _at_protected(self, index: int, why: str, suspects: set[int]) -> str:
        before = {cell for cell in range(index) if cell not in self.protected} - self.left_out
        if self.ends[index] == 1:
            return f"{why} in a cell of the course; it is tried again"
        if suspects:
            self.leave_out(suspects)
            return f"{why} in a cell of the course; cells that left threads behind ({_numbers(suspects)}) are left out"
        if self.ends[index] <= 3 and before:
            self.leave_out(before)
            return f"{why} in a cell of the course; the cells before it ({_numbers(before)}) are left out"
        if self.ends[index] <= 3:
            return f"{why} in a cell of the course; it is tried again"
        raise CannotJudge(f"cell {index + 1}, one of the course's own, doesn't run: {why}")


def _numbers(cells: set[int]) -> str:
    return ", ".join(str(cell + 1) for cell in sorted(cells))
