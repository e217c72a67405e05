"""Several workers on this machine; one that dies is replaced, and another runs its trial."""

import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue

from plastibench.runner.slots import device_slots
from plastibench.runner.worker import worker_context
from plastibench.system import signals
from plastibench.system.processes import exit_with_parent
from plastibench.training.callbacks import StopRequested
from plastibench.tuning.storage import StorageError, storage_errors
from plastibench.tuning.trial_runner import WorkerConfig, run_worker

POLL_SECONDS = 1.0
GRACE_SECONDS = 30.0
"""Time of a worker to end its step before it is killed."""
MAX_DEATHS = 10
"""Dead workers beyond which the runs themselves are taken to be the cause."""


STORAGE_LOST = 3
"""Exit code of a worker whose storage cannot be used: another worker could not either."""


class WorkersLostError(RuntimeError):
    """Workers died again and again."""


def run_workers(config: WorkerConfig, on_poll: Callable[[], None]) -> None:
    """Run trials in `context.num_processes` processes, spread over the devices, until every budget is used.

    `on_poll` is called every second.
    Raises StorageError if one of them cannot use the storage, and WorkersLostError if worker after worker
    dies. No process is left when this returns or raises.
    """
    errors = worker_context().SimpleQueue()
    slots = device_slots(config.context.data_context.device, config.context.num_processes)
    configs = [config.in_slot(slot) for slot in slots]
    workers: list[BaseProcess] = []
    num_deaths = 0
    try:
        for each in configs:
            workers.append(_start(each, errors))
        while alive := [worker for worker in workers if worker.is_alive()]:
            wait([worker.sentinel for worker in alive], timeout=POLL_SECONDS)
            for position, worker in enumerate(workers):
                if worker.exitcode == STORAGE_LOST:
                    raise StorageError(errors.get())
                if not worker.is_alive() and worker.exitcode:
                    num_deaths += 1
                    if num_deaths > MAX_DEATHS:
                        raise WorkersLostError(
                            f"{num_deaths} workers died, the last with exit status {worker.exitcode}"
                        )
                    workers[position] = _start(configs[position], errors)
            on_poll()
    except KeyboardInterrupt:
        signals.announce_stop()
        raise
    finally:
        _stop(workers)
        errors.close()


def _start(config: WorkerConfig, errors: SimpleQueue[str]) -> BaseProcess:
    context = worker_context()
    # Not a daemon: a run that streams its images has processes of its own.
    process = context.Process(target=_main, args=(config, errors), daemon=False)
    process.start()
    return process


def _stop(workers: list[BaseProcess]) -> None:
    """Let every worker end its step and save its state; one that takes too long is killed."""
    for worker in workers:
        worker.terminate()
    try:
        for worker in workers:
            worker.join(GRACE_SECONDS)
    finally:  # a second Ctrl-C too
        for worker in workers:
            worker.kill()
            worker.join()


def _main(config: WorkerConfig, errors: SimpleQueue[str]) -> None:
    """Run a worker's process for as long as its parent lives."""
    signals.follow_parent()
    exit_with_parent()
    try:
        with suppress(StopRequested), storage_errors(config.storage_url):
            run_worker(config)
    except StorageError as error:
        errors.put(str(error))
        sys.exit(STORAGE_LOST)
