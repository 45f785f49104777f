"""A student's sandbox, seen from outside: started once for a submission, it starts kernels one after the other."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import psutil

from vlmgrader import usage
from vlmgrader.sandbox import WRITABLE, Sandbox, font_list, interpreter, package_folders
from vlmgrader.user_ids import UserIds

START = 180.0  # seconds until torch is imported and a kernel answers, on a busy machine


class KernelEnded(RuntimeError):
    """The kernel is gone: it ended itself, was killed for what it used, or didn't stop when told to."""


class Session:
    """A context. `fork(sockets, key)` starts a kernel in it; `processes()` are the student's; `sweep()` ends them."""

    def __init__(self, sandbox: Sandbox, files: Path | None = None) -> None:
        self.sandbox, self.files = sandbox, files
        self.turn, self.process = 0, None
        self.too_much: str | None = None
        self.user_ids: UserIds | None = None
        self.output = b""

    def __enter__(self) -> "Session":
        # short: a socket's path has at most 108 characters
        self.folder = Path(tempfile.mkdtemp(prefix=f"vlm-{os.getpid()}-"))
        if self.sandbox.safe and os.geteuid() == 0:
            self.user_ids = UserIds()
        return self

    def __exit__(self, *_) -> None:
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.user_ids:
            self.user_ids.release()

    def fork(self, sockets: dict[str, socket.socket], key: str) -> psutil.Process:
        """A fresh kernel on these sockets. The sandbox is started if there is none, or if it has come to harm."""
        self.turn += 1
        user = self.user_ids.number(self.turn) if self.user_ids else None
        request = {"sockets": list(sockets), "key": key, "user": user}
        descriptors = [listening.fileno() for listening in sockets.values()]
        for _ in range(2):
            if self.process is None or self.process.poll() is not None or self.too_much:
                self.end()
                self._start()
            try:
                before = {process.pid for process in self.fork_server.children()}
                socket.send_fds(self.control, [json.dumps(request).encode()], descriptors)
                return self._wait_for_child(before)
            except (OSError, psutil.Error, TimeoutError):
                self.end()
        raise KernelEnded(f"no kernel could be started in the sandbox: {self.last_output()}")

    def _wait_for_child(self, before: set[int]) -> psutil.Process:
        until = time.monotonic() + START
        while time.monotonic() < until and self.process.poll() is None:
            for process in self.fork_server.children():
                if process.pid not in before:
                    return process
            time.sleep(0.01)
        raise TimeoutError

    def _start(self) -> None:
        limits, safe, fonts = self.sandbox.limits, self.sandbox.safe, font_list()
        rights = {
            "cpu": int(limits.submission) + 60,
            "fsize": limits.disk,
            "core": 0,
            "nofile": limits.files,
            "data": limits.data,
            "nproc": limits.processes,
        }
        self.control, inner_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        packages = package_folders(self.sandbox.packages)
        path = ["/course"] if safe else [str(folder.parent) for folder in packages.values()]
        settings = {
            "limits": rights if safe else {"core": 0},
            "sandboxed": safe,
            "path": path,
            "files": str("/handed_in" if safe else self.files) if self.files else None,
            "control": inner_end.fileno(),
            "fonts": str("/course/fonts.json" if safe else fonts) if fonts else None,
            "fonts_name": fonts.name if fonts else None,
            "writable": WRITABLE,
        }
        script = str(
            Path("/course/vlmgrader" if safe else packages["vlmgrader"], "kernel_server.py")
        )
        # bubblewrap's own environment can be read in the sandbox
        outside = {"env": {"PATH": os.environ.get("PATH", os.defpath)}}
        if not safe:
            work = Path(tempfile.mkdtemp(dir=self.folder))
            (work / "t").mkdir()
            outside = {"env": self.sandbox.environment(str(work), str(work / "t")), "cwd": work}
        program = [interpreter(), "-I", script, json.dumps(settings)]
        self.process = subprocess.Popen(
            self.sandbox.command(program, self.files),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[inner_end.fileno()],
            start_new_session=True,
            **outside,
        )
        inner_end.close()
        self.output, self.too_much, self._over = b"", None, threading.Event()
        self.fork_server = psutil.Process(self.process.pid)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        self.control.settimeout(START)
        try:
            ready = self.control.recv(16)
        except TimeoutError:
            ready = b""
        if ready != b"ready\n":
            self._over.wait(0.3)
            output = self.last_output()
            self.end()
            raise KernelEnded(f"the sandbox didn't start: {output}")
        self.fork_server = self._find_fork_server()

    def _find_fork_server(self) -> psutil.Process:
        """The process that forks kernels: the sandbox's first, so that nothing in there can kill it; or the one started."""
        started = psutil.Process(self.process.pid)
        if not self.sandbox.safe:
            return started
        return min(started.children(), key=lambda child: child.create_time(), default=started)

    def last_output(self) -> str:
        """The end of what the sandbox's processes wrote to standard output."""
        return self.output.decode(errors="replace").strip()[-300:] or "it wrote nothing"

    # What goes on in it

    def processes(self) -> list[psutil.Process]:
        """All that live in the sandbox but bubblewrap and the fork server."""
        if self.process is None:
            return []
        keep = {self.process.pid, self.fork_server.pid}
        children = [process for process in descendants(self.process.pid) if process.pid not in keep]
        return [process for process in children if _alive(process)]

    def is_whole(self) -> bool:
        """The fork server lives. An ordinary user's kernel can kill it, and with it, a little later, the whole sandbox."""
        return self.process is not None and self.process.poll() is None and _alive(self.fork_server)

    def sweep(self, spare: psutil.Process | None = None) -> None:
        """Ends the student's processes, all but `spare`. If they multiply faster than they die, the sandbox ends, too."""
        for _ in range(20):
            remaining = [process for process in self.processes() if process != spare]
            if not remaining:
                return
            for process in remaining:
                _kill(process)
            time.sleep(0.01)
        self.end()

    def _watch(self) -> None:
        """Memory and files of all its processes together, and the first words on its standard output; the rest is lost."""
        process, over, out = self.process, self._over, self.process.stdout.fileno()
        os.set_blocking(out, False)
        while not over.wait(0.1):
            self._read_output(out)
            too_much = self._too_much(process.pid)
            if too_much:
                self.too_much = too_much
                _kill_all(process, self.sandbox.safe)
                return
        self._read_output(out)

    def _too_much(self, pid: int) -> str | None:
        """What is used beyond the limits, in words."""
        limits = self.sandbox.limits
        size = count = 0
        if self.sandbox.safe and self.fork_server.pid != pid:  # it has its own folders by now
            size, count = usage.files(self.fork_server.pid, WRITABLE)
        if usage.memory(usage.process_tree(pid)) + size > limits.memory:
            return f"used more than {limits.memory / 2**30:.1f} GB of memory"
        if count > limits.inodes:
            return f"made more than {limits.inodes} files"
        return None

    def _read_output(self, out: int) -> None:
        for _ in range(64):
            try:
                read = os.read(out, 65536)
            except BlockingIOError:
                return
            if not read:
                return
            self.output = (self.output + read)[:4000]

    def end(self) -> None:
        """The whole sandbox: with bubblewrap's first process all others in it end."""
        if self.process is not None:
            _kill_all(self.process, self.sandbox.safe)
            self.process.wait()
            self._over.set()
            self._watcher.join()
            self.process.stdout.close()
            self.control.close()
            self.process = None


def clear_leftovers() -> None:
    """Folders of graders that were killed: their sandboxes ended with them, their folders stay."""
    for folder in Path(tempfile.gettempdir()).glob("vlm-*-*"):
        owner = folder.name.split("-")[1]
        if (
            owner.isdigit()
            and not psutil.pid_exists(int(owner))
            and folder.lstat().st_uid == os.geteuid()
        ):
            shutil.rmtree(folder, ignore_errors=True)


def descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


def _kill_all(process: subprocess.Popen, safe: bool) -> None:
    for child in [] if safe else descendants(process.pid):
        _kill(child)
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
