"""A process that executes runs, one after the other, and survives their failures."""

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from plastibench.distributed.lost import RankLostError
from plastibench.distributed.ranks import Ranks
from plastibench.errors import RequestError, count, explain
from plastibench.experiments.spec import Spec
from plastibench.runner.context import RunContext
from plastibench.runner.events import (
    Emit,
    EpochEnded,
    RunEnded,
    RunEvent,
    RunFailed,
    RunLocked,
    RunLost,
    RunReleased,
    RunWarned,
)
from plastibench.runner.execute import execute_run
from plastibench.store.run_status import RunLockedError
from plastibench.system import signals
from plastibench.system.cpu import num_cores
from plastibench.system.processes import ProcessContext, forkserver_context
from plastibench.training.callbacks import StopRequested, TimeLimitReached

logger = logging.getLogger(__name__)

MAX_EPOCHS_PER_SECOND = 4.0
"""Epochs that a process reports at most: a small run has hundreds a second."""


def worker_context() -> ProcessContext:
    """Return a context whose processes find imported what executes runs, which takes seconds."""
    return forkserver_context(["plastibench.runner.preloaded"])


def init_worker(context: RunContext) -> None:
    """Prepare this process for runs: its device and its share of it, its threads."""
    import torch

    context.data_context.device.make_current()
    # torch imports its compiler, which takes a second, for the first optimizer of a process: no run's second.
    torch.optim.SGD([torch.zeros(1)])
    if context.threads is not None:
        torch.set_num_threads(context.threads)
    if torch.get_num_threads() > num_cores():
        logger.warning(
            "%s on %s: far slower than with as many as there are cores (--threads)",
            count(torch.get_num_threads(), "thread"),
            count(num_cores(), "core"),
        )
    if context.deterministic:
        context.data_context.device.use_deterministic_algorithms()
    if context.num_processes > 1:
        context.data_context.device.limit_memory(context.num_processes)


@contextmanager
def _warnings_as_events(spec: Spec, emit: Emit) -> Iterator[None]:
    """Emit Python's warnings instead of printing them, so that those of several processes are shown once."""
    show = warnings.showwarning
    warnings.showwarning = lambda message, category, *_: emit(
        RunWarned(spec, f"{category.__name__}: {message}")
    )
    try:
        yield
    finally:
        warnings.showwarning = show


@contextmanager
def keep_torch_settings() -> Iterator[None]:
    """Restore torch's number of threads and choice of kernels at the end: runs here set their own."""
    import torch

    num_threads, benchmark = torch.get_num_threads(), torch.backends.cudnn.benchmark
    deterministic = torch.get_deterministic_debug_mode()
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)
        torch.set_deterministic_debug_mode(deterministic)
        torch.backends.cudnn.benchmark = benchmark


class RunWorker:
    """Executes runs in this process; the process is prepared for the first one."""

    def __init__(self, context: RunContext, ranks: Ranks | None = None) -> None:
        """Execute runs as the first of the `ranks` that train each of them together; None is alone."""
        self.context, self.ranks = context, ranks
        self._ready = False

    def run(self, spec: Spec, emit: Emit) -> None:
        """Execute a run and emit its events; the last one is RunEnded, RunFailed or RunLocked.

        Raises StopRequested if this process is asked to stop.
        """
        if signals.stop_requested():
            raise StopRequested("asked to stop")
        event = self._run(spec, emit)
        if isinstance(event, RunFailed):
            self._empty_cache()
        emit(event)

    def _run(self, spec: Spec, emit: Emit) -> RunReleased:
        try:
            if not self._ready:
                init_worker(self.context)
                self._ready = True
            with _warnings_as_events(spec, emit):
                return RunEnded(spec, execute_run(spec, self.context, emit, self.ranks))
        except RunLockedError as error:
            return RunLocked(spec, str(error))
        except TimeLimitReached as error:
            return RunFailed(spec, str(error))
        except RankLostError as error:
            return RunLost(spec, str(error))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plug-in may raise anything, SystemExit too
            return RunFailed(spec, explain(error))  # without the error, which refers to the run's tensors

    def _empty_cache(self) -> None:
        """Release the device memory of a failed run, which may have run out of it."""
        with suppress(RequestError):  # it failed because there is no such device
            self.context.data_context.device.empty_cache()


class FewEpochs:
    """Passes events on to another process or machine, epochs only a few times a second."""

    def __init__(self, emit: Emit) -> None:
        self.emit = emit
        self._last_epoch = 0.0

    def __call__(self, event: RunEvent) -> None:
        """Pass an event on."""
        if isinstance(event, EpochEnded):
            now = time.monotonic()
            if now - self._last_epoch <= 1 / MAX_EPOCHS_PER_SECOND:
                return
            self._last_epoch = now
        self.emit(event)
