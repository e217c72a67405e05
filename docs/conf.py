"""How Sphinx makes the site (`make docs`).

The source folder is the checkout itself, so that a link between README, docs/ and results/ leads to the same
page here and on a code host. Nothing is loaded from a network, neither by the build nor by the pages.
"""

import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]  # the package of this checkout, not one that is installed

from pages import filled, listed  # noqa: E402

from plastibench.version import __version__  # noqa: E402

project = "plastibench"
author = copyright = "The plastibench developers"
release = version = __version__

root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "examples/README.md", "results/*.md"]
exclude_patterns = [
    "AGENTS.md",
    "SECURITY.md",
    ".*",
    "**/__pycache__",
    "docs/_build",
    "benchmarks",
    "build",
    "dist",
    "tests",
]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
myst_heading_anchors = 4
highlight_language = "text"

default_role = "code"  # docstrings write code between single backticks
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "plastibench"
html_show_sphinx = html_show_sourcelink = html_copy_source = False
html_show_search_summary = False  # a page that is opened as a file must not fetch others
html_additional_pages = {"index": "redirect.html"}
templates_path = ["templates"]


def complete(app: Sphinx, page: str, source: list[str]) -> None:
    """Add to the Markdown of a page what the code says, and to the index what it does not name."""
    text = source[0]
    if not re.search(r"^# ", text, re.MULTILINE):  # a table as `plastibench table` prints it
        text = f"# {Path(page).name}\n\n" + text.replace("### ", "## ")
    source[0] = listed(filled(text), ROOT / "docs")


MARKUP = re.compile(r"``[^`]*``|`[^`]*`|(?<=\w)_(?!\w)|[*|]")
ATTRIBUTES = ("attribute", "data", "property")
_docstrings: dict[str, list[str]] = {}


def escape(app: Sphinx, what: str, name: str, *event: Any) -> None:  # noqa: ANN401 - as Sphinx passes it
    """Escape what is no markup in docstrings, which are plain text with code between backticks."""
    lines: list[str] = event[-1]
    text = "\n".join(lines)
    lines[:] = MARKUP.sub(lambda part: part[0] if "`" in part[0] else f"\\{part[0]}", text).split("\n")
    _docstrings[name] = list(lines)


def restore(app: Sphinx, what: str, name: str, *event: Any) -> None:  # noqa: ANN401
    """Undo what napoleon does to the docstring of an attribute: it takes text before a colon for a type."""
    if what in ATTRIBUTES:
        event[-1][:] = _docstrings[name]


SCROLLED = re.compile(r'<(pre|div class="table-wrapper[^"]*")(?=>)')


def reachable(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Let a keyboard scroll what is too wide, and give the headings of the navigation their level."""
    context["body"] = SCROLLED.sub(r'<\1 tabindex="0"', context.get("body") or "")
    navigation = context.get("furo_navigation_tree") or ""
    context["furo_navigation_tree"] = navigation.replace('role="heading"', 'role="heading" aria-level="2"')


def setup(app: Sphinx) -> None:
    """Connect what this file adds."""
    app.connect("source-read", complete)
    app.connect("autodoc-process-docstring", escape, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", restore, priority=600)  # after it
    app.connect("html-page-context", reachable, priority=600)  # after furo
