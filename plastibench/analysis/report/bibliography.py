"""How to cite: the project, and the paper that each method's file names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from plastibench.plugins.registry import Registry
from plastibench.version import __version__

PAPER = re.compile(r"(?:([A-Z][\w&.,\s-]*?)\s+((?:19|20)\d\d),\s+)?arXiv\s+(\d{4}\.\d{4,5})")
PROJECT = f"""@software{{plastibench,
  author  = {{{{The plastibench developers}}}},
  title   = {{{{plastibench}}: which remedy for loss of plasticity works, and what does it cost?}},
  version = {{{__version__}}},
}}"""


def bibliography(methods: Iterable[str]) -> str:
    """Return BibTeX for the project and the papers of the methods that are shipped or installed here."""
    registry = Registry()
    known = set(registry.names("method"))
    entries: dict[str, str] = {}
    for name in sorted(set(methods) & known):
        path = registry.get("method", name).path
        if path is not None:
            for number, entry in _papers(path.read_text(encoding="utf-8")):
                entries.setdefault(number, entry)
    return "\n\n".join([PROJECT, *(entries[number] for number in sorted(entries))])


def _papers(source: str) -> Iterator[tuple[str, str]]:
    """Yield (arXiv number, entry) for the papers that the docstrings of a file name."""
    nodes = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Module | ast.ClassDef))
    for text in filter(None, map(ast.get_docstring, nodes)):
        for authors, year, number in PAPER.findall(text):
            if number != "0000.00000":
                yield number, _entry(authors, year, number)


def _entry(authors: str, year: str, number: str) -> str:
    """Return an entry with what the docstring says: authors and year where it says them."""
    who = " and ".join(re.split(r",\s*|\s*&\s*|\s+and\s+", authors.strip())).replace(" et al.", " and others")
    lines = [f"  author        = {{{who}}},"] if who else []
    lines += [f"  year          = {{{year}}},"] if year else []
    lines += [f"  eprint        = {{{number}}},", "  archivePrefix = {arXiv},"]
    return "\n".join(
        [f"@misc{{arxiv-{number},", *lines, f"  url           = {{https://arxiv.org/abs/{number}}},", "}"]
    )
