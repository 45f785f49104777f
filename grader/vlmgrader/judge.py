"""Judges a notebook: its cells run in a sandboxed kernel, its functions are called with inputs made here and judged here.

No expected value, comparison or score ever reaches the kernel. What it can do is end, hang, or answer wrongly, and each
of these costs the task it happens in. How that is made sure, kernel after kernel:

1. A fresh kernel runs the cells (CellRunner) as far as the pending tasks need them. If it ends there, CellPlan decides what
   the next kernel leaves out, and we begin again.
2. The pending tasks are judged in it, one after the other (TaskJudge). Full marks are final. A wrong answer is final if
   no other task was called before it in this kernel, or if it came in kernels that have no earlier task in common: then
   none can have caused it. A time-out, or the kernel's end, is final only when it came twice in kernels in which this
   task was called first, so that a stall of the machine costs nothing (Attempts).
3. What isn't final is pending again, in reverse order, until nothing is.
4. Cells that reach beyond themselves (that change libraries, say) may have broken the tasks of others: these are judged
   once more without such cells.

If the time for a submission is up, or the course's own cells don't run, the result is unfinished: such a submission has
failed and is tried again, it is never graded with what happens to be there.
"""

import secrets
from contextlib import nullcontext
from pathlib import Path

from nbformat import NotebookNode

from vlmgrader.cell_plan import CannotJudge, CellPlan
from vlmgrader.cell_runner import CellRunner
from vlmgrader.cells import grade_id, reaches, sections
from vlmgrader.kernel import Kernel, MachineBusy
from vlmgrader.results import CheckResult, NotebookResult, Task
from vlmgrader.sandbox import Sandbox
from vlmgrader.session import KernelEnded, Session
from vlmgrader.task_judge import TaskJudge

NO_ANSWER = ("time", "memory", "died")


class Attempts:
    """The best result of each task, and whether it is final."""

    def __init__(self) -> None:
        self.results: dict[str, list[CheckResult]] = {}
        self.before: dict[str, set[str]] = {}  # tasks called before it in each of its kernels
        self.first: dict[str, int] = {}  # how often nothing was called before it

    def points(self, task: str) -> float:
        return sum(result.points for result in self.results.get(task, []))

    def add(self, task: Task, results: list[CheckResult], before: set[str]) -> bool:
        """Keeps the result if it is the best. Whether this task is done with."""
        name = task.name
        if name not in self.results or sum(row.points for row in results) > self.points(name):
            self.results[name] = results
        self.before[name] = self.before.get(name, before) & before
        self.first[name] = self.first.get(name, 0) + (not before)
        if self.points(name) >= task.points:
            return True
        no_answer = any(row.failure in NO_ANSWER for row in self.results[name])
        return self.first[name] >= 2 if no_answer else not self.before[name]

    def forget_order(self) -> None:
        """Other cells run from now on: what was final is to be shown again."""
        self.before.clear()
        self.first.clear()


