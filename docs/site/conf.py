"""Sphinx's configuration."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "notebooks", ROOT / "grader"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

project = html_title = "vlmcourse"
copyright = "the vlmcourse contributors; lessons and texts: CC BY 4.0"
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_copybutton", "docs.site.extensions"]
nb_execution_mode = "off"  # lessons are executed when they are built
nb_ipywidgets_js = {}  # it would come from elsewhere
nb_merge_streams = True
nb_render_markdown_format = "myst"  # tables and formulas that cells print, as in the text
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_dmath_allow_space = False  # so that "$5 and $6" are prices
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
html_math_renderer = "mathml"
html_theme = "sphinx_book_theme"
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],
    "show_toc_level": 2,
    "use_download_button": True,
    "extra_footer": (
        'Emojis designed by <a href="https://openmoji.org">OpenMoji</a>, CC BY-SA 4.0; '
        "figures that show them are under the same licence."
    ),
}
html_static_path = ["static"]
html_css_files = ["course.css"]
html_show_sphinx = False
