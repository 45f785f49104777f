"""Runs a notebook's cells in a kernel, as far as they are needed, and keeps what they showed."""

import secrets

from nbformat import NotebookNode

from vlmgrader import wire
from vlmgrader.cell_plan import CellPlan
from vlmgrader.cells import grade_id
from vlmgrader.kernel import Kernel, MachineBusy, TookTooLong
from vlmgrader.outputs import Outputs
from vlmgrader.session import KernelEnded

HOUSEKEEPING = 30.0  # seconds for what the grader itself does between cells


class CellRunner:
    """cells: the notebook's; tasks: names of its test cells, which are not run; plan: which of the others are."""

    def __init__(self, cells: list[NotebookNode], tasks, plan: CellPlan, seconds: float) -> None:
        self.cells, self.tasks, self.plan, self.seconds = cells, tasks, plan, seconds
        self.outputs: dict[int, list] = {}

    def run(self, kernel: Kernel, last: int) -> tuple[int, str] | None:
        """Runs the cells up to number `last`. None, or (cell, why): there the kernel ended."""
        threads = None
        for index, cell in enumerate(self.cells[: last + 1]):
            try:
                if grade_id(cell) in self.tasks:
                    kernel.run("", HOUSEKEEPING, ask=f"__grader__.remember({grade_id(cell)!r})")
                elif cell.cell_type == "code" and cell.source.strip() and self.plan.runs(index):
                    self._run_cell(kernel, index)
                    threads = self._tidy(kernel, index, threads)
            except (KernelEnded, TookTooLong, MachineBusy) as error:
                return index, str(error)
        return None

    def _run_cell(self, kernel: Kernel, index: int) -> None:
        outputs, first = Outputs(), index not in self.outputs
        try:
            kernel.run(
                self.cells[index].source,
                self.plan.seconds(index, self.seconds),
                outputs.receive,
            )
        except TookTooLong as error:
            outputs.note(str(error))
            if index in self.plan.protected:
                raise
            self.plan.timeouts[index] += 1
        except KernelEnded as error:
            outputs.note(str(error))
            raise
        finally:
            if first:
                self.outputs[index] = outputs.cells()

    def _tidy(self, kernel: Kernel, index: int, threads: int | None) -> int:
        """After each cell: no process stays, timers stop, and the kernel must still do what it is told."""
        kernel.end_children()
        word = secrets.token_hex(8)
        reply = kernel.run(f"__grader__.word = {word!r}", HOUSEKEEPING, ask="__grader__.tidy()")
        if word not in wire.reply_text(reply):
            raise KernelEnded("the kernel no longer does what it is told")
        if not kernel.session.is_whole():
            raise KernelEnded("its sandbox was ended from inside")
        now = kernel.threads()
        if threads is not None and now > threads:
            self.plan.left_threads.add(index)
        return now
