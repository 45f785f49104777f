"""The course as static pages: `vlmcourse site`. Built offline by Sphinx; a browser that shows them loads nothing from elsewhere.

stage       the texts and notebooks that become pages, as Sphinx wants them
extensions  formulas as MathML, docstrings as they are written
build       the site, and one executed notebook as a page of its own
check       links, alternative texts, headings, and that nothing is loaded from elsewhere
"""

from docs.site.build import build, notebook_page
from docs.site.check import check

__all__ = ["build", "check", "notebook_page"]
