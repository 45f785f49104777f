"""Processes that grade submissions side by side; what one of them does to itself costs no other."""

import ctypes
import multiprocessing
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import wait

from vlmgrader.batch import Plan, grade
from vlmgrader.sandbox import NoSandbox

GRACE = 120.0  # seconds beyond a submission's limit until the grader gives up on its own worker


def work(wire, plan: Plan) -> None:
    """A worker's life: a student's id comes, an outcome goes. It dies with the process that started it."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0) if sys.platform == "linux" else None
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    torch.set_num_threads(1)
    while True:
        student = wire.recv()
        if student is None:
            return
        try:
            wire.send(grade(plan, student))
        except NoSandbox as error:
            wire.send({"no_sandbox": str(error)})


class Worker:
    """A process that grades, and what it is at."""

    def __init__(self, plan: Plan) -> None:
        context = multiprocessing.get_context("spawn")
        self.wire, inner_end = context.Pipe()
        plan = replace(
            plan, assignment=replace(plan.assignment)
        )  # what it has read so far stays here: checks can't travel
        self.process = context.Process(target=work, args=(inner_end, plan), daemon=True)
        self.process.start()
        inner_end.close()
        self.student: str | None = None

    def give(self, student: str, seconds: float) -> None:
        self.student, self.until = student, time.monotonic() + seconds
        self.wire.send(student)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.wire.close()


def grade_all(plan: Plan, todo: list[str], workers: int) -> Iterator[dict]:
    """What the machine didn't let finish is tried again at the end, alone."""
    again = []
    for outcome in _crew(plan, todo, workers):
        if outcome.pop("retry", False):
            again.append(outcome["student"])
        else:
            yield outcome
    for outcome in _crew(plan, again, 1):
        outcome.pop("retry", None)
        yield outcome


def _crew(plan: Plan, todo: list[str], workers: int) -> Iterator[dict]:
    waiting, tried = list(todo)[::-1], {}
    crew = [Worker(plan) for _ in range(workers)] if todo else []
    try:
        while waiting or any(worker.student for worker in crew):
            for worker in crew:
                if worker.student is None and waiting:
                    worker.give(waiting.pop(), plan.limits.submission + GRACE)
            busy = [worker for worker in crew if worker.student]
            ready = wait([worker.wire for worker in busy], timeout=1.0)
            for worker in busy:
                student, outcome, lost = (
                    worker.student,
                    None,
                    "took far longer than a submission may",
                )
                if worker.wire in ready:
                    try:
                        outcome = worker.wire.recv()
                    except (EOFError, OSError):
                        lost = "ended while grading it"
                elif time.monotonic() < worker.until:
                    continue
                if outcome is None:
                    worker.end()
                    crew[crew.index(worker)] = Worker(plan)
                    tried[student] = tried.get(student, 0) + 1
                    if tried[student] < 2 and lost.startswith("ended"):
                        waiting.append(student)
                    else:
                        yield _given_up(plan, student, lost)
                    continue
                worker.student = None
                if "no_sandbox" in outcome:
                    raise NoSandbox(outcome["no_sandbox"])
                yield outcome
    finally:
        for worker in crew:
            worker.end()


def _given_up(plan: Plan, student: str, why: str) -> dict:
    return {
        "student": student,
        "assignment": plan.assignment.name,
        "state": "",
        "unsafe": not plan.safe,
        "status": "failed",
        "reason": f"the grader's worker {why}",
        "marks": {},
        "notes": [],
        "seconds": 0.0,
    }
