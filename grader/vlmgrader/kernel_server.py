"""What runs inside the sandbox: a fork server that forks kernels, and the kernel, which also answers the grader's calls.

Started as a script by `python -I`; nothing in here is trusted by the grader, which knows the right answers and keeps them.
The kernels' sockets are opened by the grader and passed on, so that no folder of the machine is writable in here.
"""

import base64
import builtins
import ctypes
import json
import os
import platform
import resource
import shutil
import signal
import socket
import struct
import sys
from pathlib import Path

# Ways to memory that no limit counts, to more rights, or to other processes. Number on x86_64, number on aarch64.
DENIED = {
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "mount": (165, 40),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "unshare": (272, 97),
    "setns": (308, 268),
    "ptrace": (101, 117),
    "process_vm_writev": (311, 271),
    "bpf": (321, 280),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "perf_event_open": (298, 241),
}
CLONE = (56, 220)
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


def limit(limits: dict) -> None:
    """Hard limits per process; what the whole sandbox may use is watched from outside."""
    for name, value in limits.items():
        which = getattr(resource, f"RLIMIT_{name.upper()}")
        ceiling = resource.getrlimit(which)[1]
        value = value if ceiling == resource.RLIM_INFINITY else min(value, ceiling)
        resource.setrlimit(which, (value, value))


def become(user: int) -> None:
    """From root to nobody in particular, for good."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def deny() -> None:
    """A seccomp filter: the calls above fail with EPERM. Other machines than these two go without it."""
    if platform.machine() not in MACHINES:
        return
    column, architecture = MACHINES[platform.machine()]
    numbers = [row[column] for row in DENIED.values()]
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    refuse, allow = 0x00050001, 0x7FFF0000
    program = [
        (load, 0, 0, 4),
        (equal, 1, 0, architecture),
        (answer, 0, 0, refuse),
        (load, 0, 0, 0),
        (at_least, 0, 1, 0x40000000),
        (answer, 0, 0, refuse),
    ]
    clone, clone3, new_user = CLONE[column], 435, 0x10000000
    any_bit, no_such_call = 0x45, 0x00050026  # glibc then uses clone, whose flags can be read here
    program += [(equal, 0, 1, clone3), (answer, 0, 0, no_such_call), (equal, 0, 4, clone)]
    program += [(load, 0, 0, 16), (any_bit, 0, 1, new_user), (answer, 0, 0, refuse)]
    program += [(answer, 0, 0, allow)]
    for number in numbers:
        program += [(equal, 0, 1, number), (answer, 0, 0, refuse)]
    program += [(answer, 0, 0, allow)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    wanted = Program(len(program), ctypes.cast(code, ctypes.c_void_p))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.addressof(wanted), 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel refused the seccomp filter")


class StudentFunctions:
    """Calls the student's functions with the names as they were at each test cell.

    A check's driver runs in a namespace of its own, with Python's built-in names as they were before any of the student's
    code: what the notebook calls `sorted` or `bool` means nothing to it. Nothing is judged in here.
    """

    def __init__(self, shell) -> None:
        self.shell, self.names, self.word = shell, {}, ""
        self.built_in = dict(vars(builtins))

    def remember(self, task: str) -> None:
        self.names[task] = dict(self.shell.user_ns)

    def tidy(self) -> str:
        """No timer outlives its cell, the interrupt works again; the word just given says that code is executed at all."""
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
        word, self.word = self.word, ""
        return word

    def call(self, question: str) -> str:
        """question, answer: base64 of codec messages. The answer has one key: value, or missing (a name), error or refused
        (a type). A question with a `cell` asks for that text to be run as a cell of the notebook."""
        from vlmgrader import codec

        request = codec.decode(base64.b64decode(question))
        space, now = self.shell.user_ns, dict(self.shell.user_ns)
        before = self.names.get(request["task"], now)
        try:
            space.clear()
            space.update(before)
            if request["cell"] is not None:
                answer = {"value": self._run_tests(space, request["cell"])}
            elif request["call"] in space:
                answer = {"value": self._answer(space, request)}
            else:
                answer = {"missing": request["call"]}
            message = codec.encode(answer)
        except codec.Unsendable as error:
            message = codec.encode({"refused": str(error)})
        except BaseException as error:  # whatever a student raises, SystemExit too, is an answer
            message = codec.encode({"error": type(error).__name__})
        finally:
            space.clear()
            space.update(now)
        return base64.b64encode(message).decode()

    def _answer(self, space: dict, request: dict):
        target = space[request["call"]]
        if request["driver"]:
            own = {"__builtins__": dict(self.built_in), "__name__": "driver"}
            exec(compile(request["driver"], "<driver>", "exec"), own)
            return own["run"](target, *request["args"], **request["kwargs"])
        return target(*request["args"], **request["kwargs"])

    def _run_tests(self, space: dict, cell: str) -> str:
        """'passed', or what an assertion says."""
        try:
            exec(compile(self.shell.transform_cell(cell), "<tests>", "exec"), space)
        except AssertionError as error:
            return f"AssertionError: {str(error)[:300]}".removesuffix(": ")
        return "passed"


def serve(sockets: dict[str, int], key: str) -> None:
    """The Jupyter kernel, on inherited sockets."""
    import zmq
    from ipykernel.kernelapp import IPKernelApp

    class App(IPKernelApp):
        def _try_bind_socket(self, socket, port):
            if port in sockets.values():
                socket.setsockopt(zmq.USE_FD, port)
            socket.bind(f"ipc://{folder}/{port}")
            return port

        def init_heartbeat(self) -> None:
            """The grader watches the process itself; no heartbeat is needed."""

    folder = Path(os.environ["TMPDIR"]) / f".kernel-{os.getpid()}"
    folder.mkdir()
    connection = {
        "transport": "ipc",
        "ip": str(folder / "k"),
        "key": key,
        "signature_scheme": "hmac-sha256",
        "stdin_port": 1,
        "hb_port": 2,
        **{f"{name}_port": number for name, number in sockets.items()},
    }
    (folder / "kernel.json").write_text(json.dumps(connection))
    app = App.instance()
    app.initialize(
        [
            "-f",
            str(folder / "kernel.json"),
            "--HistoryManager.enabled=False",
            "--no-secure",
            "--IPKernelApp.parent_handle=0",
        ]
    )
    builtins.__grader__ = StudentFunctions(app.shell)
    app.start()


def empty(folders: list[str]) -> None:
    """Nothing of one kernel reaches the next. What can't be removed ends this process, and with it the sandbox."""

    def stubborn(remove, path, _) -> None:
        os.chmod(os.path.dirname(path), 0o700)
        if os.path.isdir(path) and not os.path.islink(path):
            os.chmod(path, 0o700)
            shutil.rmtree(path)
        else:
            remove(path)

    for folder in folders:
        mode = os.stat(folder).st_mode & 0o7777
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, onerror=stubborn)
            else:
                os.unlink(entry.path)
        os.chmod(folder, mode)


