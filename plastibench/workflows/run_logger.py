"""Log the ends of runs."""

import logging

from plastibench.analysis.stats.estimate import percent
from plastibench.console import TIMED
from plastibench.errors import one_line
from plastibench.experiments.spec import Spec
from plastibench.runner.callbacks import RunCallback
from plastibench.store.record import Record
from plastibench.store.run_metrics import total_cost

logger = logging.getLogger(__name__)


class RunLogger(RunCallback):
    """Log a line for each run that is finished or has failed, and each message about a run."""

    def __init__(self) -> None:
        self.num_runs = 0
        self.num_finished = 0
        self._warnings: set[str] = set()

    def on_start(self, num_runs: int, num_finished: int, num_processes: int) -> None:
        """Take the numbers of runs."""
        self.num_runs = num_runs
        self.num_finished = num_finished

    def on_run_end(self, record: Record) -> None:
        """Log a finished run."""
        self.num_finished += 1
        measured = "validation_accuracy" if record.spec.held_out_test else "test_accuracy"
        logger.info(
            "%d/%d %s: %s %% at the last stage, %.1f s%s",
            self.num_finished,
            self.num_runs,
            record.spec.name,
            percent(100 * record.stages[-1][measured]),
            total_cost(record.stages)["seconds"] or 0.0,
            "" if record.status == "done" else f", {record.status}",
            extra=TIMED,
        )

    def on_run_error(self, spec: Spec, message: str) -> None:
        """Log a failed run."""
        logger.error("%s: failed: %s", spec.name, message, extra=TIMED)

    def on_log(self, spec: Spec, message: str) -> None:
        """Log a message."""
        logger.info("%s: %s", spec.name, message, extra=TIMED)

    def on_warning(self, spec: Spec, message: str) -> None:
        """Log a warning, once for all runs."""
        if message not in self._warnings:
            self._warnings.add(message)
            logger.warning("%s", one_line(message))
