"""What a device trains in all when several runs share it: processes side by side, started at one moment."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch

from plastibench.devices import get_device
from plastibench.errors import explain

if TYPE_CHECKING:
    from plastibench.plugins.recipe import Recipe

PATIENCE = 300.0
"""Seconds after which a process that has not begun is taken to be lost."""


@dataclass(frozen=True)
class Load:
    """What each run trains, as plain values that travel to other processes."""

    model: str
    recipe: Recipe
    device: str
    seconds: float = 3.0
    """How long it is measured."""
    images: int = 1024
    """Images of an epoch."""
    threads: int | None = None
    """Threads of each run on the CPU; None shares the cores out."""
    plugins: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Share:
    """What one run of several reached."""

    images_per_second: float
    peak_memory: int | None
    """Bytes on the device, where that is known."""


@dataclass(frozen=True)
class Together:
    """What so many runs reached on one device."""

    model: str
    precision: str
    runs: int
    shares: tuple[Share, ...]
    """Of each run; none where they failed."""
    reason: str | None = None
    """Why they failed: too little memory, perhaps."""

    def images_per_second(self) -> float | None:
        """Return what all of them trained in a second; None where they failed."""
        return sum(share.images_per_second for share in self.shares) if self.shares else None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, with the sum."""
        return asdict(self) | {"images_per_second": self.images_per_second()}


def together(load: Load, counts: Sequence[int]) -> Iterator[Together]:
    """Measure so many runs side by side, for one count after another.

    The runs of a count train the same thing with seeds of their own, and begin when all are warm. One
    that fails ends its count, and the next count is measured.
    """
    for runs in counts:
        try:
            yield Together(load.model, load.recipe.precision, runs, tuple(_side_by_side(load, runs)))
        except Exception as error:
            yield Together(load.model, load.recipe.precision, runs, (), explain(error))


def best(found: Sequence[Together]) -> int:
    """Return the number of runs with the most images a second; the smallest of those within 2 % of it.

    More runs than pay cost memory, and make each one late.
    """
    rates = {one.runs: rate for one in found if (rate := one.images_per_second()) is not None}
    return min((runs for runs, rate in rates.items() if rate >= 0.98 * max(rates.values())), default=1)


def _side_by_side(load: Load, runs: int) -> list[Share]:
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(runs, mp_context=context) as pool:
        start = manager.Barrier(runs)
        futures = [pool.submit(_one, load, (seed, runs), start) for seed in range(runs)]
        return _results(futures)


def _results(futures: list[Future[Share]]) -> list[Share]:
    """Return what the runs reached; raise why one failed, rather than that the others waited for it."""
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, BrokenBarrierError)):
        raise error
    return [future.result() for future in futures]


def _one(load: Load, which: tuple[int, int], start: Barrier) -> Share:
    """Train one run of `which` (seed, runs), from the moment at which all are ready."""
    try:
        return _trained(load, which, start)
    except BaseException:
        with suppress(Exception):
            start.abort()
        raise


def _trained(load: Load, which: tuple[int, int], start: Barrier) -> Share:
    from plastibench.plugins.registry import Registry
    from plastibench.profiling.throughput import epoch, noise, trainer

    (seed, runs), device = which, get_device(load.device)
    torch.set_num_threads(load.threads or device.num_threads(runs))
    device.limit_memory(runs)
    architecture = Registry(load.plugins).load("model", load.model)()
    engine = trainer(noise(architecture, load.recipe, load.images), device, seed)
    for _ in range(2):  # kernels are chosen in the first epoch, and steps recorded in the second
        epoch(engine)
    start.wait(PATIENCE)
    begun, images = perf_counter(), 0
    while perf_counter() - begun < load.seconds:
        epoch(engine)
        images += len(engine.learner.stage.train)
    return Share(images / (perf_counter() - begun), device.peak_memory())
