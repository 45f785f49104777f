"""An explorer: an ES module that draws in the browser what pure functions put into JSON, with a kernel or without."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vlmcourse.widgets import interactive

MODULES = Path(__file__).parent / "explorers"
MIME = "application/vnd.vlmcourse.explorer+json"
"""What a notebook keeps of an explorer: {"module", "data", "description"}; the site makes it alive with `static_html`."""
STATIC = """\
<div id="{name}"></div>
<noscript><p>{description}</p></noscript>
<script type="module">
{source}
const data = {data};
explorer.render({{ model: {{ get: (name) => ({{ data }})[name], set() {{}}, save_changes() {{}}, on() {{}} }},
  el: document.getElementById("{name}") }});
</script>"""
"""A model as anywidget's, with data and nobody to ask."""


def source(name: str) -> str:
    """The ES module of an explorer, with what all explorers share before it."""
    parts = (MODULES / f"{part}.js" for part in ("explorer", name))
    return "\n".join(path.read_text(encoding="utf-8") for path in parts)


def static_html(module: str, data: dict, description: str) -> str:
    """The explorer as a piece of a page that needs no kernel and loads nothing."""
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return STATIC.format(
        name=f"explorer-{module}-{digest}",
        description=html.escape(description),
        source=source(module).replace("export default", "const explorer ="),
        data=text,
    )


def picture_address(image: np.ndarray, quality: int = 80) -> str:
    """A picture (S, S, 3) uint8 as a JPEG inside an address, for <img> and <image>."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def show_explorer(
    module: str,
    data: dict,
    description: str,
    answer: Callable[[dict], object] | None = None,
) -> None:
    """Displays an explorer.

    module       its file in explorers/, without .js
    data         JSON that it draws;  description  of what it shows first
    answer       (question) -> JSON, from the kernel, for what isn't in `data`; a ValueError becomes a message
    """
    import anywidget
    import traitlets

    class Explorer(anywidget.AnyWidget):
        _esm = source(module)
        data = traitlets.Dict().tag(sync=True)
        question = traitlets.Dict().tag(sync=True)
        answer = traitlets.Dict().tag(sync=True)
        kernel = traitlets.Bool(False).tag(sync=True)

    widget = Explorer(data=data, kernel=answer is not None)

    def on_question(change: dict) -> None:
        try:
            reply = {"value": answer(change["new"])}
        except ValueError as error:
            reply = {"error": str(error)}
        widget.answer = {"number": change["new"]["number"], **reply}

    if answer is not None:
        widget.observe(on_question, "question")
    output = {"module": module, "data": data, "description": description}
    interactive.display_widget(widget, {MIME: output, "text/plain": description}, {})
