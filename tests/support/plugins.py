"""Plug-ins of several modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plastibench.plugins.plugin import Plugin
from plastibench.plugins.registry import Registry
from support.commands import PLAIN

HELPER = "def factor():\n    return 2\n"


def write(folder: Path, **files: str) -> None:
    """Write files; in a name, __ stands for a slash and the suffix .py is added."""
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py" if name != "init" else "__init__.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def mine(*lines: str, hook: str = "from helper import factor; return factor()") -> str:
    """Return the source of a method; `lines` come before the class, and `result` calls what `hook` does."""
    head, at, body = PLAIN.partition("@dataclass")
    return "\n".join([head, *lines, at + body]) + f"\n    def result(self):\n        {hook}\n"


def loaded(file: Path, name: str = "mine") -> tuple[Any, Plugin]:
    """Return an instance of a method and its plug-in."""
    registry = Registry((file,))
    return registry.load("method", name)(), registry.get("method", name)
