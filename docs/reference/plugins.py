"""The shipped plug-ins of a kind, with their settings."""

from collections.abc import Iterator
from typing import Any

from pages import attribute_docs, code, docstring, escaped, settings_table, table

from plastibench.plugins.registry import Registry
from plastibench.workflows.list import describe

SHOWN = ("settings", "recipe settings", "search ranges")
"""Headings of `plastibench list NAME` that the table of settings has, or another page."""


def page(kind: str) -> str:
    """Return a table of all, and a section for each."""
    registry = Registry()
    names = registry.names(kind)
    rows = [[f"[`{name}`](#{name})", escaped(registry.get(kind, name).summary())] for name in names]
    sections = [_section(registry, kind, name, registry.load(kind, name)) for name in names]
    return "\n".join([table([kind, "what it is"], rows), *sections])


def _section(registry: Registry, kind: str, name: str, cls: Any) -> str:  # noqa: ANN401 - a plug-in's class
    parts = [f"## {name}", docstring(cls), settings_table(cls)]
    return "\n\n".join([*parts, *_lists(registry, name, cls)]) + "\n"


def _lists(registry: Registry, name: str, cls: type) -> Iterator[str]:
    """Yield what `plastibench list` says beyond the settings: recipes, measurements, presets."""
    for heading, entries in describe(registry, name).items():
        if heading in SHOWN:
            continue
        docs = attribute_docs(cls) if heading == "regime" else {}
        rows = [[code(entry), escaped(text) or docs.get(entry, "")] for entry, text in entries.items()]
        yield table([heading, ""], rows)
