"""The site by Sphinx, and a single executed notebook by nbconvert."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from docs.site.extensions import mathml
from docs.site.stage import figures_as_html, stage

CONFIGURATION = Path(__file__).parent
MARK = ".site"
"""Says that a folder holds a site, which may be replaced."""
FORMULA = re.compile(
    r"(```.*?```|`[^`\n]*`)|\$\$(.+?)\$\$|(?<![\\$\w])\$([^$\n]*[^$\n\s])\$(?![\w$])", re.S
)
FOLD = '<summary><span class="toctree-toggle"'
"""The theme's arrow beside a page of the side bar that has pages below it: no screen reader says what it is."""
FROM_ELSEWHERE = ("mathjax_url", "require_js_url", "jquery_url", "mermaid_js_url")


def build(root: Path, out: Path) -> list[Path]:
    """Builds the site of the repository at `root` into the folder `out`; returns the files it wrote.

    Raises ValueError for a link that leads nowhere, a figure without a description, whatever else Sphinx warns of, and for a
    folder that holds something else.
    """
    if out.exists() and any(out.iterdir()):
        if not (out / MARK).is_file():
            raise ValueError(
                f"{out} holds files that are no site, and would be lost. Choose another folder: --out FOLDER"
            )
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()  # first: a broken build can be repeated
    with TemporaryDirectory() as pages, TemporaryDirectory() as cache:
        stage(root, Path(pages))
        warnings = Path(cache, "warnings.txt")
        # in a process of its own: autodoc changes the functions that it describes
        command = [sys.executable, "-m", "sphinx", "-q", "-w", warnings, "-c", CONFIGURATION]
        command += ["-d", cache, pages, out]
        done = subprocess.run(command, capture_output=True, text=True)
        said = warnings.read_text(encoding="utf-8") if warnings.is_file() else ""
        said = said.replace(f"{pages}/", "") or (done.stderr if done.returncode else "")
    if said:
        raise ValueError(f"the site was built with warnings:\n{said}")
    name_folds(out)
    return [path for path in out.rglob("*") if path.is_file()]


def name_folds(out: Path) -> None:
    """The arrows of the side bar get a name that screen readers say."""
    named = FOLD.replace("<summary>", '<summary aria-label="pages below">')
    for path in out.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        if FOLD in text:
            path.write_text(text.replace(FOLD, named), encoding="utf-8")


def _with_mathml(text: str) -> str:
    """Markdown whose formulas are MathML; code keeps its dollars."""
    return FORMULA.sub(
        lambda found: found[1] or mathml((found[2] or found[3]).strip(), bool(found[2])), text
    )


def notebook_page(path: Path) -> Path:
    """One executed notebook as a page of its own beside it. Returns the page."""
    import nbformat
    from nbconvert import HTMLExporter

    notebook = figures_as_html(nbformat.read(path, as_version=4), path.name)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _with_mathml(cell.source)
    exporter = HTMLExporter(template_name="lab", **dict.fromkeys(FROM_ELSEWHERE, ""))
    text, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": path.stem}})
    target = path.with_suffix(".html")
    target.write_text(text, encoding="utf-8")
    return target
