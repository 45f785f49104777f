"""What a cell showed, kept for feedback and for the questions graded by hand: capped, and nothing in it that could act."""

import base64
import binascii
import re

import nbformat

TEXT = 100_000  # characters kept of one cell's text
PICTURE = 2 * 2**20  # base64 characters of one picture
SHOWN = 40  # outputs of one cell
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]")


class Outputs:
    """Listens to a kernel's messages while one cell runs (`receive`), and gives the cell's outputs (`cells`)."""

    def __init__(self) -> None:
        self.outputs: list = []
        self.remaining, self.cut = TEXT, False

    def receive(self, kind: str, content: dict) -> None:
        if kind == "clear_output":
            self.outputs, self.remaining = [], TEXT
        elif kind == "stream":
            self._stream(
                "stderr" if content.get("name") == "stderr" else "stdout",
                self._text(content.get("text")),
            )
        elif kind in ("display_data", "execute_result"):
            self._show(content.get("data"))
        elif kind == "error":
            lines = content.get("traceback")
            self._keep(
                nbformat.v4.new_output(
                    "error",
                    ename=self._text(content.get("ename"), 200),
                    evalue=self._text(content.get("evalue"), 2000),
                    traceback=[self._text(line, 4000) for line in lines[-30:]]
                    if type(lines) is list
                    else [],
                )
            )

    def note(self, text: str) -> None:
        """A word of the grader's own."""
        self.outputs.append(
            nbformat.v4.new_output("stream", name="stderr", text=f"[grader] {text}\n")
        )

    def cells(self) -> list:
        if self.cut:
            self.note("more was shown than is kept")
            self.cut = False
        return self.outputs

    def _text(self, text, limit: int = TEXT) -> str:
        """At most what is left of the cell's allowance; not a word of a message that isn't text."""
        text = text if type(text) is str else ""
        limit = max(0, min(limit, self.remaining))
        self.cut |= len(text) > limit
        self.remaining -= min(len(text), limit)
        return CONTROL.sub("", text[:limit]).encode("utf-8", "replace").decode()

    def _keep(self, output) -> None:
        if len(self.outputs) < SHOWN:
            self.outputs.append(output)
        else:
            self.cut = True

    def _stream(self, name: str, text: str) -> None:
        last = self.outputs[-1] if self.outputs else None
        if last is not None and last.output_type == "stream" and last.name == name:
            last.text += text
        elif text:
            self._keep(nbformat.v4.new_output("stream", name=name, text=text))

    def _show(self, data) -> None:
        data, shown = data if type(data) is dict else {}, {}
        for kind in ("image/png", "image/jpeg"):
            if picture(data.get(kind)):
                shown[kind] = re.sub(r"\s", "", data[kind])
        if "text/html" in data and not shown:
            shown["text/html"] = clean(self._text(data["text/html"]))
        for kind in ("text/latex", "text/plain"):
            if kind in data:
                shown[kind] = self._text(data[kind])
        if shown:
            self._keep(nbformat.v4.new_output("display_data", data=shown))


def picture(data) -> bool:
    """Whether it is base64 of a PNG or JPEG of moderate size."""
    if type(data) is not str or len(data) > PICTURE:
        return False
    try:
        return base64.b64decode(re.sub(r"\s", "", data), validate=True).startswith(
            (b"\x89PNG", b"\xff\xd8\xff")
        )
    except (binascii.Error, ValueError):
        return False


def clean(html: str) -> str:
    """HTML without scripts, handlers, frames, forms, styles and addresses that act."""
    import nh3

    return nh3.clean(
        html, url_schemes={"http", "https", "mailto", "data"}, attribute_filter=_kept_attribute
    )


def _kept_attribute(element: str, name: str, value: str) -> str | None:
    """A picture is shown where it is in the page itself: one from elsewhere would tell its owner who reads this, and when."""
    if name in ("src", "srcset") and not value.startswith(("data:image/png;", "data:image/jpeg;")):
        return None
    return (
        None if name in ("href", "cite") and value.lstrip().lower().startswith("data:") else value
    )
