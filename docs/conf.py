"""How Sphinx makes the site from these pages and from the docstrings; `.ci/run` has the command.

Fetches nothing, and the pages it makes need no network. With `-W` a missing page, anchor, file or
public name fails the build.
"""

import sys

from yt8m_ensemble.cli.silence_tensorflow import SilenceTensorFlow

sys.meta_path.insert(0, SilenceTensorFlow())  # docstrings are read from the running modules

project = "yt8m_ensemble"
html_title = project
html_theme = "furo"
html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["wide.css"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

myst_heading_anchors = 3
smartquotes = False  # `--option` keeps its dashes
nitpicky = True
nitpick_ignore_regex = [("py:class", r"(collections|numpy|msgspec)\..*")]  # other projects' pages

default_role = "code"
autodoc_typehints = "none"  # signatures would be longer than what they describe
autodoc_class_signature = "separated"
autodoc_member_order = "bysource"
napoleon_use_ivar = True
