"""The methods, tasks, models and suites that can be named, read without importing them."""

from __future__ import annotations

from typing import Any

from plastibench.errors import unknown
from plastibench.experiments import suites
from plastibench.plugins import plugin
from plastibench.plugins.registry import Registry

KINDS = {**{f"{kind}s": kind for kind in plugin.KINDS}, "suites": "suite"}

Listing = dict[str, dict[str, str]]
"""Heading, then name, then description."""


def list_plugins(registry: Registry, kind: str | None = None) -> Listing:
    """Return names and summaries of one of `KINDS`, or of all."""
    return {heading: _summaries(heading, registry) for heading in ([kind] if kind else KINDS)}


def describe_plugin(registry: Registry, name: str) -> Listing:
    """Return the settings, presets and search ranges of a plug-in, which is imported."""
    kind = next((kind for kind in plugin.KINDS if name in registry.names(kind)), None)
    if kind is None:
        names = [name for kind in plugin.KINDS for name in registry.names(kind)]
        raise unknown(f"kind, {', '.join(plugin.KINDS)}", name, [*KINDS, *names])
    listing = _describe(cls := registry.load(kind, name))
    default_regime = getattr(cls, "regime", None)
    if default_regime is not None:
        default, names = registry.find("regime", default_regime).name, registry.names("regime")
        listing["settings"]["regime"] = f"{default} ({' or '.join(names)})"
    return listing


def _summaries(heading: str, registry: Registry) -> dict[str, str]:
    if heading == "suites":
        return dict(suites.summaries())
    kind = KINDS[heading]
    return {name: registry.get(kind, name).summary() for name in registry.names(kind)}


def _describe(cls: Any) -> Listing:  # noqa: ANN401 - a plug-in's class
    from plastibench.plugins.fields import describe, search_space
    from plastibench.plugins.values import show

    settings = {name: f"{default or 'required'} ({allowed})" for name, default, allowed in describe(cls)}
    listing: Listing = {"settings": settings}
    space = search_space(cls)
    if space:
        listing["search ranges"] = {
            n: f"{r.low:g} to {r.high:g}{', logarithmic' if r.log else ''}" for n, r in space.items()
        }
    units = getattr(cls, "units", {})
    if units:
        listing["measurements"] = {name: unit or "no unit" for name, unit in units.items()}
    presets = getattr(cls, "presets", {})
    if presets:
        listing["presets"] = {
            n: ", ".join(f"{k}={show(v)}" for k, v in values.items()) or "the defaults"
            for n, values in presets.items()
        }
    return listing
