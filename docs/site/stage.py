"""Collects what becomes the site in one folder: README.md as the first page, texts, notebooks, pages of the reference."""

from __future__ import annotations

import html
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from vlmcourse.widgets import explorer

if TYPE_CHECKING:
    from nbformat import NotebookNode

LINK = re.compile(r"(\]\(|<(?:img|a)\b[^>]*?\b(?:src|href)=\")([^)\s#\"]+)")
TITLES = {
    "Lessons": ("notebooks/[0-9]*.ipynb", "notebooks/explorers.ipynb"),
    "Assignments": ("assignments/*/student/*.ipynb", "assignments/P_project/*.md"),
    "For instructors": ("SYLLABUS.md", "docs/INSTRUCTORS.md", "docs/discussion/README.md"),
    "Look it up": (
        "docs/GLOSSARY.md",
        "docs/RESULTS.md",
        "docs/ARCHITECTURE.md",
        "docs/DECISIONS.md",
    ),
    "The project": ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"),
}
"""Captions of the side bar, and which files stand below each."""
INDEXES = {Path("docs/discussion/README.md"): "Sheets"}
"""Pages with the pages of their folder below them, in the order of their links; and the caption above those."""
CONTENTS = """
```{{toctree}}
:hidden:
:caption: {caption}
{pages}
```
"""
MODULE = """
{name}
{line}

.. automodule:: {name}
   :members:
   :ignore-module-all:
"""


def figure_as_html(output: NotebookNode) -> None:
    """An output's picture becomes HTML, with its description as alternative text and below it. ValueError without one."""
    alt = output.get("metadata", {}).get("image/png", {}).get("alt", "")
    if not alt:
        raise ValueError(
            "a figure without a text description; expected one in its metadata. Show figures with plots.show."
        )
    alt, source = html.escape(alt), "".join(output.data.pop("image/png").split())
    output.data["text/html"] = (
        f'<figure><img alt="{alt}" src="data:image/png;base64,{source}">'
        f"<details><summary>What the figure shows</summary><p>{alt}</p></details></figure>"
    )


def figures_as_html(notebook: NotebookNode, name: str) -> NotebookNode:
    """The same for all outputs of a notebook, and its explorers made alive; `name` is said in an error."""
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", []):
            if kept := output.get("data", {}).pop(explorer.MIME, None):
                output.data["text/html"] = explorer.static_html(**kept)
            if "image/png" in output.get("data", {}):
                try:
                    figure_as_html(output)
                except ValueError as error:
                    raise ValueError(f"{name}, cell {number}: {error}") from error
    return notebook


class _Stage:
    def __init__(self, root: Path, folder: Path):
        self.root, self.folder = root.resolve(), folder

    def relinked(self, text: str, source: Path) -> str:
        """A text whose links to the README lead to the first page; other files that it links to are copied."""

        def link(found: re.Match) -> str:
            address = found[2]
            if ":" in address:
                return found[0]
            there = (self.root / source.parent / address).resolve()
            if there.is_dir() and (there / "README.md").is_file():
                there /= "README.md"
            if not there.is_file() or not there.is_relative_to(self.root):
                raise ValueError(
                    f"{source}: the link {address} leads to no file of the repository. Correct it there."
                )
            there = there.relative_to(self.root)
            target = Path("index.md") if there == Path("README.md") else there
            if there.suffix not in (".md", ".ipynb"):
                (self.folder / there.parent).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.root / there, self.folder / there)
            return found[1] + Path(os.path.relpath(target, source.parent)).as_posix()

        return LINK.sub(link, text)

    def page(self, source: Path, target: Path | None = None, ending: str = "") -> None:
        """One text or notebook."""
        import nbformat

        path, out = self.root / source, self.folder / (target or source)
        out.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            text = self.relinked(path.read_text(encoding="utf-8"), source)
            out.write_text(text + ending, encoding="utf-8")
            return
        notebook = figures_as_html(nbformat.read(path, as_version=4), path.name)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = self.relinked(cell.source, source)
        nbformat.write(notebook, out)

    def below(self, index: Path) -> str:
        """The pages of an index's folder to which it links; returns their table of contents."""
        text = (self.root / index).read_text(encoding="utf-8")
        names = [address for _, address in LINK.findall(text) if re.fullmatch(r"\w+\.md", address)]
        for name in names:
            self.page(index.with_name(name))
        pages = "\n".join(name.removesuffix(".md") for name in names)
        return CONTENTS.format(caption=INDEXES[index], pages=pages)


def modules(package: Path) -> dict[str, list[str]]:
    """Dotted names of a package's modules by the part of it that they are in: {"vlmcourse.parts": ["vlmcourse.parts.masks", ...]}."""
    found: dict[str, list[str]] = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        if parts[-1] == "__main__":
            continue
        inside = len(parts) > 2
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.setdefault(".".join(parts[:2]) if inside else package.name, []).append(name)
    return found


def reference(package: Path, folder: Path) -> list[str]:
    """Writes a page for each part of a package, with all its modules; returns their names."""
    folder.mkdir()
    found = modules(package)
    for part, names in found.items():
        text = f"{part}\n{'=' * len(part)}\n"
        text += "".join(MODULE.format(name=name, line="-" * len(name)) for name in names)
        (folder / f"{part}.rst").write_text(text, encoding="utf-8")
    return list(found)


def stage(root: Path, folder: Path) -> None:
    """Fills an empty folder with the pages of the repository at `root`. ValueError for a link that leads nowhere, and for a
    figure without a description."""
    staged, contents = _Stage(root, folder), ""
    for caption, patterns in TITLES.items():
        sources = [path for pattern in patterns for path in sorted(root.glob(pattern))]
        sources = [path.relative_to(root) for path in sources]
        for source in sources:
            ending = staged.below(source) if source in INDEXES else ""
            staged.page(source, ending=ending)
        pages = [source.with_suffix("").as_posix() for source in sources]
        contents += CONTENTS.format(caption=caption, pages="\n".join(pages))
    names = reference(root / "vlmcourse", folder / "reference")
    pages = [f"{name.removeprefix('vlmcourse.')} <reference/{name}>" for name in names]
    contents += CONTENTS.format(caption="API reference", pages="\n".join(pages))
    staged.page(Path("README.md"), Path("index.md"), contents)
