"""What finished runs can be read from: a home folder or records files."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from plastibench.plugins.plugin import Plugin
from plastibench.store.record import Record
from plastibench.store.tuned_settings import TunedSettings
from plastibench.store.verifications import Marks


class RunSource(Protocol):
    """Finished runs, with the source of their plug-ins and the tunings that chose their settings."""

    damaged: dict[Path, str]
    """Damaged files found so far, with the reason."""

    @property
    def origin(self) -> str:
        """Return the folder or the files, for messages."""

    def ids(self) -> list[str]:
        """Return the ids of the finished runs, sorted."""

    def read(self, run: str) -> Record | None:
        """Return a finished run, or None if there is none or it is damaged."""

    def read_with_text(self, run: str) -> tuple[Record, str] | None:
        """Return a finished run with the text of its run file, or None if `read` does."""

    def records(self) -> Iterator[Record]:
        """Yield all finished runs."""

    def events(self, run: str) -> bytes:
        """Return the log of a run's events; empty if none was kept."""

    def kept_plugins(self, run: str) -> list[Plugin]:
        """Return the plug-ins kept with a run, of which nothing is executed.

        Raises RequestError if they are damaged.
        """

    def plugins_path(self, run: str) -> Path:
        """Return the file that they are kept in, for messages."""

    def tuned_settings(self) -> Mapping[str, TunedSettings]:
        """Return where settings come from that tunings chose, by variant."""

    def verifications(self) -> Marks:
        """Return how repetitions of runs ended, by run."""
