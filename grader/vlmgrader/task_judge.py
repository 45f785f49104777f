"""Judges one task in a kernel: inputs are made here, the student's function is called there, the answer is judged here."""

import base64
import binascii
import hashlib
import math
import re
from collections.abc import Callable

import torch

from vlmgrader import codec, wire
from vlmgrader.checks import Check, Failed, Verdict
from vlmgrader.kernel import Kernel, MachineBusy, TookTooLong
from vlmgrader.results import CheckResult, Task
from vlmgrader.session import KernelEnded


def generator(seed: str, task: str, check: str, turn: int) -> torch.Generator:
    """The random numbers of one round of a check: with the seed kept in the outcome the same inputs are made again."""
    digest = hashlib.sha256(f"{seed}\0{task}\0{check}\0{turn}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))


class TaskJudge:
    """seed: of all hidden inputs of a submission; seconds: for all checks of a task; note: takes words for the instructor."""

    def __init__(self, seed: str, seconds: float, note: Callable[[str], None]) -> None:
        self.seed, self.seconds, self.note = seed, seconds, note

    def judge(self, kernel: Kernel, task: Task) -> list[CheckResult]:
        """What each check found. Raises MachineBusy."""
        until, results = kernel.seconds + self.seconds, []
        for check in task.checks:
            failure = ""
            try:
                verdict = self._verdict(kernel, task, check, until)
            except Failed as failed:
                verdict, failure = check.failed(failed), failed.kind
            except MachineBusy:
                raise
            except Exception as error:
                # a check that can't cope with an answer is the course's mistake, and costs no other task
                where = f"{task.name}, {check.name!r}"
                self.note(f"{where}: judging raised {type(error).__name__}: {error}")
                verdict = check.failed(Failed("bytes", "it has a form that can't be judged"))
                failure = "bytes"
            results.append(_result(check, verdict, failure))
            if not kernel.ended_because:
                kernel.end_children()
        return results

    def _verdict(self, kernel: Kernel, task: Task, check: Check, until: float) -> Verdict:
        """The first wrong round's, else the last's. Raises Failed where there is no answer to judge."""
        for turn, draw in enumerate(check.draws()):
            inputs, keywords = draw(generator(self.seed, task.name, check.name, turn))
            question = codec.encode(
                {
                    "task": task.name,
                    "call": check.call,
                    "driver": check.driver,
                    "cell": getattr(check, "cell", None),
                    "args": list(inputs),
                    "kwargs": dict(keywords),
                }
            )
            if kernel.ended_because:
                raise Failed("died", "in an earlier check of this task")
            seconds_left = until - kernel.seconds
            if seconds_left <= 0:
                raise Failed("time", f"more than {self.seconds:.0f} s for this task")
            answer = _ask(kernel, question, min(check.seconds, max(seconds_left, 0.1)))
            verdict = check.judge(answer, inputs, keywords)
            if not verdict.passed:
                break
        return verdict


def _result(check: Check, verdict: Verdict, failure: str) -> CheckResult:
    """Never more points than the check has, whatever it says; and a finite number."""
    points = float(verdict.points) if verdict.passed or verdict.points else 0.0
    points = min(max(points, 0.0), float(check.points)) if math.isfinite(points) else 0.0
    message = str(verdict.message)[:2000]
    return CheckResult(
        check.name, points, float(check.points), message, bool(verdict.diagnosed), failure
    )


def _ask(kernel: Kernel, question: bytes, seconds: float) -> object:
    """The student's answer to one question. Raises Failed."""
    call = f"__grader__.call({base64.b64encode(question).decode()!r})"
    try:
        reply = kernel.run("", seconds, ask=call)
    except TookTooLong:
        raise Failed("time", f"more than {seconds:.0f} s") from None
    except KernelEnded as error:
        kernel.ended_because = why = kernel.ended_because or str(error)
        kind = "memory" if "memory" in why else "time" if "time was up" in why else "died"
        raise Failed(kind, why) from None
    return answer_of(reply)


def answer_of(reply: dict) -> object:
    """The plain value that a reply brings. Raises Failed."""
    try:
        text = wire.reply_text(reply).strip("'\"")
        answer = codec.decode(base64.b64decode(text, validate=True))
    except codec.Unreadable as error:
        raise Failed("bytes", str(error)) from None
    except (binascii.Error, ValueError):
        raise Failed("bytes", "there is no readable answer") from None
    if type(answer) is not dict or len(answer) != 1:
        raise Failed("bytes", "there is no readable answer")
    [(kind, content)] = answer.items()
    if kind == "value":
        return content
    word = re.sub(r"\W", "", content)[:60] if type(content) is str else ""
    kinds = {"error": ("raised", word), "missing": ("missing", word)}
    raise Failed(*kinds.get(kind, ("bytes", f"it is a {word}")))
