"""A kernel's messages as data: how large a frame may be, and how it is read without costing more than a few times that.

A JSON text of `[],[],[]...` takes thirty times its size as Python's lists. So a large frame is never parsed: of a large
reply only the base64 text of the answer is cut out, and what is left must be small.
"""

import json
import re
from dataclasses import dataclass

from vlmgrader.codec import BYTES

SMALL = 64 * 2**10  # bytes of JSON that are parsed in any frame of a reply
OUTPUT_BYTES = 3 * 2**20  # one message of output; a longer one is lost, with its connection
ANSWER_BYTES = 4 * BYTES // 3 + SMALL  # base64, and room for the rest
FRAME_BYTES = {"shell": ANSWER_BYTES, "control": SMALL, "iopub": OUTPUT_BYTES}
WAITING = {"shell": 2, "control": 4, "iopub": 16}  # messages kept until they are read
ANSWER = re.compile(rb'"text/plain": ?"(\'[A-Za-z0-9+/=]*\')"')


@dataclass(frozen=True)
class Message:
    """One message: which socket it came on, its kind, the id of the request it belongs to, its content."""

    socket: str
    kind: str
    parent: str
    content: dict

    def says_idle(self) -> bool:
        return self.kind == "status" and self.content.get("execution_state") == "idle"


def read(socket: str, frames: list[bytes]) -> list[Message]:
    """The message in these frames; none if it isn't one. Its signature says nothing: the kernel's code can read the key."""
    try:
        start = frames.index(b"<IDS|MSG>")
        header, parent, _, content = frames[start + 2 : start + 6]
        kind, parent = _small(header)["msg_type"], _small(parent).get("msg_id")
        read = json.loads(content) if socket == "iopub" else _reply(content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
    return [Message(socket, str(kind), str(parent), read)] if type(read) is dict else []


def _small(frame: bytes) -> dict:
    if len(frame) > SMALL:
        raise ValueError("a header of this size is none")
    return json.loads(frame)


def _reply(frame: bytes) -> dict:
    """A reply's content. A large answer is cut out before the rest is parsed."""
    if len(frame) <= SMALL:
        return json.loads(frame)
    answer = ANSWER.search(frame)
    if not answer or len(frame) - len(answer[1]) > SMALL:
        raise ValueError("a large reply holds one large text")
    rest = json.loads(frame[: answer.start(1)] + b"LARGE" + frame[answer.end(1) :])
    data = rest["user_expressions"]["asked"]["data"]
    if data["text/plain"] != "LARGE":
        raise ValueError("the large text isn't the answer")
    data["text/plain"] = answer[1].decode()
    return rest


def reply_text(reply: dict) -> str:
    """The repr that a reply brings, whatever the kernel made of it."""
    part = reply
    for key in ("user_expressions", "asked", "data", "text/plain"):
        part = part.get(key) if type(part) is dict else None
    return part if type(part) is str else ""
