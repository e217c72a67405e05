"""Say how long runs will take, before they begin."""

import logging
from collections.abc import Sequence

from plastibench.console import describe_seconds
from plastibench.experiments.spec import Spec
from plastibench.profiling.estimate import RunTimes, estimate_runs
from plastibench.runner.context import RunContext
from plastibench.runner.worker import init_worker, keep_torch_settings
from plastibench.workflows.resources import device_of_parent

logger = logging.getLogger(__name__)

LONG_SECONDS = 600.0
"""Runs that take longer are compared with the same runs in fewer stages."""
FEWER_STAGES = 10


def announce_run_time(specs: Sequence[Spec], context: RunContext, what: str = "") -> RunTimes | None:
    """Log how long runs, or `what` they are, will take, unless it is short; return what is known of them.

    Nothing is done, and nothing is returned, if nobody reads the log, or if only the processes of the runs
    may use the device.
    """
    device = context.data_context.device
    if not specs or not logger.isEnabledFor(logging.INFO):
        return None
    if device_of_parent(device, context.num_processes) is not device:
        return None
    with keep_torch_settings():
        init_worker(context)
        times = estimate_runs(specs, context)
    if times is not None:
        parts = [
            f"estimated time: about {describe_seconds(times.total())}",
            what,
            _shorter(times, specs, context),
        ]
        logger.info("%s", " ".join(part for part in parts if part))
    return times


def _shorter(times: RunTimes, specs: Sequence[Spec], context: RunContext) -> str:
    """Return what the same runs take with fewer stages; an empty text if they do not take long."""
    total = times.total()
    seconds = times.with_stages(specs, context, FEWER_STAGES) if total > LONG_SECONDS else None
    if seconds is None or seconds > total / 2:
        return ""
    return f"(with --set stages={FEWER_STAGES} about {describe_seconds(seconds)})"