class Judge:
    """One notebook, already inspected by the pre-flight, and the tasks in it. `given`: cells as the course handed them out."""

    def __init__(
        self,
        notebook: NotebookNode,
        tasks: dict[str, Task],
        sandbox: Sandbox,
        files: Path | None = None,
        given: frozenset[str] = frozenset(),
        seed: str | None = None,
    ) -> None:
        self.cells, self.tasks, self.sandbox, self.files = notebook.cells, tasks, sandbox, files
        self.given = {index for index, cell in enumerate(self.cells) if cell.source in given}
        self.section = sections(self.cells, tasks)
        of_tests = {index for index, cell in enumerate(self.cells) if grade_id(cell) in tasks}
        plan = CellPlan(self.given | of_tests, len(self.cells))
        self.plan, self.attempts = plan, Attempts()
        self.runner = CellRunner(self.cells, tasks, plan, sandbox.limits.cell)
        self.result = NotebookResult(seed=seed or secrets.token_hex(8), outputs=self.runner.outputs)
        self.task_judge = TaskJudge(self.result.seed, sandbox.limits.task, self.result.notes.append)
        self.seconds = 0.0  # used by all kernels so far

    def judge(self, session: Session | None = None) -> NotebookResult:
        """In a sandbox of its own, unless one is given."""
        order = [grade_id(cell) for cell in self.cells if grade_id(cell) in self.tasks]
        result = self.result
        with nullcontext(session) if session else Session(self.sandbox, self.files) as session:
            try:
                self._judge_all(session, order)
                self._judge_without_reaching_cells(session, order)
            except (CannotJudge, MachineBusy, KernelEnded) as error:
                result.unfinished = str(error)
                result.notes.append(str(error))
        result.tasks = dict(self.attempts.results)
        for name in set(order) - set(result.tasks):
            result.unfinished = result.unfinished or f"the task {name} was not judged"
        for task in self.tasks.values():
            result.tasks.setdefault(task.name, _not_judged(task, result.unfinished))
        return result

    def _judge_all(self, session: Session, pending: list[str]) -> None:
        """Kernel after kernel, until every result is final. Raises KernelEnded where none can be started."""
        while pending:
            if self.seconds > self.sandbox.limits.submission:
                limit = self.sandbox.limits.submission
                raise CannotJudge(
                    f"the time for a submission ({limit:.0f} s) was up before {', '.join(pending)}"
                )
            with Kernel(session) as kernel:
                self.result.kernels += 1
                last = max(map(self._index, pending))
                ended = self.runner.run(kernel, last if self.attempts.results else len(self.cells))
                if ended:
                    index, why = ended
                    note = self.plan.kernel_ended_at(index, why)
                    self.result.notes.append(f"cell {index + 1}: {note}")
                else:
                    pending = self._judge_tasks(kernel, pending)[::-1]
                self.seconds += kernel.seconds

    def _judge_tasks(self, kernel: Kernel, pending: list[str]) -> list[str]:
        """Judges what is pending; gives what is to be judged again."""
        again, called = [], set()
        for name in pending:
            if kernel.ended_because:
                again.append(name)
                continue
            results = self.task_judge.judge(kernel, self.tasks[name])
            final = self.attempts.add(self.tasks[name], results, called) or self._is_untouched(name)
            if not final or self._has_late_cell(name):
                again.append(name)
            called = called | {name}
        return again

    def _has_late_cell(self, name: str) -> bool:
        """A cell before it was stopped once for its time: it gets a second try in a fresh kernel."""
        if self.attempts.points(name) >= self.tasks[name].points:
            return False
        last = self._index(name)
        return any(self.plan.timeouts[index] == 1 for index in range(last))

    def _judge_without_reaching_cells(self, session: Session, order: list[str]) -> None:
        """The tasks of other cells once more, without the cells that reach beyond themselves."""
        reaching = {
            index: why
            for index, cell in enumerate(self.cells)
            if index not in self.given and (why := reaches(cell))
        }
        own = {self.section[index] for index in reaching}
        pending = [
            name
            for name in order
            if name not in own
            and self.attempts.points(name) < self.tasks[name].points
            and not self._is_untouched(name)
        ]
        if not reaching or not pending:
            return
        self.plan.leave_out(set(reaching))
        for index in sorted(reaching):
            self.result.notes.append(
                f"cell {index + 1} reaches beyond itself ({reaching[index]}); without it, the tasks of other cells "
                "were judged once more"
            )
        self.attempts.forget_order()
        self._judge_all(session, pending)

    def _index(self, task: str) -> int:
        return next(index for index, cell in enumerate(self.cells) if grade_id(cell) == task)

    def _is_untouched(self, task: str) -> bool:
        """Nothing in its section differs from what was handed out: there is no answer to judge again."""
        section = self.section[self._index(task)]
        return all(
            index in self.given
            for index, cell in enumerate(self.cells)
            if self.section[index] == section
            and cell.cell_type == "code"
            and grade_id(cell) not in self.tasks
            and cell.source.strip()
        )


def _not_judged(task: Task, why: str) -> list[CheckResult]:
    message = f"not judged: {why or 'there is no such cell'}"
    return [CheckResult(check.name, 0.0, float(check.points), message) for check in task.checks]
