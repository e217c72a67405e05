"""Callbacks of runs: what happens while runs are executed."""

from __future__ import annotations

from typing import Any

from plastibench.experiments.spec import Spec
from plastibench.store.record import Record


class RunCallback:
    """Base class of callbacks; every hook does nothing until a subclass overrides it."""

    def on_start(self, num_runs: int, num_finished: int, num_processes: int) -> None:
        """Called once, before the first run."""

    def on_run_start(self, spec: Spec, num_stages: int) -> None:
        """Called when a run begins."""

    def on_epoch_end(self, run: str, where: dict[str, Any]) -> None:
        """Called when a run has trained another epoch."""

    def on_stage_end(self, run: str, row: dict[str, Any]) -> None:
        """Called when a run has ended a stage."""

    def on_run_end(self, record: Record) -> None:
        """Called when a run is finished and on disk."""

    def on_run_error(self, spec: Spec, message: str) -> None:
        """Called when a run has failed."""

    def on_log(self, spec: Spec, message: str) -> None:
        """Called with a line about a run, for example that it continues from a checkpoint."""
