"""What there is to name on a command line, read without importing it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plastibench.errors import unknown
from plastibench.experiments import suites
from plastibench.plugins.registry import Registry

KINDS = {"methods": "method", "tasks": "task", "models": "model", "suites": "suite"}

Listing = dict[str, dict[str, str]]
"""Heading, then name, then what is said of it."""


def kinds(what: str | None, plugins: Sequence[Path]) -> Listing:
    """Return names and summaries of one kind, or of all."""
    registry = Registry(tuple(plugins))
    return {kind: _names(kind, registry) for kind in ([what] if what else KINDS)}


def settings(name: str, plugins: Sequence[Path]) -> Listing:
    """Return the settings, presets and ranges of a method, task or model; this one imports it."""
    registry = Registry(tuple(plugins))
    kind = next((kind for kind in ("method", "task", "model") if name in registry.names(kind)), None)
    if kind is None:
        every = [n for kind in ("method", "task", "model") for n in registry.names(kind)]
        raise unknown("kind, method, task or model", name, [*KINDS, *every])
    return _describe(registry.load(kind, name))


def _names(kind: str, registry: Registry) -> dict[str, str]:
    if kind == "suites":
        return dict(suites.summaries())
    return {name: registry.get(KINDS[kind], name).summary() for name in registry.names(KINDS[kind])}


def _describe(loaded: Any) -> Listing:  # noqa: ANN401 - a class of any of three contracts
    from plastibench.plugins.fields import describe, search_space, show

    found: Listing = {"settings": {n: f"{default} ({allowed})" for n, default, allowed in describe(loaded)}}
    space = search_space(loaded)
    if space:
        found["searched"] = {
            n: f"{r.low:g} to {r.high:g}{', logarithmic' if r.log else ''}" for n, r in space.items()
        }
    presets = getattr(loaded, "presets", {})
    if presets:
        found["presets"] = {
            n: ", ".join(f"{k}={show(v)}" for k, v in values.items()) or "the defaults"
            for n, values in presets.items()
        }
    return found


def text(found: Listing) -> str:
    """Return a listing as aligned lines."""
    lines = []
    for heading, entries in found.items():
        lines.append(f"{heading}:")
        width = max((len(name) for name in entries), default=0)
        lines += [f"  {name:<{width}}  {said}".rstrip() for name, said in entries.items()]
    return "\n".join(lines)
