"""One kernel in a student's sandbox, seen from outside: told what to run, interrupted, ended.

Nothing that arrives from it is believed. Messages are capped in size before they are read, and are only looked at as data.
"""

import hashlib
import hmac
import json
import secrets
import socket
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timezone

import psutil
import zmq

from vlmgrader.codec import BYTES
from vlmgrader.room import START, KernelEnded, Room

SOCKETS = {"shell": zmq.DEALER, "control": zmq.DEALER, "iopub": zmq.SUB}
ANSWER_BYTES = 2 * BYTES  # base64, and room for the rest
OUTPUT_BYTES = 8 * 2**20  # one message of output; a longer one is lost, with its connection
PATIENCE = 2.0  # seconds from an interrupt to the end of the kernel


class TookTooLong(RuntimeError):
    """The time was up and the interrupt worked: the kernel lives."""


class Kernel:
    """A context: `with Kernel(room) as kernel: kernel.run(code, seconds)`."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.ended_because: str | None = None

    def __enter__(self) -> "Kernel":
        self.key, self.session = secrets.token_hex(16), uuid.uuid4().hex
        self.context, self.sockets, listening = zmq.Context(), {}, {}
        try:
            for name in SOCKETS:
                (self.room.folder / name).unlink(missing_ok=True)
                listening[name] = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                listening[name].bind(str(self.room.folder / name))
                listening[name].listen(8)
                listening[name].setblocking(False)
            self.process = self.room.fork(listening, self.key)
            for name, kind in SOCKETS.items():
                self.sockets[name] = wire = self.context.socket(kind)
                wire.linger, wire.sndtimeo = 0, 1000
                wire.maxmsgsize = (
                    OUTPUT_BYTES if name == "iopub" else ANSWER_BYTES
                )  # has no effect once connected
                wire.rcvhwm = 32
                if name == "iopub":
                    wire.subscribe = b""
                wire.connect(f"ipc://{self.room.folder / name}")
            try:
                self._ready(time.monotonic() + START)
            except KernelEnded as error:
                time.sleep(0.2)
                raise KernelEnded(f"{error} while it started: {self.room.last_words()}") from None
        except BaseException:
            self.__exit__()
            raise
        finally:
            for one in listening.values():
                one.close()
        return self

    def __exit__(self, *_) -> None:
        self.room.sweep()
        self.context.destroy(linger=0)

    def _ready(self, until: float) -> None:
        """Waits until both the shell and the outputs answer."""
        heard = False
        while not heard:
            sent = self._send("shell", "kernel_info_request", {})
            patience = min(time.monotonic() + 1.0, until)
            answered = False
            while time.monotonic() < patience and not (answered and heard):
                for name, kind, parent, _ in self._receive(patience):
                    answered |= name == "shell" and parent == sent
                    heard |= name == "iopub"
            if time.monotonic() > until:
                raise KernelEnded(
                    f"the kernel didn't start within {START:.0f} s: {self.room.last_words()}"
                )

    # What is said to the kernel and heard from it

    def _send(self, name: str, kind: str, content: dict) -> str:
        identity = uuid.uuid4().hex
        header = {
            "msg_id": identity,
            "session": self.session,
            "username": "grader",
            "msg_type": kind,
            "version": "5.3",
            "date": datetime.now(timezone.utc).isoformat(),
        }
        parts = [json.dumps(part).encode() for part in (header, {}, {}, content)]
        signature = (
            hmac.new(self.key.encode(), b"".join(parts), hashlib.sha256).hexdigest().encode()
        )
        try:
            self.sockets[name].send_multipart([b"<IDS|MSG>", signature, *parts])
        except (
            zmq.Again
        ):  # a student's code can break the connection: waiting for it would be for ever
            self.kill("the kernel no longer listens")
            raise KernelEnded(self.ended_because) from None
        return identity

    def _receive(self, until: float) -> list[tuple[str, str, str, dict]]:
        """(socket, kind, id of the request, content) of what has come; waits at most 0.1 s. Raises KernelEnded."""
        poller = zmq.Poller()
        for wire in self.sockets.values():
            poller.register(wire, zmq.POLLIN)
        ready = dict(poller.poll(max(0, min(100, 1000 * (until - time.monotonic())))))
        heard = []
        for name, wire in self.sockets.items():
            if wire in ready:
                try:
                    heard += _read(name, wire.recv_multipart(zmq.NOBLOCK))
                except zmq.ZMQError:  # it was there and is gone: its connection broke
                    continue
        if not ready and (self.ended_because or self._gone()):
            raise KernelEnded(self.ended_because)
        return heard

    def run(
        self,
        code: str,
        seconds: float,
        hear: Callable[[str, dict], None] = lambda kind, content: None,
        ask: str | None = None,
    ) -> dict:
        """Executes code and gives the reply's content; `ask` is an expression whose value's repr comes as reply["asked"].

        Raises TookTooLong if the time was up and the kernel could be interrupted, else KernelEnded.
        """
        until = time.monotonic() + seconds
        sent = self._send(
            "shell",
            "execute_request",
            {
                "code": code,
                "silent": ask is not None,
                "store_history": ask is None,
                "allow_stdin": False,
                "stop_on_error": False,
                "user_expressions": {"asked": ask} if ask else {},
            },
        )
        reply, idle, late = None, False, False
        while reply is None or (not idle and time.monotonic() < until):
            if time.monotonic() > until:
                if late:
                    self.kill("didn't stop when its time was up")
                    raise KernelEnded(self.ended_because)
                late, until = True, time.monotonic() + PATIENCE
                self._send("control", "interrupt_request", {})
            for name, kind, parent, content in self._receive(until):
                if parent != sent:
                    continue
                if name == "shell" and kind == "execute_reply":
                    reply, until = content, min(until, time.monotonic() + 0.5)
                elif name == "iopub":
                    idle |= kind == "status" and content.get("execution_state") == "idle"
                    hear(kind, content)
        if late:
            raise TookTooLong(f"took longer than {seconds:.0f} s")
        return reply

    # Its life and end

    def _gone(self) -> bool:
        try:
            ended = (
                self.room.too_much
                or self.process.status() == psutil.STATUS_ZOMBIE
                or not self.process.is_running()
            )
        except psutil.Error:
            ended = True
        if ended:
            self.ended_because = self.ended_because or self.room.too_much or "the kernel ended"
        return bool(ended)

    def kill(self, because: str) -> None:
        self.ended_because = self.ended_because or because
        self.room.sweep()

    def end_children(self) -> None:
        """Ends whatever the kernel's process started and left behind."""
        self.room.sweep(spare=self.process)

    def threads(self) -> int:
        try:
            return self.process.num_threads()
        except psutil.Error:
            return 0


def _read(name: str, frames: list[bytes]) -> list[tuple[str, str, str, dict]]:
    """A message as data; none if it isn't one. Its signature says nothing: the kernel's code can read the key."""
    try:
        start = frames.index(b"<IDS|MSG>")
        header, parent, _, content = (json.loads(frame) for frame in frames[start + 2 : start + 6])
        kind, parent = header["msg_type"], parent.get("msg_id")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
    return [(name, str(kind), str(parent), content)] if type(content) is dict else []
