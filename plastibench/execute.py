"""Carry out runs: one here, or a grid of them in this process or in several of its children."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

from plastibench.explain import explain
from plastibench.registry import Registry
from plastibench.spec import Spec, build
from plastibench.store import Record, Store


class Watcher(Protocol):
    """Is told what happens while runs are carried out."""

    def started(self, spec: Spec, num_stages: int) -> None:
        """A run begins."""

    def epoch(self, run: str, where: dict[str, Any]) -> None:
        """A run has trained another epoch."""

    def stage(self, run: str, row: dict[str, Any]) -> None:
        """A run has ended a stage."""

    def finished(self, record: Record) -> None:
        """A run is on the disk."""

    def failed(self, spec: Spec, message: str) -> None:
        """A run ended without a result."""


@dataclass(frozen=True)
class Place:
    """Where runs happen, as plain values that travel to other processes."""

    home: Path
    data: Path
    cache: Path
    device: str
    plugins: tuple[Path, ...] = ()
    threads: int | None = None
    """Threads of a run on the CPU; None leaves torch's own choice."""


def check_data(specs: Iterable[Spec], place: Place, registry: Registry) -> None:
    """Make sure, before any run, that the data of each setting are there: downloads are made and shown once.

    Raises DataError where they are missing and cannot be had, RequestError where they do not suffice.
    """
    from plastibench.devices import pick
    from plastibench.task import Site

    site = Site(device=pick(place.device), data=place.data, cache=place.cache)
    for spec in {spec.setting_id(): spec for spec in specs}.values():
        task, _ = build(spec, registry)
        next(task.stream(spec.seed, site))


def execute(spec: Spec, place: Place, registry: Registry, watcher: Watcher) -> Record:
    """Carry out one run and put it in the store; a finished one is only read."""
    from plastibench import protocol
    from plastibench.devices import pick
    from plastibench.provenance import provenance
    from plastibench.task import Site

    store = Store(place.home)
    known = store.read(spec.id)
    if known is not None:
        return known
    site = Site(device=pick(place.device), data=place.data, cache=place.cache)
    task, method = build(spec, registry)
    started = datetime.now(UTC)
    watcher.started(spec, task.num_stages())
    with store.open(spec) as attempt:
        for result in protocol.run(task, method, spec.seed, site, _telling(spec, watcher)):
            row = _finite(result.as_dict())
            attempt.append(row)
            watcher.stage(spec.id, row)
        status = protocol.DIVERGED if result.stop == protocol.DIVERGED else "done"
        origin = provenance(site.device) | {
            "started": started.isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": (datetime.now(UTC) - started).total_seconds(),
            "data": result.data,
        }
        return attempt.finish(status, origin)


def _telling(spec: Spec, watcher: Watcher) -> Callable[[Any], None]:
    return lambda epoch: watcher.epoch(spec.id, vars(epoch))


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with the losses of a diverged stage as None: JSON has no NaN."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def run_all(specs: list[Spec], place: Place, watcher: Watcher, jobs: int = 1) -> list[tuple[Spec, str]]:
    """Carry out every run that is not finished; return those that failed, with the reason."""
    from plastibench.workers import run_in_processes

    store = Store(place.home)
    todo = [spec for spec in specs if store.read(spec.id) is None]
    if jobs > 1 and len(todo) > 1:
        return run_in_processes(todo, place, watcher, min(jobs, len(todo)))
    prepare = cache(partial(workshop, place))
    found = [(spec, attempt(spec, place, prepare, watcher)) for spec in todo]
    return [(spec, reason) for spec, reason in found if reason is not None]


def attempt(spec: Spec, place: Place, prepare: Callable[[], Registry], watcher: Watcher) -> str | None:
    """Carry out one run; return why it failed, or None. Other runs must go on, whatever happened."""
    try:
        record = execute(spec, place, prepare(), watcher)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plug-in may raise anything, SystemExit too
        message = explain(error)
        watcher.failed(spec, message)
        return message
    watcher.finished(record)
    return None


def workshop(place: Place) -> Registry:
    """Make this process ready for runs: give torch its threads, find the plug-ins."""
    if place.threads is not None:
        import torch

        torch.set_num_threads(place.threads)
    return Registry(place.plugins)
