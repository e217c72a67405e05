"""Runs appear in the mirror while a grid goes on: each is written as it ends, by the parent process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from plastibench import tracking
from plastibench.execute import Watcher
from plastibench.explain import explain
from plastibench.spec import Spec
from plastibench.store import Record


class Mirroring:
    """A watcher that passes everything on, and mirrors finished runs.

    The store is the truth: what goes wrong here is said once, and spoils nothing.
    """

    def __init__(self, watcher: Watcher, place: tuple[Path, str], say: Callable[[str], None]) -> None:
        """Take what to pass on to, (home, leaderboard), and how to tell the user."""
        self.watcher = watcher
        self.home, self.leaderboard = place
        self.say = say
        self.mirror: tracking.Mirror | None = None
        self.broken = False
        self.added = 0

    def started(self, spec: Spec, num_stages: int) -> None:
        """Pass on."""
        self.watcher.started(spec, num_stages)

    def epoch(self, run: str, where: dict[str, Any]) -> None:
        """Pass on."""
        self.watcher.epoch(run, where)

    def stage(self, run: str, row: dict[str, Any]) -> None:
        """Pass on."""
        self.watcher.stage(run, row)

    def finished(self, record: Record) -> None:
        """Pass on, then mirror the run."""
        self.watcher.finished(record)
        self.add([record])

    def failed(self, spec: Spec, message: str) -> None:
        """Pass on."""
        self.watcher.failed(spec, message)

    def note(self, spec: Spec, message: str) -> None:
        """Pass on."""
        self.watcher.note(spec, message)

    def add(self, records: Iterable[Record]) -> None:
        """Mirror those of the runs that are not there yet."""
        if self.broken:
            return
        try:
            if self.mirror is None:
                self.mirror = tracking.Mirror(self.home, self.leaderboard)
            self.added += self.mirror.add(records)
        except Exception as error:
            self.broken = True
            self.say(f"MLflow could not be written ({explain(error)}): the runs are safe in the store")
