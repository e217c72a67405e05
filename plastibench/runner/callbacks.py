"""TODO."""

from __future__ import annotations

from typing import Any, Protocol

from plastibench.experiments.spec import Spec
from plastibench.store.record import Record


class RunCallback(Protocol):
    """Is told what happens while runs are carried out."""

    def on_run_start(self, spec: Spec, num_stages: int) -> None:
        """A run begins."""

    def on_epoch_end(self, run: str, where: dict[str, Any]) -> None:
        """A run has trained another epoch."""

    def on_stage_end(self, run: str, row: dict[str, Any]) -> None:
        """A run has ended a stage."""

    def on_run_end(self, record: Record) -> None:
        """A run is on the disk."""

    def on_run_error(self, spec: Spec, message: str) -> None:
        """A run ended without a result."""

    def on_log(self, spec: Spec, message: str) -> None:
        """Something about a run is worth a line: it goes on where it stopped, say."""
