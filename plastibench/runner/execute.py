"""Carry out runs: one here, or a grid of them in this process or in several of its children."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Protocol

from plastibench import stopping
from plastibench.checkpoint import Checkpoint
from plastibench.errors import RequestError
from plastibench.explain import explain
from plastibench.keeping import Keeper, find
from plastibench.ledger import Elsewhere, claimed
from plastibench.progress import Stopped, Unusable
from plastibench.record import Record
from plastibench.registry import Registry
from plastibench.spec import Spec, build
from plastibench.store import Store

AGAIN_SECONDS = 2.0
"""How long until a run that another process was at is looked at again."""


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

    def note(self, spec: Spec, message: str) -> None:
        """Something about a run is worth a line: it goes on where it stopped, say."""


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
    together: int = 1
    """How many processes run on the device at once: each holds its part of the memory and no more."""
    interval: float = 60.0
    """Seconds between two checkpoints of a run; 0 is after every step, infinity only when stopped."""
    deterministic: bool = False
    """Whether a device that can give the same bits for the same work is told to."""


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
    """Carry out one run and put it in the store; a finished one is only read.

    A run that was stopped goes on from its checkpoint. Raises Stopped where it is asked to stop, and
    Elsewhere where another process is at it.
    """
    known = Store(place.home).read(spec.id)
    if known is not None:
        return known
    with claimed(Store(place.home).folder(spec.id)):
        return _claimed(spec, place, registry, watcher)


def _claimed(spec: Spec, place: Place, registry: Registry, watcher: Watcher) -> Record:
    store = Store(place.home)
    known = store.read(spec.id)
    if known is not None:  # another process has just finished it
        return known
    try:
        return _carry_out(spec, place, registry, watcher)
    except Unusable as error:
        watcher.note(spec, f"its checkpoint cannot be used ({error}): the run begins anew")
        Checkpoint(store.folder(spec.id), spec.id).remove()
        return _carry_out(spec, place, registry, watcher)


def _carry_out(spec: Spec, place: Place, registry: Registry, watcher: Watcher) -> Record:
    from plastibench import protocol
    from plastibench.devices import pick
    from plastibench.provenance import provenance
    from plastibench.task import Site
    from plastibench.training import DIVERGED

    store, device = Store(place.home), pick(place.device)
    task, method = build(spec, registry)
    origin = provenance(device)
    keeper = _keeper(spec, place, watcher, origin)
    watcher.started(spec, task.num_stages())
    for row in keeper.history.rows:
        watcher.stage(spec.id, row)
    with store.open(spec, keeper.history.rows) as attempt:
        keeper.history.rows = attempt.stages
        site = Site(device=device, data=place.data, cache=place.cache)
        for result in protocol.run(task, method, spec.seed, site, keeper):
            row = _finite(result.as_dict())
            attempt.append(row)
            watcher.stage(spec.id, row)
        status = DIVERGED if result.stop == DIVERGED else "done"
        record = attempt.finish(status, origin | _times(keeper) | {"data": result.data})
    keeper.checkpoint.remove()
    return record


def _keeper(spec: Spec, place: Place, watcher: Watcher, origin: Mapping[str, Any]) -> Keeper:
    """Return what keeps the run's state, and knows where it goes on; the watcher is told."""
    checkpoint = Checkpoint(Store(place.home).folder(spec.id), spec.id)
    say = partial(watcher.note, spec)
    history = find(checkpoint, say)
    if history.progress is not None:
        stage, epoch = history.where()
        say(f"goes on at stage {stage}, epoch {epoch}")
    history.begin(origin)
    keeper = Keeper(checkpoint, history, place.interval)
    keeper.tell, keeper.say = (lambda epoch: watcher.epoch(spec.id, vars(epoch))), say
    return keeper


def _times(keeper: Keeper) -> dict[str, Any]:
    """Return when the run was made, and how long it took: by clocks that nobody can set."""
    sessions = keeper.history.sessions
    return {
        "started": sessions[0]["started"],
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": keeper.seconds(),
        "checkpoint_seconds": keeper.spent,
        "weights": keeper.weights,
        "sessions": sessions,
    }


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
    failed: list[tuple[Spec, str]] = []
    queue = Queue(todo)
    with stopping.by_signals():
        while queue:
            spec = queue.next()
            if spec is None:
                sleep(AGAIN_SECONDS / 10)
                continue
            try:
                reason = attempt(spec, place, prepare, watcher)
            except Elsewhere as error:
                queue.later(spec, watcher, str(error))
                continue
            failed += [(spec, reason)] if reason is not None else []
    return failed


class Queue:
    """Runs to carry out, in order; one that another process is at comes again later."""

    def __init__(self, specs: Iterable[Spec]) -> None:
        self._waiting = deque((spec, 0.0) for spec in specs)
        self._told: set[str] = set()

    def __len__(self) -> int:
        """Return how many are left."""
        return len(self._waiting)

    def next(self) -> Spec | None:
        """Take the first whose time has come, or None where all are to be waited for."""
        for place, (spec, when) in enumerate(self._waiting):
            if when <= monotonic():
                del self._waiting[place]
                return spec
        return None

    def later(self, spec: Spec, watcher: Watcher, holder: str) -> None:
        """Put a run back that is elsewhere; the watcher is told once."""
        self._waiting.append((spec, monotonic() + AGAIN_SECONDS))
        if spec.id not in self._told:
            self._told.add(spec.id)
            watcher.note(spec, f"{holder} is at it: its result is waited for")


def attempt(spec: Spec, place: Place, prepare: Callable[[], Registry], watcher: Watcher) -> str | None:
    """Carry out one run; return why it failed, or None. Other runs must go on, whatever happened.

    Raises Elsewhere where another process is at it.
    """
    if stopping.asked():
        raise Stopped("asked to stop")
    try:
        record = execute(spec, place, prepare(), watcher)
    except (KeyboardInterrupt, Elsewhere):
        raise
    except BaseException as error:  # a plug-in may raise anything, SystemExit too
        message = explain(error)
    else:
        watcher.finished(record)
        return None
    _give_back(place)
    watcher.failed(spec, message)
    return message


def _give_back(place: Place) -> None:
    """Give the device back what a run held that failed: of too little memory, perhaps."""
    from plastibench.devices import pick

    with suppress(RequestError):  # it failed because there is no such device
        pick(place.device).give_back()


def workshop(place: Place) -> Registry:
    """Make this process ready for runs: its threads, its part of the device, the plug-ins."""
    import torch

    from plastibench.devices import pick

    # torch imports its compiler, which takes a second, for the first optimizer of a process: no run's second.
    torch.optim.SGD([torch.zeros(1)])
    if place.threads is not None:
        torch.set_num_threads(place.threads)
    if place.deterministic:
        pick(place.device).be_deterministic()
    if place.together > 1:
        pick(place.device).share(place.together)
    return Registry(place.plugins)
