"""The plug-ins that can be used, by kind and name. Nothing is imported before it is used."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from plastibench.errors import RequestError, unknown
from plastibench.plugins import discovery
from plastibench.plugins.plugin import Plugin


class Registry:
    """All plug-ins that can be used in this process."""

    def __init__(self, files: Iterable[Path | Plugin] = (), kept: Iterable[Plugin] = ()) -> None:
        """Add the plug-ins in `files` to those shipped and installed, and to these what was kept with runs.

        Raises RequestError for a file that is missing, has no plug-in, or takes a name in use.
        """
        self._plugins: dict[tuple[str, str], Plugin] = {}
        self.own = tuple(discovery.from_file(file) if isinstance(file, Path) else file for file in files)
        """The plug-ins in `files`."""
        self._kept = {(plugin.kind, plugin.name, plugin.digest()): plugin for plugin in kept}
        for plugin in (*discovery.shipped(), *discovery.installed(), *self.own):
            self._add(plugin)
        for plugin in self._kept.values():  # of a name that nothing else has
            self._plugins.setdefault((plugin.kind, plugin.name), plugin)

    def names(self, kind: str) -> list[str]:
        """Return the names of a kind, sorted."""
        return sorted(name for of_kind, name in self._plugins if of_kind == kind)

    def get(self, kind: str, name: str) -> Plugin:
        """Return a plug-in. Raises RequestError, with the nearest name, if there is none."""
        if (kind, name) not in self._plugins:
            raise unknown(kind, name, self.names(kind))
        return self._plugins[kind, name]

    def version(self, kind: str, name: str, digest: str) -> Plugin:
        """Return the plug-in with a digest of its code. Raises RequestError if its code is not at hand."""
        kept = self._kept.get((kind, name, digest))
        if kept is not None:
            return kept
        plugin = self.get(kind, name)
        if plugin.digest() != digest:
            raise RequestError(
                f"the code of {kind} {name} has changed since this run was asked for: ask for it again"
            )
        return plugin

    def has(self, kind: str, name: str, digest: str) -> bool:
        """Return whether `version` finds a plug-in."""
        try:
            self.version(kind, name, digest)
        except RequestError:
            return False
        return True

    def load(self, kind: str, name: str) -> Any:  # noqa: ANN401 - a subclass of the kind's contract
        """Return the class of a plug-in."""
        return self.get(kind, name).load()

    def find(self, kind: str, instance: object) -> Plugin:
        """Return the plug-in of an instance. Raises RequestError if its class is in no plug-in's file."""
        plugin = self.defining(kind, type(instance))
        if plugin is None:
            raise RequestError(f"{kind} {type(instance).__name__} is not in a plug-in file of its own")
        return plugin

    def defining(self, kind: str, cls: type) -> Plugin | None:
        """Return the plug-in that defines a class, or None."""
        found = (plugin for plugin in self._plugins.values() if plugin.kind == kind and plugin.defines(cls))
        return next(found, None)

    def _add(self, plugin: Plugin) -> None:
        same = self._plugins.setdefault((plugin.kind, plugin.name), plugin)
        if same is not plugin:
            raise RequestError(
                f"{plugin.kind} {plugin.name!r} in {plugin.origin} reuses a name: {same.origin} has it"
            )
