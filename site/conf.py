"""Sphinx's settings for the course's website; ``tasks.py site`` builds it.

This folder holds the settings and the files that pages need. The pages themselves stay where GitHub shows
them, and ``tools.website`` gathers them.
"""

from pathlib import Path

from d2lseg import __version__
from tools import commands

HERE = Path(__file__).resolve().parent

project = "Fully convolutional networks, hands on"
author = "The d2lseg authors"
copyright = "the d2lseg authors: code under MIT, prose and figures under CC BY 4.0"
version = release = __version__
language = "en-GB"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_togglebutton",
    "tools.website_pages",
]
exclude_patterns = ["**/.ipynb_checkpoints"]
suppress_warnings = [
    "myst.header",  # an exercise's heading may skip a level; the pages' headings follow the nesting
    "mystnb.unknown_mime_type",
]

nb_execution_mode = "off"  # the outputs are those that the notebooks hold
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = False
napoleon_use_rtype = False
default_role = "py:obj"
add_module_names = False

copybutton_exclude = ".linenos, .gp, .go"
togglebutton_selector = ".toggle, .admonition.dropdown, .cell.tag_solution"
togglebutton_hint = "Show the answer"
togglebutton_hint_hide = "Hide the answer"

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = [str(HERE / "static")]
html_css_files = ["course.css"]
html_js_files = ["course.js"]
html_copy_source = True
html_show_sphinx = False
mathjax_path = "mathjax/tex-chtml.js"
# The menu would make each formula a stop of the Tab key. Screen readers get MathML without it.
mathjax3_config = {"options": {"enableMenu": False}}

# Without an address of its own the course offers downloads only, and no button that leads to a stranger.
repository = commands.current_repository(HERE.parent)
html_theme_options = {
    "use_download_button": True,
    "use_fullscreen_button": False,
    "navbar_persistent": [],  # the search field of the side bar is enough
    "show_navbar_depth": 0,  # parts are folded, except the one that a page belongs to
    "show_toc_level": 2,
}
if repository:
    html_theme_options |= {
        "repository_url": f"https://github.com/{repository}",
        "repository_branch": "main",
        "use_repository_button": True,
        "use_issues_button": True,
        "launch_buttons": {
            "colab_url": "https://colab.research.google.com",
            "notebook_interface": "jupyterlab",
        },
    }
