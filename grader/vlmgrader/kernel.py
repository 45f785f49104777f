"""One kernel in a student's sandbox, seen from outside: told what to run, interrupted, ended.

Nothing that arrives from it is believed. Messages are capped in size before they are read, and are only treated as data.
"""

import hashlib
import hmac
import json
import secrets
import socket
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import psutil
import zmq

from vlmgrader import wire
from vlmgrader.session import START, KernelEnded, Session
from vlmgrader.usage import LONGEST_STEP, RunClock

SOCKETS = {"shell": zmq.DEALER, "control": zmq.DEALER, "iopub": zmq.SUB}
PATIENCE = 2.0  # seconds from an interrupt to the end of the kernel
CEILING = 10.0  # times its limit that a run may take by the clock on the wall, and a minute


class TookTooLong(RuntimeError):
    """The time was up and the interrupt worked: the kernel lives."""


class MachineBusy(RuntimeError):
    """The kernel hardly got any CPU: nothing can be said about the student's code."""


class Kernel:
    """A context: `with Kernel(session) as kernel: kernel.run(code, seconds)`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.ended_because: str | None = None
        self.seconds = 0.0  # that its runs took, as a RunClock counts them

    def __enter__(self) -> "Kernel":
        self.key, self.client = secrets.token_hex(16), uuid.uuid4().hex
        self.context, self.sockets, listening = zmq.Context(), {}, {}
        try:
            for name in SOCKETS:
                (self.session.folder / name).unlink(missing_ok=True)
                listening[name] = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                listening[name].bind(str(self.session.folder / name))
                listening[name].listen(8)
                listening[name].setblocking(False)
            self.process = self.session.fork(listening, self.key)
            for name, kind in SOCKETS.items():
                self.sockets[name] = self._connect(name, kind)
            try:
                self._wait_until_ready(time.monotonic() + START)
            except KernelEnded as error:
                time.sleep(0.2)
                output = self.session.last_output()
                raise KernelEnded(f"{error} while it started: {output}") from None
        except BaseException:
            self.__exit__()
            raise
        finally:
            for listener in listening.values():
                listener.close()
        return self

    def _connect(self, name: str, kind: int) -> zmq.Socket:
        channel = self.context.socket(kind)
        channel.linger, channel.sndtimeo = 0, 1000
        channel.maxmsgsize = wire.FRAME_BYTES[name]  # has no effect once connected
        channel.rcvhwm = wire.WAITING[name]
        if kind == zmq.SUB:
            channel.subscribe = b""
        channel.connect(f"ipc://{self.session.folder / name}")
        return channel

    def __exit__(self, *_) -> None:
        self.session.sweep()
        self.context.destroy(linger=0)

    def _wait_until_ready(self, until: float) -> None:
        """Until both the shell and the outputs answer."""
        outputs_answer = False
        while not outputs_answer:
            sent = self._send("shell", "kernel_info_request", {})
            patience = min(time.monotonic() + 1.0, until)
            shell_answers = False
            while time.monotonic() < patience and not (shell_answers and outputs_answer):
                for message in self._receive():
                    shell_answers |= message.socket == "shell" and message.parent == sent
                    outputs_answer |= message.socket == "iopub"
            if time.monotonic() > until:
                output = self.session.last_output()
                raise KernelEnded(f"the kernel didn't start within {START:.0f} s: {output}")

    # What is sent to the kernel and received from it

    def _send(self, name: str, kind: str, content: dict) -> str:
        identity = uuid.uuid4().hex
        header = {
            "msg_id": identity,
            "session": self.client,
            "username": "grader",
            "msg_type": kind,
            "version": "5.3",
            "date": datetime.now(UTC).isoformat(),
        }
        parts = [json.dumps(part).encode() for part in (header, {}, {}, content)]
        signature = hmac.new(self.key.encode(), b"".join(parts), hashlib.sha256)
        try:
            self.sockets[name].send_multipart(
                [b"<IDS|MSG>", signature.hexdigest().encode(), *parts]
            )
        except zmq.Again:  # the student's code can break the connection: waiting would be for ever
            self.kill("the kernel no longer listens")
            raise KernelEnded(self.ended_because) from None
        return identity

    def _receive(self) -> list[wire.Message]:
        """What has come; waits at most 0.1 s. Raises KernelEnded."""
        poller = zmq.Poller()
        for channel in self.sockets.values():
            poller.register(channel, zmq.POLLIN)
        ready = dict(poller.poll(100))
        received = []
        for name, channel in self.sockets.items():
            if channel in ready:
                try:
                    received += wire.read(name, channel.recv_multipart(zmq.NOBLOCK))
                except zmq.ZMQError:  # it was there and is gone: its connection broke
                    continue
        if not ready and (self.ended_because or self._has_ended()):
            raise KernelEnded(self.ended_because)
        return received

    def run(
        self,
        code: str,
        seconds: float,
        on_output: Callable[[str, dict], None] = lambda kind, content: None,
        ask: str | None = None,
    ) -> dict:
        """Executes code and gives the reply's content; `ask` is an expression whose value's repr comes in the reply.

        seconds  as a RunClock counts them
        Raises TookTooLong if the time was up and the kernel could be interrupted, else KernelEnded; MachineBusy if the
        time isn't up but far too much has passed on the wall.
        """
        if self.session.process is None:
            raise KernelEnded(self.ended_because or "the sandbox ended")
        clock = RunClock(self.process.pid, self.session.process.pid)
        request = {
            "code": code,
            "silent": ask is not None,
            "store_history": ask is None,
            "allow_stdin": False,
            "stop_on_error": False,
            "user_expressions": {"asked": ask} if ask else {},
        }
        sent = self._send("shell", "execute_request", request)
        try:
            reply, late = self._wait_for_reply(sent, seconds, on_output, clock)
        finally:
            self.seconds += clock.seconds() if clock.passed > LONGEST_STEP else clock.passed
        if late:
            raise TookTooLong(f"took longer than {seconds:.0f} s")
        return reply

    def _wait_for_reply(
        self, sent: str, seconds: float, on_output: Callable[[str, dict], None], clock: RunClock
    ) -> tuple[dict, bool]:
        """The reply's content, and whether the time was up before."""
        reply, idle, interrupted_at, replied_at = None, False, None, 0.0
        ceiling = CEILING * seconds + 60
        began = time.monotonic()
        while True:
            for message in self._receive():
                if message.parent != sent:
                    continue
                if message.socket == "shell" and message.kind == "execute_reply":
                    reply, replied_at = message.content, time.monotonic()
                elif message.socket == "iopub":
                    idle |= message.says_idle()
                    on_output(message.kind, message.content)
            clock.step()
            if reply is not None and (idle or time.monotonic() - replied_at > 0.5):
                return reply, interrupted_at is not None
            if reply is not None or clock.passed < seconds:
                continue
            used = clock.seconds()
            if interrupted_at is not None:
                if used - interrupted_at > PATIENCE:
                    self.kill("didn't stop when its time was up")
                    raise KernelEnded(self.ended_because)
            elif used >= seconds:
                interrupted_at = used
                self._send("control", "interrupt_request", {})
            if time.monotonic() - began > ceiling:
                self.kill("got hardly any CPU")
                raise MachineBusy(
                    f"the machine was too busy: {used:.0f} s of CPU in {ceiling:.0f} s"
                )

    # Its life and end

    def _has_ended(self) -> bool:
        try:
            ended = (
                self.session.too_much
                or self.process.status() == psutil.STATUS_ZOMBIE
                or not self.process.is_running()
            )
        except psutil.Error:
            ended = True
        if ended:
            self.ended_because = self.ended_because or self.session.too_much or "the kernel ended"
        return bool(ended)

    def kill(self, because: str) -> None:
        self.ended_because = self.ended_because or because
        self.session.sweep()

    def end_children(self) -> None:
        """Ends whatever the kernel's process started and left behind."""
        self.session.sweep(spare=self.process)

    def threads(self) -> int:
        try:
            return self.process.num_threads()
        except psutil.Error:
            return 0
