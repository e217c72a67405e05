"""The methods, tasks, models and suites that can be named, read without importing them."""

from __future__ import annotations

from typing import Any

from plastibench.errors import unknown
from plastibench.experiments import suites
from plastibench.plugins.registry import Registry

KINDS = {"methods": "method", "tasks": "task", "models": "model", "suites": "suite"}

Listing = dict[str, dict[str, str]]
"""Heading, then name, then description."""


def list_plugins(registry: Registry, kind: str | None = None) -> Listing:
    """Return names and summaries of one of `KINDS`, or of all."""
    return {heading: _summaries(heading, registry) for heading in ([kind] if kind else KINDS)}


def describe_plugin(registry: Registry, name: str) -> Listing:
    """Return the settings, presets and search ranges of a method, task or model, which is imported."""
    kind = next((kind for kind in ("method", "task", "model") if name in registry.names(kind)), None)
    if kind is None:
        names = [name for kind in ("method", "task", "model") for name in registry.names(kind)]
        raise unknown("kind, method, task or model", name, [*KINDS, *names])
    return _describe(registry.load(kind, name))


def _summaries(heading: str, registry: Registry) -> dict[str, str]:
    if heading == "suites":
        return dict(suites.summaries())
    kind = KINDS[heading]
    return {name: registry.get(kind, name).summary() for name in registry.names(kind)}


def _describe(cls: Any) -> Listing:  # noqa: ANN401 - a class of any of three contracts
    from plastibench.plugins.fields import describe, search_space, show

    listing: Listing = {"settings": {n: f"{default} ({allowed})" for n, default, allowed in describe(cls)}}
    space = search_space(cls)
    if space:
        listing["search ranges"] = {
            n: f"{r.low:g} to {r.high:g}{', logarithmic' if r.log else ''}" for n, r in space.items()
        }
    presets = getattr(cls, "presets", {})
    if presets:
        listing["presets"] = {
            n: ", ".join(f"{k}={show(v)}" for k, v in values.items()) or "the defaults"
            for n, values in presets.items()
        }
    return listing
