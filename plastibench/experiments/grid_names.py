"""Names of settings in a grid: whether anything has them, and what somebody means who writes another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from plastibench.errors import RequestError, unknown
from plastibench.plugins.fields import setting_names

if TYPE_CHECKING:
    from plastibench.plugins.regime import Regime
    from plastibench.plugins.registry import Registry
    from plastibench.plugins.task import Task

Named = Mapping[str, Iterable[str]]
"""The plug-ins of a grid whose settings need their name: names of methods and of probes, by kind."""


def check_names(names: Iterable[str], task: Task, where: str, registry: Registry, named: Named) -> None:
    """Raise RequestError for a setting that neither the task nor its regime, recipe or model has."""
    regime: Regime | None = getattr(task, "regime", None)
    model = task.architecture if task.uses_architecture() else None
    regimes = () if regime is None else regime.chain()
    parts = [part for part in (task, task.recipe, model, *regimes) if part is not None]
    known = {name for part in parts for name in setting_names(type(part))}
    known |= set() if regime is None else {"regime"}
    for name in names:
        if name not in known:
            _check_owner(name, regime, registry, named)
            raise unknown(f"setting of {where}", name, known, _further(registry, named))


def _check_owner(setting: str, regime: Regime | None, registry: Registry, named: Named) -> None:
    """Raise RequestError for a setting of another regime, or one that lacks the name of its plug-in."""
    owned = [full for full in _of_plugins(registry, named) if full.partition(".")[2] == setting]
    if owned:
        full = " or ".join(owned)
        raise RequestError(f"no setting of the task, recipe or model named {setting!r}: write {full}")
    for name in [] if regime is None else registry.names("regime"):
        if setting in setting_names(registry.load("regime", name)):
            given = registry.find("regime", regime).name
            raise RequestError(
                f"{setting} means nothing with regime={given}: leave it out, or set regime={name}"
            )


def _further(registry: Registry, named: Named) -> Iterator[str]:
    """Yield what may be meant beside the settings of the task, its regime, its recipe and its model."""
    yield from _of_plugins(registry, named)
    for name in registry.names("regime"):
        yield from setting_names(registry.load("regime", name))


def _of_plugins(registry: Registry, named: Named) -> Iterator[str]:
    for kind, names in named.items():
        for name in names:
            yield from (f"{name}.{one}" for one in setting_names(registry.load(kind, name)))
