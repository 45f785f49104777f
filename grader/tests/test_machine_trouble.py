"""A stalled or busy machine costs no right answer; a grader is never asked for more than it can carry."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import small_course as small

from vlmgrader import cell_runner, kernel, sandbox, usage, wire
from vlmgrader.cell_plan import CannotJudge, CellPlan
from vlmgrader.checks import load
from vlmgrader.judge import Attempts, Judge
from vlmgrader.results import CheckResult, Task
from vlmgrader.session import Session

SLOW = float(os.environ.get("VLMCOURSE_PATIENCE", 1))
sandboxed = pytest.mark.skipif(sandbox.trouble() is not None, reason="no sandbox can be made here")


@pytest.fixture
def tasks(tmp_path):
    checks = load(small.write(tmp_path, seconds=3 * SLOW) / small.NAME)
    return {name: Task(name, 2.0, found) for name, found in checks.items()}


def judge(tasks):
    given = frozenset(cell.source for cell in small.notebook().cells)
    return Judge(small.notebook(small.ANSWERS), tasks, sandbox.Sandbox(), None, given)


def stall(monkeypatch, when, seconds, times=1):
    """Stops the kernel's process once `when(code, ask)` is asked of it, as a machine without any CPU would."""
    ask_kernel, stopped = kernel.Kernel.run, []

    def run(self, code, limit, *rest, ask=None, **others):
        if when(code, ask or "") and len(stopped) < times:
            stopped.append(self.process.pid)
            self.process.suspend()
            wake = threading.Timer(seconds, lambda: resume(stopped[-1]))
            wake.daemon = True
            wake.start()
        return ask_kernel(self, code, limit, *rest, ask=ask, **others)

    monkeypatch.setattr(kernel.Kernel, "run", run)
    return stopped


def resume(pid):
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:  # it was ended meanwhile
        return


PLACES = {
    "after the set-up cell": lambda code, ask: "remember" in ask or "tidy" in ask,
    "in the set-up cell": lambda code, ask: code == "import torch",
    "in a hidden check": lambda code, ask: "call(" in ask,
    "in a cell of the student's": lambda code, ask: code.startswith("def softmax"),
}


@sandboxed
@pytest.mark.parametrize("place", PLACES)
def test_a_stall_longer_than_every_limit_costs_nothing(place, tasks, monkeypatch):
    monkeypatch.setattr(cell_runner, "HOUSEKEEPING", 1.0)
    stopped = stall(monkeypatch, PLACES[place], 30 * SLOW)
    made = judge(tasks)
    made.runner.seconds = 2.0 * SLOW
    found = made.judge()
    assert stopped and [found.points(name) for name in tasks] == [2, 2, 2], found
    assert not found.unfinished and found.kernels > 1


@sandboxed
def test_a_machine_that_never_recovers_fails_the_submission_and_gives_no_grade(tasks, monkeypatch):
    monkeypatch.setattr(cell_runner, "HOUSEKEEPING", 0.5)
    stall(monkeypatch, PLACES["in the set-up cell"], 600, times=99)
    made = judge(tasks)
    made.runner.seconds = 1.0
    found = made.judge()
    assert "one of the course's own, doesn't run" in found.unfinished


def test_a_busy_machine_doesnt_count_and_a_sleeping_process_does():
    """Five busy processes on one CPU: the one that is timed gets a fifth of it."""
    cpu = {min(os.sched_getaffinity(0))}
    loop = [sys.executable, "-c", "while True: pass"]
    rest = [sys.executable, "-c", "import time; time.sleep(60)"]
    started = [subprocess.Popen(loop) for _ in range(5)] + [subprocess.Popen(rest)]
    try:
        for process in started[:5]:
            os.sched_setaffinity(process.pid, cpu)
        clocks = [usage.RunClock(process.pid, process.pid) for process in (started[0], started[5])]
        until = time.monotonic() + 3
        while time.monotonic() < until:
            time.sleep(0.1)
            for clock in clocks:
                clock.step()
        busy, asleep = (clock.seconds() for clock in clocks)
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert busy < 1.5 and asleep > 2.5


def test_a_stall_of_the_grader_itself_doesnt_count():
    clock = usage.RunClock(os.getpid(), os.getpid())
    time.sleep(2)
    clock.step()
    assert clock.passed == usage.LONGEST_STEP


def result(points, failure=""):
    return [CheckResult("c", points, 2.0, "", failure=failure)]


