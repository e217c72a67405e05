"""Total throughput of several runs that share a device: one process each, all started at the same moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch

from plastibench.devices import get_device
from plastibench.errors import explain
from plastibench.runner.worker import worker_context

if TYPE_CHECKING:
    from plastibench.plugins.recipe import Recipe

START_TIMEOUT = 300.0
"""Seconds after which a process that has not started is considered lost."""


@dataclass(frozen=True)
class Workload:
    """What each run trains; plain values that are sent to other processes."""

    model: str
    recipe: Recipe
    device: str
    seconds: float = 3.0
    """Duration of the measurement."""
    num_images: int = 1024
    """Images per epoch."""
    threads: int | None = None
    """CPU threads per run; None divides the cores among the runs."""
    plugins: tuple[Path, ...] = ()
    compile: bool = False
    """Whether passes are compiled if the device has a choice."""


@dataclass(frozen=True)
class RunThroughput:
    """Throughput of one of several concurrent runs."""

    images_per_second: float
    peak_memory: int | None
    """Bytes on the device, or None if unknown."""


@dataclass(frozen=True)
class ConcurrencyResult:
    """Throughput of a number of concurrent runs."""

    model: str
    precision: str
    num_runs: int
    per_run: tuple[RunThroughput, ...]
    """Empty if a run failed."""
    reason: str | None = None
    """Why a run failed, such as too little memory."""

    def images_per_second(self) -> float | None:
        """Return the total over all runs, or None if a run failed."""
        return sum(run.images_per_second for run in self.per_run) if self.per_run else None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, with the total."""
        return asdict(self) | {"images_per_second": self.images_per_second()}


def measure_concurrency(workload: Workload, counts: Sequence[int]) -> Iterator[ConcurrencyResult]:
    """Yield the throughput of each number of concurrent runs.

    Runs differ in their seed and start when all of them are warm. A run that fails ends the
    measurement of its count; the next count is then measured.
    """
    for count in counts:
        result = partial(ConcurrencyResult, workload.model, workload.recipe.precision, count)
        try:
            yield result(tuple(_measure(workload, count)))
        except Exception as error:
            yield result((), explain(error))


def best_num_runs(results: Sequence[ConcurrencyResult]) -> int:
    """Return the smallest number of runs within 2 % of the highest total throughput.

    More runs than that need memory, and each of them finishes later.
    """
    rates = {result.num_runs: result.images_per_second() or 0.0 for result in results if result.per_run}
    return min((count for count, rate in rates.items() if rate >= 0.98 * max(rates.values())), default=1)


def _measure(workload: Workload, num_runs: int) -> list[RunThroughput]:
    context = worker_context()
    with context.Manager() as manager, ProcessPoolExecutor(num_runs, mp_context=context) as pool:
        start = manager.Barrier(num_runs)
        return _results([pool.submit(_run, workload, seed, num_runs, start) for seed in range(num_runs)])


def _results(futures: list[Future[RunThroughput]]) -> list[RunThroughput]:
    """Return all results; raise the first failure itself, not that the other runs waited in vain."""
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, BrokenBarrierError)):
        raise error
    return [future.result() for future in futures]


def _run(workload: Workload, seed: int, num_runs: int, start: Barrier) -> RunThroughput:
    try:
        return _train(workload, seed, num_runs, start)
    except BaseException:
        with suppress(Exception):
            start.abort()
        raise


def _train(workload: Workload, seed: int, num_runs: int, start: Barrier) -> RunThroughput:
    """Train one of the concurrent runs from the moment at which all of them are warm."""
    from plastibench.plugins.registry import Registry
    from plastibench.profiling.throughput import make_train_step, random_images, train_epoch

    device = get_device(workload.device)
    torch.set_num_threads(workload.threads or device.num_threads(num_runs))
    device.limit_memory(num_runs)
    if workload.compile:
        device.use_compiler()
    architecture = Registry(workload.plugins).load("model", workload.model)()
    step = make_train_step(random_images(architecture, workload.recipe, workload.num_images), device, seed)
    for _ in range(2):  # the first epoch chooses kernels, the second one captures steps
        train_epoch(step)
    start.wait(START_TIMEOUT)
    begin, images = perf_counter(), 0
    while perf_counter() - begin < workload.seconds:
        train_epoch(step)
        images += len(step.learner.stage.train)
    return RunThroughput(images / (perf_counter() - begin), device.max_memory_allocated())
