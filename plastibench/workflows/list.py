"""The plug-ins, recipes and suites that can be named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from plastibench.errors import unknown
from plastibench.experiments import suites
from plastibench.experiments.suites import Suite
from plastibench.plugins import fields, plugin
from plastibench.plugins.fields import Settings, search_space, settings_of
from plastibench.plugins.registry import Registry
from plastibench.plugins.values import show

if TYPE_CHECKING:
    from plastibench.plugins.recipe import Recipe
    from plastibench.plugins.regime import Regime

RECIPES = "recipes"
KINDS = {**{f"{kind}s": kind for kind in plugin.KINDS}, "suites": "suite"}

Listing = dict[str, dict[str, str]]
"""Heading, then name, then description."""


def list_plugins(registry: Registry, kind: str | None = None) -> Listing:
    """Return names and summaries of one of `KINDS`, or of all."""
    return {heading: _summaries(heading, registry) for heading in ([kind] if kind else KINDS)}


def list_recipes(registry: Registry) -> Listing:
    """Return the names of the recipes of each task; installed tasks are not imported for it."""
    names = {}
    for name in registry.names("task"):
        plugin = registry.get("task", name)
        names[name] = f"(see `list {name}`)" if plugin.path is None else ", ".join(_recipes(registry, name))
    return {"recipes": names}


def describe(registry: Registry, name: str) -> Listing:
    """Return the settings, recipes, presets and search ranges of a plug-in, or the grids of a suite.

    The plug-in is imported. If several kinds have the name, each heading begins with the kind.
    """
    kinds = [kind for kind in plugin.KINDS if name in registry.names(kind)]
    listings = {kind: _describe_plugin(registry, kind, name) for kind in kinds}
    if name in suites.names():
        listings["suite"] = _describe_suite(suites.load(name))
    if not listings:
        names = [name for kind in plugin.KINDS for name in registry.names(kind)]
        raise unknown(
            f"kind, suite, {', '.join(plugin.KINDS)}", name, [*KINDS, RECIPES, *suites.names(), *names]
        )
    if len(listings) == 1:
        return listings.popitem()[1]
    return {
        f"{kind}, {heading}": entries
        for kind, listing in listings.items()
        for heading, entries in listing.items()
    }


def _summaries(heading: str, registry: Registry) -> dict[str, str]:
    if heading == "suites":
        return dict(suites.summaries())
    kind = KINDS[heading]
    return {name: registry.get(kind, name).summary() for name in registry.names(kind)}


def _describe_plugin(registry: Registry, kind: str, name: str) -> Listing:
    listing = _describe_class(cls := registry.load(kind, name))
    if kind == "regime":
        listing["regime"] = _describe_regime(registry, name, cls)
    if kind != "task":
        return listing
    from plastibench.plugins.recipe import Recipe
    from plastibench.plugins.regime import Regime

    if isinstance(regime := getattr(cls, "regime", None), Regime):
        default = registry.find("regime", regime).name
        listing["settings"]["regime"] = f"{default} ({' or '.join(registry.names('regime'))})"
    usual = settings_of(Recipe())
    listing["recipe settings"] = _settings(Recipe)
    listing[RECIPES] = {
        recipe: _assignments({k: v for k, v in settings_of(values).items() if v != usual[k]})
        for recipe, values in _recipes(registry, name).items()
    }
    return listing


def _describe_regime(registry: Registry, name: str, cls: type[Regime]) -> dict[str, str]:
    from plastibench.plugins.regime import Overlay

    lines = {"targets": "shift between stages" if cls.shifts_targets else "stay the same"}
    if issubclass(cls, Overlay):
        bases = [registry.find("regime", base).name for base in cls.usual_base().chain()]
        lines["usual base"] = f"{'+'.join(bases)} (regime={name}+BASE names another)"
    return lines


def _recipes(registry: Registry, task: str) -> Mapping[str, Recipe]:
    """Return the recipes of a task for its default model."""
    cls = registry.load("task", task)
    architecture = registry.load("model", cls.default_architecture)()
    with plugin.plugin_errors(f"task {task}"):
        recipes: Mapping[str, Recipe] = cls.recipes(architecture)
    return recipes


def _describe_suite(suite: Suite) -> Listing:
    references = {"baseline": suite.baseline or "", "cost_reference": suite.cost_reference or ""}
    listing: Listing = {suite.name: {"summary": suite.summary, **references}}
    for number, grid in enumerate(suite.grids, 1):
        choices = {
            "task": ", ".join(grid.tasks),
            "method": ", ".join(grid.methods),
            "model": ", ".join(grid.models) or "the task's default",
            "recipe": grid.recipe or "the task's first",
            "probe": ", ".join(grid.probes),
            "seeds": ", ".join(map(str, grid.seeds)),
            "device": grid.device,
            **grid.settings,
        }
        listing[f"grid {number}"] = {name: value for name, value in choices.items() if value}
    return listing


def _describe_class(cls: Any) -> Listing:  # noqa: ANN401 - a plug-in's class
    listing = {"settings": _settings(cls)}
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
        listing["presets"] = {name: _assignments(values) for name, values in presets.items()}
    return listing


def _settings(cls: type[Settings]) -> dict[str, str]:
    return {name: f"{default} ({allowed})" for name, default, allowed in fields.describe(cls)}


def _assignments(values: Mapping[str, object]) -> str:
    return " ".join(f"{name}={show(value)}" for name, value in values.items()) or "the defaults"
