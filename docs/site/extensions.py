"""What Sphinx is told beyond its configuration: formulas become MathML, docstrings stay as they are written."""

from __future__ import annotations

import re


def mathml(formula: str, block: bool = False) -> str:
    """A formula in LaTeX as MathML, which browsers draw themselves. ValueError for a command that isn't known."""
    from latex2mathml.converter import convert

    made = convert(formula, display="block" if block else "inline")
    if unknown := re.search(r">\s*(\\[A-Za-z]+)", made):
        raise ValueError(f"the formula {formula} has an unknown command {unknown[1]}.")
    return made


def _formula(block: bool):
    def visit(translator, node) -> None:
        from docutils.nodes import SkipNode

        made = mathml(node.astext(), block)
        translator.body.append(
            f'<div class="formula" tabindex="0" role="math">{made}</div>' if block else made
        )
        raise SkipNode

    return visit


def as_written(app, what, name, obj, options, lines: list[str]) -> None:
    """A docstring: its first paragraph as a sentence, the rest with its line breaks."""
    text = "\n".join(lines).strip()
    first, _, rest = text.partition("\n\n")
    sentence = " ".join(re.sub(r"([\\*|_<>])", r"\\\1", first).split())
    sentence = re.sub(r"`([^`]+)`", lambda found: f"``{found[1].replace(chr(92), '')}``", sentence)
    lines[:] = [sentence, ""]
    if rest:
        lines += [".. code-block:: text", "", *(f"   {line}" for line in rest.splitlines()), ""]


def setup(app) -> dict:
    """Sphinx calls this."""
    app.add_html_math_renderer("mathml", (_formula(False), None), (_formula(True), None))
    app.connect("autodoc-process-docstring", as_written)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
