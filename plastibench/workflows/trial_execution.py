"""Execute the trials of a tuning, and say beforehand how long they take."""

import logging
import time
from collections.abc import Sequence

from plastibench.console import describe_seconds
from plastibench.runner.worker import keep_torch_settings
from plastibench.system import signals
from plastibench.tuning.callbacks import TuningCallback
from plastibench.tuning.study import TuningStudy
from plastibench.tuning.time_left import seconds_left
from plastibench.tuning.trial_runner import WorkerConfig, run_worker
from plastibench.tuning.worker_pool import run_workers
from plastibench.workflows.estimate import announce_run_time
from plastibench.workflows.trial_logger import TrialWatcher

logger = logging.getLogger(__name__)


def announce_time(config: WorkerConfig, studies: Sequence[TuningStudy]) -> None:
    """Log how long the rest takes, or how long first trials do if none has ended."""
    left = seconds_left(studies, config.budget, config.context.num_processes)
    if left is not None:
        logger.info("about %s left", describe_seconds(left))
        return
    specs = [spec for study in studies for spec in study.plan.specs(study.plan.defaults())]
    announce_run_time(specs, config.context, "for the first trial of each study")


def run_trials(
    config: WorkerConfig, studies: Sequence[TuningStudy], callbacks: Sequence[TuningCallback]
) -> None:
    """Run trials in this process or in several, until every study has used its budget."""
    jobs = config.context.num_processes
    start, seconds_before = time.perf_counter(), _seconds_in_runs(studies)
    watcher = TrialWatcher(studies, callbacks)
    for callback in callbacks:
        callback.on_start(studies, config.budget, jobs)
    try:
        if jobs == 1:
            with signals.stop_on_signals(), keep_torch_settings():
                run_worker(config, on_trial_end=watcher.check)
        else:
            run_workers(config, watcher.check)
    finally:
        watcher.check()
        for study in studies:  # trials of a worker that was stopped
            study.requeue_lost_trials(config.context.workspace.home)
    logger.info(
        "%.1f s, %.1f s of them in runs, %d at a time",
        time.perf_counter() - start,
        _seconds_in_runs(studies) - seconds_before,
        jobs,
    )


def _seconds_in_runs(studies: Sequence[TuningStudy]) -> float:
    trials = [trial for study in studies for trial in study.finished_trials()]
    return sum(float(trial.user_attrs.get("in_runs", 0.0)) for trial in trials)
