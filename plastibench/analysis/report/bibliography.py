"""BibTeX entries of the project and of the papers that methods cite in their docstrings."""

import re
from collections.abc import Iterable, Iterator

from plastibench.plugins.plugin import Plugin
from plastibench.plugins.registry import Registry
from plastibench.version import __version__

_AUTHORS = r"(?:([A-Z][\w&.,\s-]*?)\s+((?:19|20)\d\d),\s+)?"
CITATION = re.compile(rf"{_AUTHORS}(?:https?://)?[aA]r[xX]iv(?:\.org/\w+/|[:\s]\s*)(\d{{4}}\.\d{{4,5}})")
PLACEHOLDER = "0000.00000"
"""The number in the template of a method."""
PROJECT = f"""@software{{plastibench,
  author  = {{{{The plastibench developers}}}},
  title   = {{{{plastibench}}: which remedy for loss of plasticity works, and what does it cost?}},
  version = {{{__version__}}},
}}"""


def bibliography(methods: Iterable[str], kept: Iterable[Plugin] = ()) -> str:
    """Return BibTeX for the project and for the papers of methods: shipped, installed, or in `kept`."""
    registry = Registry()
    plugins = {name: [registry.get("method", name)] for name in registry.names("method")}
    for plugin in (plugin for plugin in kept if plugin.kind == "method"):
        plugins.setdefault(plugin.name, []).append(plugin)
    entries: dict[str, str] = {}
    for plugin in (plugin for name in sorted(set(methods)) for plugin in plugins.get(name, ())):
        for number, entry in _papers(plugin):
            entries.setdefault(number, entry)
    return "\n\n".join([PROJECT, *(entry for _, entry in sorted(entries.items()))])


def _papers(plugin: Plugin) -> Iterator[tuple[str, str]]:
    """Yield (arXiv number, entry) for the papers in the docstrings of a plug-in."""
    try:
        docstrings = list(plugin.docstrings())
    except (OSError, SyntaxError):  # it cannot be read any more
        return
    for docstring in docstrings:
        for authors, year, number in CITATION.findall(docstring):
            if number != PLACEHOLDER:
                yield number, _entry(authors, year, number)


def _entry(authors: str, year: str, number: str) -> str:
    names = " and ".join(re.split(r",\s*|\s*&\s*|\s+and\s+", authors.strip()))
    fields = [f"  author        = {{{names.replace(' et al.', ' and others')}}},"] if names else []
    fields += [f"  year          = {{{year}}},"] if year else []
    fields += [f"  eprint        = {{{number}}},", "  archivePrefix = {arXiv},"]
    fields += [f"  url           = {{https://arxiv.org/abs/{number}}},"]
    return "\n".join([f"@misc{{arxiv-{number},", *fields, "}"])
