"""BibTeX entries of the project and of the papers that methods cite in their docstrings."""

import ast
import re
from collections.abc import Iterable, Iterator

from plastibench.plugins.registry import Registry
from plastibench.version import __version__

CITATION = re.compile(r"(?:([A-Z][\w&.,\s-]*?)\s+((?:19|20)\d\d),\s+)?arXiv\s+(\d{4}\.\d{4,5})")
PLACEHOLDER = "0000.00000"
"""The number in the template of a method."""
PROJECT = f"""@software{{plastibench,
  author  = {{{{The plastibench developers}}}},
  title   = {{{{plastibench}}: which remedy for loss of plasticity works, and what does it cost?}},
  version = {{{__version__}}},
}}"""


def bibliography(methods: Iterable[str]) -> str:
    """Return BibTeX for the project and for the papers of the methods that are shipped or installed."""
    registry = Registry()
    entries: dict[str, str] = {}
    for name in sorted(set(methods) & set(registry.names("method"))):
        path = registry.get("method", name).path
        for number, entry in _papers(path.read_text(encoding="utf-8")) if path else ():
            entries.setdefault(number, entry)
    return "\n\n".join([PROJECT, *(entry for _, entry in sorted(entries.items()))])


def _papers(source: str) -> Iterator[tuple[str, str]]:
    """Yield (arXiv number, entry) for the papers in the docstrings of a source file."""
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Module | ast.ClassDef))
    for docstring in filter(None, map(ast.get_docstring, nodes)):
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
