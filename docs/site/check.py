"""What must be true of the pages: links lead somewhere, nothing comes from elsewhere, and everybody can read them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {
    "img": "src",
    "script": "src",
    "link": "href",
    "iframe": "src",
    "video": "src",
    "audio": "src",
    "source": "src",
}
FETCHED = re.compile(r"url\(\s*['\"]?(https?:)?//|@import\s+['\"]?(url\()?['\"]?(https?:)?//")
UNDRAWN = re.compile(r"\|\s*:?(-{3,}|—):?\s*\|")
"""The line below the head of a Markdown table, which no reader should see; typography makes dashes of it."""
PRINTED = "jb-print-docs-body"
"""The theme's copy of the title, which is only printed."""


@dataclass
class _Seen(HTMLParser):
    """What one page holds."""

    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    headings: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self):
        super().__init__()
        self.lang = self.title = self.printed = self.in_paragraph = False

    def handle_starttag(self, tag: str, attrs: list) -> None:
        given = dict(attrs)
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in LOADS and given.get(LOADS[tag]):
            self.loads.append(given[LOADS[tag]])
        if tag == "img" and not (given.get("alt") or "").strip():
            self.faults.append(
                f"a picture without alternative text: {(given.get('src') or '')[:60]}"
            )
        if tag in ("input", "select", "textarea") and not (
            given.get("aria-label") or given.get("id")
        ):
            self.faults.append(f"a field <{tag}> without a label")
        self.printed |= given.get("id") == PRINTED
        self.printed &= tag != "article"
        if re.fullmatch("h[1-6]", tag) and not self.printed:
            self.headings.append(int(tag[1]))
        if tag == "html" and given.get("lang"):
            self.lang = True
        self.title |= tag == "title"
        self.in_paragraph |= tag == "p"
        if FETCHED.search(given.get("style") or ""):
            self.faults.append(f"a style that loads something: {given['style'][:60]}")

    def handle_endtag(self, tag: str) -> None:
        self.in_paragraph &= tag != "p"

    def handle_data(self, data: str) -> None:
        if self.in_paragraph and UNDRAWN.search(data):
            self.faults.append(f"a table that isn't drawn: {data.strip()[:60]}")


def _read(path: Path) -> _Seen:
    seen = _Seen()
    seen.feed(path.read_text(encoding="utf-8"))
    return seen


def _of_page(seen: _Seen) -> list[str]:
    """Faults of one page by itself."""
    found = list(seen.faults)
    if not seen.lang:
        found.append("no language: expected <html lang=...>")
    if not seen.title:
        found.append("no title")
    if seen.headings.count(1) != 1:
        found.append(f"{seen.headings.count(1)} headings of the first level; expected one")
    found += [
        f"a heading of level {after} after one of level {before}; expected none to be left out"
        for before, after in zip(seen.headings, seen.headings[1:])
        if after > before + 1
    ]
    found += [
        f"two elements with the id '{one}'"
        for one in sorted({one for one in seen.ids if seen.ids.count(one) > 1})
    ]
    found += [
        f"loads {address[:80]} from elsewhere"
        for address in seen.loads
        if urlsplit(address).scheme not in ("", "data")
    ]
    return found


def check(folder: Path) -> list[str]:
    """All faults of a site's pages, as 'page: what is wrong'. An empty list is what one wants."""
    pages = {
        path.resolve(): _read(path)
        for path in sorted(folder.rglob("*.html"))
        if "_static" not in path.parts
    }
    if not pages:
        raise ValueError(f"no pages in {folder}; expected a site. Build it: vlmcourse site")
    faults = []
    for path, seen in pages.items():
        name = path.relative_to(folder.resolve())
        faults += [f"{name}: {one}" for one in _of_page(seen)]
        for address in (*seen.links, *(one for one in seen.loads if not one.startswith("data:"))):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                faults.append(f"{name}: the link {address} leads nowhere")
            elif (
                parts.fragment
                and target in pages
                and unquote(parts.fragment) not in pages[target].ids
            ):
                faults.append(f"{name}: there is no place #{parts.fragment} on {target.name}")
    for path in folder.rglob("*.css"):
        faults += [
            f"{path.name}: loads something: {line.strip()[:60]}"
            for line in path.read_text(encoding="utf-8").splitlines()
            if FETCHED.search(line)
        ]
    return faults
