"""Judges a notebook: its cells run in a sandboxed kernel, its functions are called with inputs made here and judged here.

The kernel never sees an expected value, a comparison or a score. What it can do is end, hang, or answer wrongly, and each
of these costs the task it happens in: what another task may have caused is judged again in a fresh kernel.
"""

import base64
import binascii
import math
import re
import secrets
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from nbformat import NotebookNode

from vlmgrader import codec
from vlmgrader.cells import grade_id, reaches, sections
from vlmgrader.checks import Failed
from vlmgrader.kernel import Kernel, TookTooLong
from vlmgrader.outputs import Outputs
from vlmgrader.room import KernelEnded, Room
from vlmgrader.sandbox import Sandbox

AGAIN = 2.0  # seconds for a cell that already took too long once


@dataclass(frozen=True)
class Task:
    """An autograded test cell: its grade_id, its points and the trusted checks behind it."""

    name: str
    points: float
    checks: list


@dataclass(frozen=True)
class Mark:
    """What one check found. The message is for the student: it never holds hidden inputs or an exception's text."""

    check: str
    points: float
    of: float
    message: str
    diagnosed: bool = False


@dataclass
class Judged:
    """marks: task -> its checks; outputs: number of a cell -> what it showed; notes: for the instructor."""

    marks: dict[str, list[Mark]] = field(default_factory=dict)
    outputs: dict[int, list] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    kernels: int = 0

    def points(self, task: str) -> float:
        return sum(mark.points for mark in self.marks.get(task, []))

    def as_json(self) -> dict:
        return {
            "marks": {task: [asdict(mark) for mark in marks] for task, marks in self.marks.items()},
            "notes": self.notes,
            "kernels": self.kernels,
        }


