"""A student's sandbox, seen from outside: started once for a submission, it brings forth kernels one after the other."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from vlmgrader.sandbox import Sandbox, font_list, package_folders

START = 180.0  # seconds until torch is imported and a kernel answers, on a busy machine


class KernelEnded(RuntimeError):
    """The kernel is gone: it ended itself, was killed for what it used, or didn't stop when told to."""


class Room:
    """A context. `fork(sockets, key)` makes a kernel in it; `processes()` are the student's; `sweep()` ends them all."""

    def __init__(self, sandbox: Sandbox, files: Path | None = None) -> None:
        self.sandbox, self.files = sandbox, files
        self.turn, self.process = 0, None
        self.too_much: str | None = None

    def __enter__(self) -> "Room":
        self.folder = Path(
            tempfile.mkdtemp(prefix=f"vlm-{os.getpid()}-")
        )  # short: a socket's path has at most 108 characters
        return self

    def __exit__(self, *_) -> None:
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def fork(self, sockets: dict[str, socket.socket], key: str) -> psutil.Process:
        """A fresh kernel on these sockets. The sandbox itself is started if there is none, or if it has come to harm."""
        self.turn += 1
        asked = {"sockets": list(sockets), "key": key, "user": self.sandbox.user(self.turn)}
        descriptors = [one.fileno() for one in sockets.values()]
        for _ in range(2):
            if self.process is None or self.process.poll() is not None or self.too_much:
                self.end()
                self._start()
            try:
                before = {process.pid for process in _children(self.nursery)}
                socket.send_fds(self.control, [json.dumps(asked).encode()], descriptors)
                return self._born(before)
            except (OSError, psutil.Error, TimeoutError):
                self.end()
        raise KernelEnded(f"no kernel could be started in the sandbox: {self.last_words()}")

    def _born(self, before: set[int]) -> psutil.Process:
        until = time.monotonic() + START
        while time.monotonic() < until and self.process.poll() is None:
            for process in _children(self.nursery):
                if process.pid not in before:
                    return process
            time.sleep(0.01)
        raise TimeoutError

    def _start(self) -> None:
        limits, safe, fonts = self.sandbox.limits, self.sandbox.safe, font_list()
        rights = (
            {
                "cpu": int(limits.submission) + 60,
                "fsize": limits.disk,
                "core": 0,
                "nofile": limits.files,
                "data": limits.data,
                "nproc": limits.processes,
            }
            if safe
            else {"core": 0}
        )
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        packages = package_folders(self.sandbox.packages)
        path = ["/course"] if safe else [str(folder.parent) for folder in packages.values()]
        settings = {
            "limits": rights,
            "sandboxed": safe,
            "path": path,
            "files": str("/handed_in" if safe else self.files) if self.files else None,
            "control": theirs.fileno(),
            "fonts": str("/course/fonts.json" if safe else fonts) if fonts else None,
            "fonts_name": fonts.name if fonts else None,
        }
        script = str(Path("/course/vlmgrader" if safe else packages["vlmgrader"], "inside.py"))
        outside = {
            "env": {"PATH": os.environ.get("PATH", os.defpath)}
        }  # bubblewrap's own can be read in the sandbox
        if not safe:
            work = Path(tempfile.mkdtemp(dir=self.folder))
            (work / "t").mkdir()
            outside = {"env": self.sandbox.environment(str(work), str(work / "t")), "cwd": work}
        self.process = subprocess.Popen(
            self.sandbox.command([sys.executable, "-I", script, json.dumps(settings)], self.files),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            **outside,
        )
        theirs.close()
        self.said, self.too_much, self._over = b"", None, threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        self.control.settimeout(START)
        try:
            ready = self.control.recv(16)
        except TimeoutError:
            ready = b""
        if ready != b"ready\n":
            self._over.wait(0.3)
            said = self.last_words()
            self.end()
            raise KernelEnded(f"the sandbox didn't start: {said}")
        self.nursery = self._nursery()

    def _nursery(self) -> psutil.Process:
        """The process that forks kernels: the sandbox's first, so that nothing in there can kill it; or the one started."""
        found = psutil.Process(self.process.pid)
        for _ in range(1 if self.sandbox.safe else 0):
            found = min(_children(found), key=lambda process: process.create_time(), default=found)
        return found

    def last_words(self) -> str:
        return (
            getattr(self, "said", b"").decode(errors="replace").strip()[-300:] or "it said nothing"
        )

    # What goes on in it

    def processes(self) -> list[psutil.Process]:
        """All that live in the sandbox but bubblewrap and the nursery."""
        if self.process is None:
            return []
        keep = {self.process.pid, self.nursery.pid}
        return [
            process
            for process in descendants(self.process.pid)
            if process.pid not in keep and _alive(process)
        ]

    def whole(self) -> bool:
        """The nursery lives. An ordinary user's kernel can kill it, and with it, a little later, the whole sandbox."""
        return self.process is not None and self.process.poll() is None and _alive(self.nursery)

    def sweep(self, spare: psutil.Process | None = None) -> None:
        """Ends the student's processes, all but `spare`. If they multiply faster than they die, the sandbox ends with them."""
        for _ in range(20):
            left = [process for process in self.processes() if process != spare]
            if not left:
                return
            for process in left:
                _end(process)
            time.sleep(0.01)
        self.end()

    def _watch(self) -> None:
        """Memory of all its processes together, and the first words on its standard output; the rest is thrown away."""
        process, over, out = self.process, self._over, self.process.stdout.fileno()
        os.set_blocking(out, False)
        while not over.wait(0.1):
            self._listen(out)
            if used(process.pid) > self.sandbox.limits.memory:
                self.too_much = (
                    f"used more than {self.sandbox.limits.memory / 2**30:.1f} GB of memory"
                )
                _end_all(process, self.sandbox.safe)
                return
        self._listen(out)

    def _listen(self, out: int) -> None:
        for _ in range(64):
            try:
                said = os.read(out, 65536)
            except BlockingIOError:
                return
            if not said:
                return
            self.said = (self.said + said)[:4000]

    def end(self) -> None:
        """The whole sandbox: with bubblewrap's first process all others in it end."""
        if self.process is not None:
            _end_all(self.process, self.sandbox.safe)
            self.process.wait()
            self._over.set()
            self._watcher.join()
            self.process.stdout.close()
            self.control.close()
            self.process = None


