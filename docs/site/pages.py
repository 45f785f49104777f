"""Markdown and executed notebooks as HTML: headings with anchors, MathML, tables and code that can be scrolled by keyboard."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from docs.site.maths import mathml

if TYPE_CHECKING:
    from nbformat import NotebookNode

Linked = Callable[[str], str]
"""What an address in a text becomes on the site."""

TEMPLATE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title}</title><link rel="stylesheet" href="{top}style.css"></head>
<body><a class="skip" href="#the-text">Skip to the text</a>
<header><nav aria-label="Course">{nav}</nav></header>
<main id="the-text">
{body}
</main>
<footer><p>Lessons and texts: CC BY 4.0. Emojis designed by <a href="https://openmoji.org">OpenMoji</a>, CC BY-SA 4.0;
figures that show them are under the same licence.</p></footer>
</body></html>
"""
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def slug(text: str) -> str:
    """The anchor of a heading, as code hosts make it: 'How fast, how right' -> 'how-fast-how-right'."""
    text = html.unescape(re.sub(r"<[^>]+>", "", text)).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def code(source: str, language: str = "python") -> str:
    """Highlighted code, in a block that can be scrolled by keyboard."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name(language or "text")
    except ClassNotFound:
        lexer = get_lexer_by_name("text")
    made = highlight(source, lexer, HtmlFormatter(nowrap=True))
    return f'<pre class="code" tabindex="0"><code>{made}</code></pre>'


def _without_maths(text: str) -> tuple[str, list[str]]:
    """A text with its formulas taken out, so that Markdown leaves them alone, and the formulas. Code keeps its dollars."""
    formulas: list[str] = []

    def keep(tex: str, block: bool) -> str:
        formulas.append(mathml(tex.strip(), block))
        return f"@@maths{len(formulas) - 1}@@"

    pieces = re.split(r"(```.*?```|`[^`\n]*`)", text, flags=re.S)
    for place in range(0, len(pieces), 2):
        pieces[place] = re.sub(
            r"\$\$(.+?)\$\$", lambda m: keep(m[1], True), pieces[place], flags=re.S
        )
        pieces[place] = re.sub(
            r"(?<![\\$\w])\$([^$\n]*[^$\n\s])\$(?![\w$])",
            lambda m: keep(m[1], False),
            pieces[place],
        )
    return "".join(pieces), formulas


def markdown(
    text: str, linked: Linked = lambda address: address, taken: set[str] | None = None
) -> str:
    """Markdown with tables, formulas and raw HTML -> HTML. taken: anchors of this page so far, which are kept up to date."""
    import mistune

    taken = set() if taken is None else taken

    class Renderer(mistune.HTMLRenderer):
        def heading(self, text: str, level: int, **attrs) -> str:
            anchor = first = slug(text)
            number = 0
            while anchor in taken:
                number += 1
                anchor = f"{first}-{number}"
            taken.add(anchor)
            return f'<h{level} id="{anchor}">{text}</h{level}>\n'

        def link(self, text: str, url: str, title=None) -> str:
            return f'<a href="{html.escape(linked(url))}">{text}</a>'

        def image(self, text: str, url: str, title=None) -> str:
            return (
                f'<img src="{html.escape(linked(url))}" alt="{html.escape(html.unescape(text))}">'
            )

        def block_code(self, code_: str, info=None) -> str:
            return code(code_, (info or "text").split()[0])

    text, formulas = _without_maths(text)
    made = mistune.create_markdown(
        escape=False, renderer=Renderer(escape=False), plugins=["table", "strikethrough"]
    )(text)
    made = (
        re.sub(r'(<(?:img|a)\b[^>]*?\b(?:src|href)=")([^"]+)(")', _relink(linked), made)
        if "<img" in text
        else made
    )
    made = re.sub(
        r"<th(?: style=\"[^\"]*\")?>\s*</th>", "<td></td>", made
    )  # a header without words is no header
    made = re.sub(
        r"<table>", '<div class="wide" tabindex="0" role="region" aria-label="table"><table>', made
    )
    made = made.replace("</table>", "</table></div>")
    made = re.sub(
        r"<p>@@maths(\d+)@@</p>",
        r'<div class="wide" tabindex="0" role="region" aria-label="formula">@@maths\1@@</div>',
        made,
    )
    return re.sub(r"@@maths(\d+)@@", lambda m: formulas[int(m[1])], made)


def _relink(linked: Linked) -> Callable[[re.Match], str]:
    """For addresses in raw HTML. Those that are links of the site already stay: `linked` knows only addresses of sources."""
    return lambda found: (
        found[0] if ".html" in found[2] else f"{found[1]}{html.escape(linked(found[2]))}{found[3]}"
    )


def _output(output: NotebookNode) -> str:
    """One output of a cell: a figure with its description, HTML, or text."""
    if output.output_type == "stream":
        return f'<pre class="said" tabindex="0">{html.escape(ANSI.sub("", output.text))}</pre>'
    if output.output_type == "error":
        return f'<pre class="said" tabindex="0">{html.escape(ANSI.sub("", chr(10).join(output.traceback)))}</pre>'
    data = output.data
    if "image/png" in data:
        alt = output.metadata.get("image/png", {}).get("alt", "")
        if not alt:
            raise ValueError(
                "a figure without a text description; expected one in its metadata. Show figures with draw.show."
            )
        picture = f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{"".join(data["image/png"].split())}">'
        picture = (
            f'<div class="wide" tabindex="0" role="region" aria-label="figure">{picture}</div>'
        )
        return f"<figure>{picture}<details><summary>What the figure shows</summary><p>{html.escape(alt)}</p></details></figure>"
    if "text/html" in data:
        made = "".join(data["text/html"])
        return (
            f'<div class="wide" tabindex="0" role="region" aria-label="output">{made}</div>'
            if "<table" in made
            else made
        )
    if "text/markdown" in data:
        return markdown("".join(data["text/markdown"]))
    return (
        f'<pre class="said" tabindex="0">{html.escape("".join(data.get("text/plain", "")))}</pre>'
    )


def notebook(path: Path, linked: Linked) -> str:
    """An executed notebook: text, code, and the outputs that were kept. Widgets are there as the stills they left."""
    import nbformat

    taken, made = set(), []
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        if cell.cell_type == "markdown":
            made.append(markdown(cell.source, linked, taken))
        elif cell.source.strip():
            shown = re.sub(r"^# (NBVAL_\w+|%%.*)\n", "", cell.source)
            made.append(code(shown))
            try:
                made += map(_output, cell.get("outputs", []))
            except ValueError as error:
                raise ValueError(f"{path.name}, cell {number + 1}: {error}") from error
    return "\n".join(made)


def page(title: str, body: str, nav: str, top: str) -> str:
    """A whole page. top: the way from it to the site's folder, such as '../'."""
    counted: dict[str, int] = {}

    def numbered(found: re.Match) -> str:
        counted[found[1]] = counted.get(found[1], 0) + 1
        return f'role="region" aria-label="{found[1]} {counted[found[1]]}"'

    body = re.sub(
        r'role="region" aria-label="(\w+)"', numbered, body
    )  # so that they can be told apart by name
    if "<h1" not in body:
        body = f"<h1>{html.escape(title)}</h1>\n{body}"
    return TEMPLATE.format(title=html.escape(title), body=body, nav=nav, top=top)


def notebook_page(path: Path) -> Path:
    """One executed notebook as a page of its own beside it, its style inside. Returns the page."""
    style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    text = page(path.stem, notebook(path, lambda address: address), "", "")
    text = text.replace('<link rel="stylesheet" href="style.css">', f"<style>{style}</style>")
    target = path.with_suffix(".html")
    target.write_text(text, encoding="utf-8")
    return target
