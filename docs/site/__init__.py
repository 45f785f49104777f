"""The course as static pages: `vlmcourse site`. Built offline; a browser that shows them loads nothing from elsewhere.

maths      TeX of the lessons -> MathML, which browsers draw themselves
pages      Markdown and executed notebooks -> HTML
reference  docstrings -> HTML, without importing anything
build      which pages there are, and the links between them
check      links, alternative texts, headings, and that nothing is loaded from elsewhere
"""

from docs.site.build import build
from docs.site.check import check
from docs.site.pages import notebook_page

__all__ = ["build", "check", "notebook_page"]