class Judge:
    """One notebook, already looked at by the pre-flight, and the tasks in it. `given`: cells as the course handed them out."""

    def __init__(
        self,
        notebook: NotebookNode,
        tasks: dict[str, Task],
        sandbox: Sandbox,
        files: Path | None = None,
        given: frozenset[str] = frozenset(),
    ) -> None:
        self.cells, self.tasks, self.sandbox, self.files = notebook.cells, tasks, sandbox, files
        self.judged = Judged()
        self.given = {index for index, cell in enumerate(self.cells) if cell.source in given}
        self.section = sections(self.cells, tasks)
        self.skipped: set[int] = set()  # cells that ended a kernel
        self.slow: set[int] = set()
        self.before: dict[
            str, set[str]
        ] = {}  # tasks called before this one in each kernel in which it failed
        self.beyond = {
            index: why
            for index, cell in enumerate(self.cells)
            if index not in self.given and (why := reaches(cell))
        }
        self.suspects: set[int] = (
            set()
        )  # cells that left threads behind: they may end a kernel later
        self.accused: set[int] = set()
        self.excused: set[int] = set()
        self.until = time.monotonic() + sandbox.limits.submission

    def judge(self, room: Room | None = None) -> Judged:
        """In a sandbox of its own, unless one is given."""
        order = [grade_id(cell) for cell in self.cells if grade_id(cell) in self.tasks]
        with nullcontext(room) if room else Room(self.sandbox, self.files) as room:
            self._judge(room, order)
            beyond = {self.section[index] for index in self.beyond}
            pending = [
                task
                for task in order
                if task not in beyond
                and self.judged.points(task) < self.tasks[task].points
                and not self._untouched(task)
            ]
            if self.beyond and pending:
                self.skipped |= set(self.beyond)
                self.judged.notes += [
                    f"cell {index + 1} reaches beyond itself ({self.beyond[index]}); without it, the tasks "
                    "of other cells were judged once more"
                    for index in sorted(self.beyond)
                ]
                self.before.clear()
                self._judge(room, pending)
        why = "not judged: " + (self.judged.notes or ["there is no such cell"])[-1]
        for task in self.tasks.values():
            self.judged.marks.setdefault(task.name, _lost(task, why))
        return self.judged

    def _judge(self, room: Room, pending: list[str]) -> None:
        """Kernel after kernel, until every failure is one that no other task can have caused."""
        while pending and time.monotonic() < self.until:
            try:
                with Kernel(room) as kernel:
                    self.judged.kernels += 1
                    if self._cells(kernel, pending):
                        pending = self._tasks(kernel, pending)[::-1]
            except KernelEnded as error:  # it didn't even start
                self.judged.notes.append(str(error))
                break
        if pending and time.monotonic() > self.until:
            self.judged.notes.append(
                f"the time for a submission ({self.sandbox.limits.submission:.0f} s) was up"
            )

    # The notebook's cells

    def _cells(self, kernel: Kernel, pending: list[str]) -> bool:
        """Runs the cells up to the last task to judge. False: the kernel ended, and which cell did it is now known."""
        last = max(self._index(task) for task in pending) if self.judged.marks else len(self.cells)
        threads = None
        for index, cell in enumerate(self.cells[: last + 1]):
            if time.monotonic() > self.until:
                return True
            try:
                if grade_id(cell) in self.tasks:
                    kernel.run("", 10, ask=f"__vlm__.remember({grade_id(cell)!r})")
                elif cell.cell_type == "code" and cell.source.strip() and index not in self.skipped:
                    self._cell(kernel, index)
                    threads = self._tidy(kernel, index, threads)
            except (KernelEnded, TookTooLong) as error:
                self._blame(index, str(error))
                return False
        return True

    def _index(self, task: str) -> int:
        return next(index for index, cell in enumerate(self.cells) if grade_id(cell) == task)

    def _cell(self, kernel: Kernel, index: int) -> None:
        outputs, limit = Outputs(), self.sandbox.limits.cell
        first = index not in self.judged.outputs
        try:
            kernel.run(
                self.cells[index].source, AGAIN if index in self.slow else limit, outputs.hear
            )
        except TookTooLong as error:
            self.slow.add(index)
            outputs.note(str(error))
        except KernelEnded as error:
            outputs.note(str(error))
            raise
        finally:
            if first:
                self.judged.outputs[index] = outputs.cells()

    def _tidy(self, kernel: Kernel, index: int, threads: int | None) -> int:
        """After each cell: no process stays, timers stop, and the kernel must still do what it is told."""
        kernel.end_children()
        word = secrets.token_hex(8)
        reply = kernel.run(f"__vlm__.word = {word!r}", 10, ask="__vlm__.tidy()")
        if word not in _asked(reply):
            raise KernelEnded("the kernel no longer does what it is told")
        if not kernel.room.whole():
            raise KernelEnded("its sandbox was ended from inside")
        now = kernel.threads()
        if threads is not None and now > threads:
            self.suspects.add(index)
        return now

    def _blame(self, index: int, why: str) -> None:
        """The cell at which the kernel ended; but the first time, earlier cells that left threads behind, if there are any."""
        suspects = self.suspects - self.skipped - {index}
        if suspects and index not in self.accused:
            self.accused.add(index)
            self.skipped |= suspects
            self.excused = suspects
            where = ", ".join(str(suspect + 1) for suspect in sorted(suspects))
            self.judged.notes.append(
                f"cell {index + 1}: {why}; cells before it left threads behind ({where}) and are left out"
            )
            return
        if index in self.accused:  # it ended without them too
            self.skipped -= self.excused
            self.suspects -= self.excused
        self.skipped.add(index)
        self.judged.notes.append(f"cell {index + 1}: {why}; it is left out from then on")

    # The tasks

    def _tasks(self, kernel: Kernel, pending: list[str]) -> list[str]:
        """Judges what is pending and gives what is to be judged again.

        Full marks are final. A failure is final if no single other task was called before it in each of its kernels, so
        that none can have caused it; and where nothing was written.
        """
        again, called = [], set()
        for name in pending:
            task, known = self.tasks[name], self.judged.marks.get(name)
            if time.monotonic() > self.until or kernel.ended_because:
                again.append(name)
                continue
            marks = self._task(kernel, task)
            if known is None or sum(mark.points for mark in marks) > self.judged.points(name):
                self.judged.marks[name] = marks
            self.before[name] = self.before.get(name, called) & called
            if (
                self.judged.points(name) < task.points
                and self.before[name]
                and not self._untouched(name)
            ):
                again.append(name)
            called = called | {name}
        return again

    def _untouched(self, task: str) -> bool:
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

    def _task(self, kernel: Kernel, task: Task) -> list[Mark]:
        until, marks = time.monotonic() + self.sandbox.limits.task, []
        for check in task.checks:
            try:
                verdict = self._check(kernel, task, check, until)
            except Failed as failure:
                verdict = check.failed(failure)
            except Exception as error:  # a check that can't cope with an answer is the course's mistake, and costs no other task
                self.judged.notes.append(
                    f"{task.name}, {check.name!r}: judging raised {type(error).__name__}: {error}"
                )
                verdict = check.failed(Failed("bytes", "it has a form that can't be judged"))
            points = float(verdict.points) if verdict.passed or verdict.points else 0.0
            points = min(max(points, 0.0), float(check.points)) if math.isfinite(points) else 0.0
            marks.append(
                Mark(
                    check.name,
                    points,
                    float(check.points),
                    str(verdict.message)[:2000],
                    bool(verdict.diagnosed),
                )
            )
            if not kernel.ended_because:
                kernel.end_children()
        return marks

    def _check(self, kernel: Kernel, task: Task, check, until: float):
        """A verdict: the first wrong round's, else the last's. Raises Failed where there is no answer to judge."""
        for _ in range(check.rounds):
            inputs, keywords = check.inputs(torch.Generator().manual_seed(secrets.randbits(62)))
            question = codec.encode(
                {
                    "task": task.name,
                    "call": check.call,
                    "driver": check.driver,
                    "args": list(inputs),
                    "kwargs": dict(keywords),
                }
            )
            if kernel.ended_because:
                raise Failed("died", "in an earlier check of this task")
            if time.monotonic() > until:
                raise Failed("time", f"more than {self.sandbox.limits.task:.0f} s for this task")
            seconds = min(check.seconds, max(until - time.monotonic(), 0.1))
            try:
                reply = kernel.run(
                    "", seconds, ask=f"__vlm__.call({base64.b64encode(question).decode()!r})"
                )
            except TookTooLong:
                raise Failed("time", f"more than {seconds:.0f} s") from None
            except KernelEnded as error:
                kernel.ended_because = kernel.ended_because or str(error)
                raise Failed(*_why(str(error))) from None
            verdict = check.judge(_answer(reply), inputs, keywords)
            if not verdict.passed:
                break
        return verdict