def test_which_results_are_final():
    task, other = Task("a", 2.0, []), {"b"}
    assert Attempts().add(task, result(2.0), other), "full marks are"
    assert Attempts().add(task, result(0.0), set()), "nothing came before it"
    attempts = Attempts()
    assert not attempts.add(task, result(0.0), other)
    assert attempts.add(task, result(0.0), {"c"}), "no task came before it in both kernels"
    attempts = Attempts()
    assert not attempts.add(task, result(0.0, "time"), set()), "a time-out is tried again"
    assert not attempts.add(task, result(0.0, "time"), other), "alone"
    assert attempts.add(task, result(0.0, "time"), set())
    assert attempts.points("a") == 0
    attempts.add(task, result(1.0), other)
    assert attempts.points("a") == 1, "the best counts"


def test_a_cell_of_the_course_is_never_left_out():
    plan = CellPlan({0, 2}, 4)
    plan.left_threads = {1}
    notes = [plan.kernel_ended_at(2, "the kernel ended") for _ in range(3)]
    assert "tried again" in notes[0] and "(2) are left out" in notes[1] and plan.left_out == {1}
    with pytest.raises(CannotJudge, match="cell 3, one of the course's own"):
        plan.kernel_ended_at(2, "the kernel ended")


def test_a_cell_that_ends_kernels_is_left_out_and_threads_before_it_first():
    plan = CellPlan({0}, 4)
    plan.left_threads = {1}
    plan.kernel_ended_at(3, "the kernel ended")
    assert plan.left_out == {1}
    plan.kernel_ended_at(3, "the kernel ended")
    assert plan.left_out == {3}, "the suspect was innocent"


@sandboxed
def test_the_same_seed_asks_the_same_questions(tasks):
    asked = []

    class Noting:
        def __init__(self, check):
            self.check = check

        def __getattr__(self, name):
            return getattr(self.check, name)

        def judge(self, answer, args, kwargs):
            asked.append(args[0].sum().item())
            return self.check.judge(answer, args, kwargs)

    noting = {name: Task(name, 2.0, list(map(Noting, task.checks))) for name, task in tasks.items()}
    first = judge(noting).judge()
    seen, asked[:] = list(asked), []
    again = Judge(small.notebook(small.ANSWERS), noting, sandbox.Sandbox(), seed=first.seed).judge()
    assert asked == seen and again.seed == first.seed
    asked.clear()
    judge(noting).judge()
    assert asked != seen


# What one message may cost


def memory_used(code: str) -> float:
    """Megabytes that a process takes at most for this code, beyond its imports."""
    program = (
        "import resource, vlmgrader.wire as wire, vlmgrader.task_judge\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"{code}\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(told.stdout) / 1024


@pytest.mark.parametrize("socket", ["shell", "iopub"])
@pytest.mark.parametrize("content", ["[" + "[]," * 10 + "0]", '{"a": [' + "{}," * 10 + "0]}"])
def test_a_forged_message_costs_little(socket, content):
    code = f"""
frame = (b'{{"user_expressions": ' + {content!r}.encode().replace(b"[],", b"[]," * (wire.FRAME_BYTES[{socket!r}] // 40)) + b'}}')
frame = frame[:wire.FRAME_BYTES[{socket!r}]]
header = b'{{"msg_type": "execute_reply"}}'
wire.read({socket!r}, [b"<IDS|MSG>", b"", header, b"{{}}", b"{{}}", frame])
"""
    assert memory_used(code) < 200


def test_a_large_answer_is_read_without_parsing_and_a_large_forgery_isnt_read():
    text = "'" + "A" * wire.SMALL * 4 + "'"
    content = {"user_expressions": {"asked": {"data": {"text/plain": text}}}, "status": "ok"}
    header, parent = b'{"msg_type": "execute_reply"}', b'{"msg_id": "1"}'

    def read(content):
        frames = [b"<IDS|MSG>", b"", header, parent, b"{}", json.dumps(content).encode()]
        return wire.read("shell", frames)

    [message] = read(content)
    assert wire.reply_text(message.content) == text
    assert read({**content, "more": "x" * wire.SMALL * 2}) == []
    assert read({"text/plain": text}) == []


def test_two_graders_never_share_user_ids():
    if os.geteuid():
        pytest.skip("only root chooses user ids")
    from vlmgrader.user_ids import UserIds

    held = [UserIds() for _ in range(20)]
    assert len({ids.first for ids in held}) == 20
    for ids in held:
        ids.release()
    with Session(sandbox.Sandbox()) as one, Session(sandbox.Sandbox()) as other:
        assert one.user_ids.first != other.user_ids.first


def test_a_python_that_was_called_by_a_relative_path_is_found_in_the_sandbox(monkeypatch, tmp_path):
    real = tmp_path / "env" / "bin"
    real.mkdir(parents=True)
    (tmp_path / "work").mkdir()
    (real / "python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "work" / ".." / "env" / "bin" / "python"))
    assert sandbox.interpreter() == str(real.resolve() / "python")
