"""Plug-ins as they were when runs were made: their kept source replaces files that have changed or gone."""

import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from plastibench.errors import RequestError
from plastibench.experiments.spec import Part, Spec
from plastibench.experiments.suites import Suite
from plastibench.plugins.plugin import Plugin
from plastibench.runner.workspace import Workspace
from plastibench.store import plugin_files, tuned_settings
from plastibench.store.record import Record
from plastibench.store.run_source import RunSource

logger = logging.getLogger(__name__)


def with_plugins_of_runs(
    workspace: Workspace, specs: Iterable[Spec], source: RunSource | None = None
) -> Workspace:
    """Return a workspace with the plug-ins that runs were started with, from the source kept with them.

    `source` has the runs, by default the workspace's home. Only what the workspace does not have, or has with
    other code, is taken from there. Raises RequestError for kept source that is damaged or not that of the
    run, and for a run that keeps none.
    """
    source, kept = source or workspace.store, dict[tuple[str, str, str], Plugin]()
    for spec in specs:
        for kind, part in spec.all_parts():
            key = (kind, part.name, part.code)
            if key not in kept and not workspace.registry.has(*key):
                plugin = _read(source, spec.id, kind, part)
                if plugin is not None:
                    kept[key] = plugin
                    path = source.plugins_path(spec.id)
                    _log(workspace, plugin, path, f"run {spec.id} was started")
                elif part.name not in workspace.registry.names(kind):
                    raise RequestError(
                        f"run {spec.id} keeps no source of {kind} {part.name}: pass its file with --plugin"
                    )
    return workspace.with_kept(kept.values())


def with_plugins_of_tuning(workspace: Workspace, suite: Suite) -> Workspace:
    """Return a workspace with the plug-ins of a suite that `tune` wrote, if they are not there by name.

    Raises RequestError for kept source that is damaged or not that of the tuning.
    """
    path = tuned_settings.plugins_path(workspace.home, suite.name)
    registry, kept = workspace.registry, []
    for plugin in plugin_files.read_plugins(path):
        if plugin.name not in suite.code:
            continue
        if plugin.name not in registry.names(plugin.kind):
            _check(path, plugin, suite.code[plugin.name])
            _log(workspace, plugin, path, "")
            kept.append(plugin)
    return workspace.with_kept(kept)


def warn_of_changes(suite: Suite, specs: Iterable[Spec]) -> None:
    """Log a warning for each plug-in whose code is not that for which a tuning chose the suite's settings."""
    parts = {(kind, part.name): part.code for spec in specs for kind, part in spec.all_parts()}
    for (kind, name), code in parts.items():
        if suite.code.get(name, code) != code:
            logger.warning(
                "%s %s has changed since tuning %s: its settings were chosen for other code (%s, now %s)",
                *(kind, name, suite.name, suite.code[name], code),
            )


def has_plugins_of(source: RunSource, spec: Spec) -> bool:
    """Return whether the source of plug-ins is kept with which a run was executed."""
    codes = {(kind, part.name): part.code for kind, part in spec.all_parts()}
    try:
        plugins = source.kept_plugins(spec.id)
    except RequestError:
        return False
    return bool(plugins) and all(
        codes.get((plugin.kind, plugin.name)) == plugin.digest() for plugin in plugins
    )


def keeps_plugins(source: RunSource, run: str) -> bool:
    """Return whether any source of plug-ins is kept with a run, whatever it is worth."""
    try:
        return bool(source.kept_plugins(run))
    except RequestError:
        return True


def kept_plugins(source: RunSource, records: Iterable[Record]) -> list[Plugin]:
    """Return the plug-ins that are kept with runs, each version once, to be read and not to be executed."""
    parts = ((record.id, kind, part) for record in records for kind, part in record.spec.all_parts())
    runs = {(kind, part.name, part.code): run for run, kind, part in parts}
    found = []
    for (kind, name, _), run in runs.items():
        with suppress(RequestError):  # damaged: whoever executes it is told so
            found += [one for one in source.kept_plugins(run) if (one.kind, one.name) == (kind, name)]
    return found


def _read(source: RunSource, run: str, kind: str, part: Part) -> Plugin | None:
    """Return a plug-in that is kept with a run, or None."""
    for plugin in source.kept_plugins(run):
        if (plugin.kind, plugin.name) == (kind, part.name):
            _check(source.plugins_path(run), plugin, part.code)
            return plugin
    return None


def _check(path: Path, plugin: Plugin, digest: str) -> None:
    """Raise RequestError for a source that is not the one that was executed."""
    if plugin.digest() != digest:
        raise RequestError(
            f"the source of {plugin.kind} {plugin.name} in {path} was changed after it was kept: "
            f"its digest is {plugin.digest()}, not {digest}"
        )


def _log(workspace: Workspace, plugin: Plugin, path: Path, event: str) -> None:
    changed = plugin.name in workspace.registry.names(plugin.kind)
    reason = ""
    if changed:
        reason = f"; {workspace.registry.get(plugin.kind, plugin.name).origin} has changed since {event}"
    logger.info("%s %s: executing the source kept in %s%s", plugin.kind, plugin.name, path, reason)