def kernel(settings: dict, request: dict, descriptors: list[int]) -> None:
    """In a fresh process: no rights, clean folders with what was handed in, then the kernel until it is ended."""
    os.setsid()
    os.nice(5)  # the grader and the fork server come first
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request["user"] is not None:
        become(request["user"])
    if settings["sandboxed"]:
        deny()
    if settings["files"]:
        for entry in os.scandir(settings["files"]):
            (shutil.copytree if entry.is_dir() else shutil.copyfile)(entry.path, entry.name)
    fonts = Path(settings["fonts"] or "/nowhere")
    if fonts.exists():  # saves each kernel the seconds in which matplotlib looks for fonts
        Path(os.environ["MPLCONFIGDIR"]).mkdir(exist_ok=True)
        shutil.copyfile(fonts, Path(os.environ["MPLCONFIGDIR"]) / settings["fonts_name"])
    serve(dict(zip(request["sockets"], descriptors)), request["key"])


def main(settings: dict) -> None:
    """Imports once what each kernel needs (torch takes seconds), then forks a kernel whenever the grader asks for one."""
    limit(settings["limits"])
    sys.path[:0] = settings["path"]
    import ipykernel.kernelapp  # noqa: F401

    import vlmgrader.codec  # noqa: F401

    if settings["sandboxed"]:
        ctypes.CDLL(None).prctl(
            4, 0, 0, 0, 0
        )  # not to be looked into or written to by what it starts
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # as the sandbox's first process it can't be killed from inside, but interrupted
    control = socket.socket(fileno=settings["control"])
    control.sendall(b"ready\n")
    while True:
        message, descriptors, *_ = socket.recv_fds(control, 65536, 8)
        if not message:
            return
        while child_ended():
            pass
        if settings["sandboxed"]:
            empty(settings["writable"])
        if os.fork() == 0:
            control.close()
            kernel(settings, json.loads(message), descriptors)
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


def child_ended() -> bool:
    """Whether a process started here had ended and is now forgotten."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
