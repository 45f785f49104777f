"""Which pages there are: the map, the syllabus, the instructor's guide, all lessons, what these link to, and the reference."""

from __future__ import annotations

import html
import os
import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from docs.site import reference
from docs.site.pages import markdown, notebook, page

STYLE = Path(__file__).with_name("style.css")
ROOTS = ("README.md", "SYLLABUS.md", "docs/INSTRUCTORS.md")
PAGES = (".md", ".ipynb")
REFERENCE = Path("reference")


def target(source: Path) -> Path:
    """Where a file of the repository lies on the site: README.md is the first page, texts and notebooks become pages."""
    if source.name == "README.md":
        return source.with_name("index.html")
    return source.with_suffix(".html") if source.suffix in PAGES else source


class _Site:
    """A site that is being built: files that are linked are added as they are met."""

    def __init__(self, root: Path, out: Path):
        self.root, self.out = root.resolve(), out
        self.todo: list[Path] = []
        self.done: set[Path] = set()

    def want(self, source: Path) -> None:
        if source not in self.done:
            self.done.add(source)
            self.todo.append(source)

    def linked(self, source: Path):
        """For the addresses in `source`: files of the repository become pages of the site, or are copied beside them."""

        def link(address: str) -> str:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or not parts.path:
                return address
            there = (self.root / source.parent / parts.path).resolve()
            if there.is_dir() and (there / "README.md").is_file():
                there /= "README.md"
            if not there.is_file() or not there.is_relative_to(self.root):
                raise ValueError(
                    f"{source}: the link {address} leads to no file of the repository. Correct it there."
                )
            there = there.relative_to(self.root)
            self.want(there)
            way = Path(os.path.relpath(target(there), target(source).parent)).as_posix()
            return f"{way}#{parts.fragment}" if parts.fragment else way

        return link

    def nav(self, here: Path) -> str:
        """Links to the main pages, seen from `here`; the page itself is marked."""
        named = {
            "Course": Path("index.html"),
            "Syllabus": Path("SYLLABUS.html"),
            "Explorers": Path("notebooks/explorers.html"),
            "Instructors": Path("docs/INSTRUCTORS.html"),
            "Reference": REFERENCE / "index.html",
        }
        if not (self.root / "notebooks" / "explorers.ipynb").exists():
            del named["Explorers"]
        ways = {
            name: Path(os.path.relpath(there, here.parent)).as_posix()
            for name, there in named.items()
        }
        marks = {
            name: ' aria-current="page"' if there == here else "" for name, there in named.items()
        }
        return " ".join(f'<a href="{way}"{marks[name]}>{name}</a>' for name, way in ways.items())

    def write(self, there: Path, title: str, body: str) -> Path:
        path = self.out / there
        path.parent.mkdir(parents=True, exist_ok=True)
        top = "../" * (len(there.parts) - 1)
        path.write_text(page(title, body, self.nav(there), top), encoding="utf-8")
        return path

    def add(self, source: Path) -> Path:
        """One file of the repository."""
        path, link = self.root / source, self.linked(source)
        if source.suffix not in PAGES:
            (self.out / source.parent).mkdir(parents=True, exist_ok=True)
            return Path(shutil.copyfile(path, self.out / source))
        body = (
            notebook(path, link)
            if source.suffix == ".ipynb"
            else markdown(path.read_text(encoding="utf-8"), link)
        )
        found = re.search(r"<h1[^>]*>(.*?)</h1>", body, re.S)
        title = html.unescape(re.sub(r"<[^>]+>", "", found[1])) if found else source.stem
        return self.write(
            target(source), title if title == "vlmcourse" else f"{title} · vlmcourse", body
        )


def build(root: Path, out: Path) -> list[Path]:
    """Builds the site of the repository at `root` into the folder `out`; returns the files it wrote.

    Raises ValueError for a link that leads nowhere, a figure without a description, a formula that can't be written as MathML,
    and for a folder that holds something else.
    """
    if out.exists() and any(out.iterdir()):
        if not (out / STYLE.name).is_file():
            raise ValueError(
                f"{out} holds files that are no site, and would be lost. Choose another folder: --out FOLDER"
            )
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    site, wrote = (
        _Site(root, out),
        [Path(shutil.copyfile(STYLE, out / STYLE.name))],
    )  # first: a broken build can be repeated
    for name in ROOTS:
        site.want(Path(name))
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        site.want(path.relative_to(root))
    while site.todo:
        wrote.append(site.add(site.todo.pop(0)))
    found = reference.modules(site.root / "vlmcourse")
    wrote.append(
        site.write(REFERENCE / "index.html", "API reference · vlmcourse", reference.index(found))
    )
    wrote += [
        site.write(REFERENCE / f"{name}.html", f"{name} · vlmcourse", reference.module(name, path))
        for name, path in found.items()
    ]
    return wrote
