"""What the processes of a sandbox use: memory, CPU time, files.

On Linux it is read from /proc, ten times a second for each worker: looking for descendants among all processes of the
machine took 4 ms each time.
"""

import os
import time
from pathlib import Path

import psutil

TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
LONGEST_STEP = (
    0.5  # seconds between two looks at the clock; more means that the grader itself was stalled
)


def process_tree(pid: int) -> list[int]:
    """The ids of all processes that this one started, and theirs."""
    if not Path(f"/proc/{pid}/task/{pid}/children").exists():
        try:
            return [child.pid for child in psutil.Process(pid).children(recursive=True)]
        except psutil.Error:
            return []
    pids, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        paths = Path(f"/proc/{parent}/task").glob("*/children")
        children = [int(child) for path in paths for child in _read(path).split()]
        pids += children
        waiting += children
    return pids


def memory(pids: list[int]) -> int:
    """Bytes in memory that these processes own or share with each other; libraries are files and don't count."""
    return sum(map(_memory_of, pids))


def _memory_of(pid: int) -> int:
    status = _read(Path(f"/proc/{pid}/status"))
    if status:
        lines = (
            line.split() for line in status.splitlines() if line.startswith(("RssAnon", "RssShmem"))
        )
        return 1024 * sum(int(words[1]) for words in lines)
    try:
        used = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0
    return used.rss - getattr(used, "shared", 0)


def files(pid: int, folders: tuple[str, ...]) -> tuple[int, int]:
    """(bytes, number of files) in these folders as they are for a process; (0, 0) where that can't be read."""
    size = count = 0
    for folder in folders:
        try:
            status = os.statvfs(f"/proc/{pid}/root{folder}")
        except OSError:
            continue
        size += (status.f_blocks - status.f_bfree) * status.f_frsize
        count += status.f_files - status.f_ffree
    return size, count


def cpu_seconds(pids: list[int]) -> float:
    """CPU time that these processes, and those of their children that ended, have used."""
    total = 0
    for pid in pids:
        words = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
        total += sum(map(int, words[11:15]))  # user, system, and both of ended children
    return total / TICK


class RunClock:
    """Seconds that a process could have used: a busy or stalled machine doesn't count, a sleeping process does.

    It is the time that passed less the time in which its main thread was ready and waited for a CPU; or, where that is
    more, the CPU time of the whole sandbox, so that nobody gains time by starting processes that wait for each other.
    """

    def __init__(self, pid: int, whole: int) -> None:
        """pid: the process that works; whole: the one that started all processes of the sandbox."""
        self.pid, self.whole = pid, whole
        self.passed, self.before = 0.0, time.monotonic()
        self.waited_before = self._waited()
        self.cpu_before = cpu_seconds([whole, *process_tree(whole)])

    def step(self) -> None:
        """To be called at least every LONGEST_STEP seconds: a longer gap is the grader's own."""
        now = time.monotonic()
        self.passed += min(now - self.before, LONGEST_STEP)
        self.before = now

    def seconds(self) -> float:
        """Until the last step."""
        waited = max(0.0, self._waited() - self.waited_before)
        cpu = cpu_seconds([self.whole, *process_tree(self.whole)]) - self.cpu_before
        return max(self.passed - waited, cpu)

    def _waited(self) -> float:
        words = _read(Path(f"/proc/{self.pid}/schedstat")).split()
        return int(words[1]) / 1e9 if len(words) == 3 else 0.0


def _read(path: Path) -> str:
    """The text of a file in /proc; empty if its process has just ended."""
    try:
        return path.read_text()
    except OSError:
        return ""