def _why(ended: str) -> tuple[str, str]:
    return ("memory" if "memory" in ended else "time" if "time was up" in ended else "died", ended)


def _answer(reply: dict):
    """The plain value that a reply brings. Raises Failed."""
    try:
        answer = codec.decode(base64.b64decode(_asked(reply).strip("'\""), validate=True))
    except codec.Unreadable as error:
        raise Failed("bytes", str(error)) from None
    except binascii.Error:
        raise Failed("bytes", "there is no readable answer") from None
    if type(answer) is not dict or len(answer) != 1:
        raise Failed("bytes", "there is no readable answer")
    [(kind, content)] = answer.items()
    if kind == "value":
        return content
    word = re.sub(r"\W", "", content)[:60] if type(content) is str else ""
    raise Failed(
        *{"error": ("raised", word), "missing": ("missing", word)}.get(
            kind, ("bytes", f"it is a {word}")
        )
    )


def _asked(reply: dict) -> str:
    """The repr that a reply brings, whatever the kernel made of it."""
    asked = reply.get("user_expressions")
    asked = asked.get("asked") if type(asked) is dict else None
    data = asked.get("data") if type(asked) is dict else None
    text = data.get("text/plain") if type(data) is dict else None
    return text if type(text) is str else ""


def _lost(task: Task, why: str) -> list[Mark]:
    return [Mark(check.name, 0.0, float(check.points), why) for check in task.checks]
