"""Sphinx builds the documentation by this file: `sphinx-build -W -n docs docs/_build`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "tcd-hf"
author = "the tcd-hf authors"
html_title = "tcd-hf"

extensions = ["myst_parser", "sphinx.ext.autodoc", "markdown_docstrings"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # the docstrings tell types
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
add_module_names = False
nitpick_ignore = [("py:obj", "transformers.pipeline")]
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
