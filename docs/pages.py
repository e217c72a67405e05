"""Markdown that the pages of the site get from the code: marked places, tables, docstrings."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path

from plastibench.plugins.fields import Settings, describe, search_space
from plastibench.plugins.values import show

MARKER = re.compile(r"<!-- generated: (\w+)((?: \w+)*) -->")
"""A comment that stands for what a function `page` in docs/reference/NAME.py returns for the words."""
OTHERS = re.compile(r"<!-- all others in (\S+) -->")
"""A comment in a list of pages that stands for the pages of a folder that the lists do not name."""
NOT_MARKUP = re.compile(r"`[^`]*`|[*_|<>]")


def filled(text: str) -> str:
    """Return the Markdown of a page with its marked places filled in."""
    return MARKER.sub(lambda found: generated(found[1], *found[2].split()), text)


def generated(name: str, *words: str) -> str:
    """Return the Markdown that docs/reference/NAME.py makes of the code."""
    text: str = importlib.import_module(f"reference.{name}").page(*words)
    return text


def listed(index: str, folder: Path) -> str:
    """Return the index with the pages that it does not name in place of comments."""

    def others(found: re.Match[str]) -> str:
        names = {
            path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob(f"{found[1]}/*.md")
        }
        return "\n".join(sorted(names - {"index", *index.splitlines()}))

    return OTHERS.sub(others, index)


def escaped(text: str) -> str:
    """Return plain text in which only code between backticks is markup."""
    return NOT_MARKUP.sub(lambda found: found[0] if "`" in found[0] else f"\\{found[0]}", text)


def code(text: str) -> str:
    """Return text as code that may stand in a cell of a table."""
    return f"`{text}`".replace("|", "\\|") if text else ""


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table of cells that are Markdown."""
    header = list(header)
    lines = [header, ["---"] * len(header), *map(list, rows)]
    return "".join(f"| {' | '.join(' '.join(cell.split()) for cell in line)} |\n" for line in lines)


def docstring(cls: object) -> str:
    """Return a docstring with one line for each paragraph; outside of code nothing is markup."""
    paragraphs = (inspect.getdoc(cls) or "").split("\n\n")
    return escaped("\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs))


def attribute_docs(cls: type) -> dict[str, str]:
    """Return the docstrings below the attributes of a class, and of the classes that it extends."""
    docs: dict[str, str] = {}
    for part in reversed(cls.__mro__):
        docs |= {name: text or docs.get(name, "") for name, text in _own_docs(part).items()}
    return docs


@cache
def _own_docs(cls: type) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError):  # built in
        return {}
    return dict(_documented(tree.body[0]))


def _documented(cls: ast.stmt) -> Iterator[tuple[str, str]]:
    assert isinstance(cls, ast.ClassDef)
    for statement, following in zip(cls.body, [*cls.body[1:], ast.Pass()], strict=True):
        target = getattr(statement, "target", None) or (getattr(statement, "targets", None) or [None])[0]
        if not isinstance(target, ast.Name):
            continue
        text = ""
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            text = str(following.value.value)
        yield target.id, escaped(" ".join(text.split()))


def settings_table(cls: type[Settings], leave_out: Collection[str] = ()) -> str:
    """Return a table of the settings of a plug-in: default, what is allowed, the range to search, meaning."""
    docs, ranges = attribute_docs(cls), search_space(cls)
    rows = [
        [code(name), code(default), escaped(allowed), _range(ranges.get(name)), docs.get(name, "")]
        for name, default, allowed in describe(cls)
        if name not in leave_out
    ]
    if not rows:
        return "No settings of its own.\n"
    if not ranges:
        return table(["setting", "default", "allowed", "meaning"], [[*row[:3], row[4]] for row in rows])
    return table(["setting", "default", "allowed", "tuned", "meaning"], rows)


def _range(space: object) -> str:
    if space is None:
        return ""
    low, high, log = (getattr(space, name) for name in ("low", "high", "log"))
    return f"{show(low)} to {show(high)}{', logarithmic' if log else ''}"
