"""Where runs, data sets and plug-ins are found."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from plastibench.plugins.plugin import Plugin
from plastibench.plugins.registry import Registry
from plastibench.store.run_store import DEFAULT_HOME, HOME_VARIABLE, Store

DATA_VARIABLE = "PLASTIBENCH_DATA"


def default_home() -> Path:
    """Return the home folder: the one that `HOME_VARIABLE` names, or `DEFAULT_HOME`."""
    return Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME)


def default_cache() -> Path:
    """Return the user's cache folder, for what can be downloaded or made again.

    It is in the folder of the runs for a user without a home folder, of whom the system knows nothing.
    """
    from platformdirs import user_cache_path

    try:
        cache = user_cache_path("plastibench", appauthor=False)
    except RuntimeError:
        return default_home() / "cache"
    return cache if cache.is_absolute() else default_home() / "cache"  # "~" with older platformdirs


def default_data() -> Path:
    """Return the folder of data sets: the one that `DATA_VARIABLE` names, or one in the cache folder."""
    named = os.environ.get(DATA_VARIABLE)
    return Path(named) if named else default_cache() / "data"


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Folders, and the plug-in files beside those shipped and installed.

    The fields are plain values that travel to other processes; what is derived from them is made once a
    process.
    """

    home: Path = field(default_factory=default_home)
    """Runs, tuned settings, and the MLflow database."""
    data: Path = field(default_factory=default_data)
    """Data sets: read from here and downloaded to here."""
    cache: Path = field(default_factory=default_cache)
    """Decoded images and other results that can be made again."""
    plugins: tuple[Path | Plugin, ...] = ()
    """The user's plug-ins, by their files or as they were when they were read."""
    kept: tuple[Plugin, ...] = ()
    """Plug-ins whose source was kept with runs or with a tuning."""

    @cached_property
    def registry(self) -> Registry:
        """Return the plug-ins by name."""
        return Registry(self.plugins, self.kept)

    @cached_property
    def store(self) -> Store:
        """Return the runs of the home folder."""
        return Store(self.home)

    def with_kept(self, kept: Iterable[Plugin]) -> Self:
        """Return a workspace with further plug-ins from source that was kept."""
        return replace(self, plugins=self.registry.own, kept=(*self.kept, *kept))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what each process makes for itself; plug-ins travel as they were when they were read."""
        state = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**state, "plugins": self.registry.own}
