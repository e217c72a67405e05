"""TODO."""

from __future__ import annotations

from typing import Any, Protocol

from plastibench.experiments.spec import Spec
from plastibench.store.record import Record


class RunCallback(Protocol):
    """Is told what happens while runs are carried out."""

    def started(self, spec: Spec, num_stages: int) -> None:
        """A run begins."""

    def epoch(self, run: str, where: dict[str, Any]) -> None:
        """A run has trained another epoch."""

    def stage(self, run: str, row: dict[str, Any]) -> None:
        """A run has ended a stage."""

    def finished(self, record: Record) -> None:
        """A run is on the disk."""

    def failed(self, spec: Spec, message: str) -> None:
        """A run ended without a result."""

    def note(self, spec: Spec, message: str) -> None:
        """Something about a run is worth a line: it goes on where it stopped, say."""