def clear_leftovers() -> None:
    """Folders of graders that were killed: their sandboxes ended with them, their sockets' folders stay."""
    for folder in Path(tempfile.gettempdir()).glob("vlm-*-*"):
        owner = folder.name.split("-")[1]
        if (
            owner.isdigit()
            and not psutil.pid_exists(int(owner))
            and folder.stat().st_uid == os.geteuid()
        ):
            shutil.rmtree(folder, ignore_errors=True)


def descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def used(pid: int) -> int:
    """Bytes in memory of what a process started, libraries apart.

    Asked ten times a second for each worker, so on Linux it reads what the kernel says of each process: looking for the
    descendants among all processes of the machine took 4 ms each time.
    """
    if not Path(f"/proc/{pid}/task/{pid}/children").exists():
        return sum(_own_bytes(process.pid) for process in descendants(pid))
    total, left = 0, [pid]
    while left:
        one = left.pop()
        children = [
            int(child)
            for path in Path(f"/proc/{one}/task").glob("*/children")
            for child in _words(path)
        ]
        total += sum(map(_own_bytes, children))
        left += children
    return total


def _words(path: Path) -> list[str]:
    """Of a file in /proc; none if its process has just ended."""
    try:
        return path.read_text().split()
    except OSError:
        return []


def _own_bytes(pid: int) -> int:
    try:
        memory = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0
    return memory.rss - memory.shared


def _children(process: psutil.Process) -> list[psutil.Process]:
    return process.children()


def _alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _end(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


def _end_all(process: subprocess.Popen, safe: bool) -> None:
    for one in [] if safe else descendants(process.pid):
        _end(one)
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
