"""The base class of callbacks for runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plastibench.experiments.spec import Spec
    from plastibench.store.record import Record
    from plastibench.training.callbacks import EpochProgress


class RunCallback:
    """Base class of callbacks for runs; every hook does nothing. Override those that you need."""

    def on_start(self, num_runs: int, num_finished: int, num_processes: int) -> None:
        """Handle the start of a whole grid, before its first run.

        `num_processes` is how many runs are executed at a time, 0 if a cluster decides that.
        """

    def on_estimate(self, seconds: Mapping[str, float]) -> None:
        """Handle the estimated seconds of the runs to execute, by id; not called if they are short."""

    def on_run_start(self, spec: Spec, num_stages: int) -> None:
        """Handle the start of a run, or its resumption: `on_stage_restored` follows for complete stages."""

    def on_epoch_end(self, spec: Spec, epoch: EpochProgress) -> None:
        """Handle the end of an epoch; with several processes, a few epochs a second are reported."""

    def on_stage_end(self, spec: Spec, row: dict[str, Any]) -> None:
        """Handle the end of a stage: `row` is the stage's row of the record."""

    def on_stage_restored(self, spec: Spec, row: dict[str, Any]) -> None:
        """Handle a stage that had ended before the run was resumed; by default like one that ends now."""
        self.on_stage_end(spec, row)

    def on_run_end(self, record: Record) -> None:
        """Handle the end of a run; its record is in the store."""

    def on_run_error(self, spec: Spec, message: str) -> None:
        """Handle a failed run."""

    def on_log(self, spec: Spec, message: str) -> None:
        """Handle a message about a run, such as the stage that it resumes at."""

    def on_warning(self, spec: Spec, message: str) -> None:
        """Handle a Python warning, such as one of a library, which several runs may give."""
