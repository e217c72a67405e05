"""Carry out runs: one here, or a grid of them in this process or in several of its children."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from plastibench.errors import RequestError, explain
from plastibench.experiments.spec import Spec, build
from plastibench.plugins.registry import Registry
from plastibench.runner.callbacks import RunCallback
from plastibench.runner.checkpointing import Checkpointer, find
from plastibench.runner.context import RunContext
from plastibench.store.checkpoint import Checkpoint
from plastibench.store.record import Record
from plastibench.store.run_status import RunLockedError, run_lock
from plastibench.store.run_store import Store
from plastibench.system import signals
from plastibench.training.callbacks import IncompatibleCheckpointError, StopRequested


def prepare_data(specs: Iterable[Spec], place: RunContext, registry: Registry) -> None:
    """Make sure, before any run, that the data of each setting are there: downloads are made and shown once.

    Raises DataError where they are missing and cannot be had, RequestError where they do not suffice.
    """
    from plastibench.devices import get_device
    from plastibench.plugins.task import DataContext

    site = DataContext(device=get_device(place.device), data=place.data, cache=place.cache)
    for spec in {spec.condition_id(): spec for spec in specs}.values():
        task, _ = build(spec, registry)
        next(task.stream(spec.seed, site))


def execute(spec: Spec, place: RunContext, registry: Registry, watcher: RunCallback) -> Record:
    """Carry out one run and put it in the store; a finished one is only read.

    A run that was stopped goes on from its checkpoint. Raises Stopped where it is asked to stop, and
    Elsewhere where another process is at it.
    """
    known = Store(place.home).read(spec.id)
    if known is not None:
        return known
    with run_lock(Store(place.home).folder(spec.id)):
        return _claimed(spec, place, registry, watcher)


def _claimed(spec: Spec, place: RunContext, registry: Registry, watcher: RunCallback) -> Record:
    store = Store(place.home)
    known = store.read(spec.id)
    if known is not None:  # another process has just finished it
        return known
    try:
        return _carry_out(spec, place, registry, watcher)
    except IncompatibleCheckpointError as error:
        watcher.on_log(spec, f"its checkpoint cannot be used ({error}): the run begins anew")
        Checkpoint(store.folder(spec.id), spec.id).remove()
        return _carry_out(spec, place, registry, watcher)


def _carry_out(spec: Spec, place: RunContext, registry: Registry, watcher: RunCallback) -> Record:
    from plastibench.devices import get_device
    from plastibench.plugins.task import DataContext
    from plastibench.runner.provenance import provenance
    from plastibench.training import protocol
    from plastibench.training.trainer import DIVERGED

    store, device = Store(place.home), get_device(place.device)
    task, method = build(spec, registry)
    origin = provenance(device)
    keeper = _keeper(spec, place, watcher, origin)
    watcher.on_run_start(spec, task.num_stages())
    for row in keeper.history.rows:
        watcher.on_stage_end(spec.id, row)
    with store.open(spec, keeper.history.rows) as attempt:
        keeper.history.rows = attempt.stages
        site = DataContext(device=device, data=place.data, cache=place.cache)
        for result in protocol.run(task, method, spec.seed, site, keeper):
            row = _finite(result.as_dict())
            attempt.append(row)
            watcher.on_stage_end(spec.id, row)
        status = DIVERGED if result.stop == DIVERGED else "done"
        record = attempt.finish(status, origin | _times(keeper) | {"data": result.data})
    keeper.checkpoint.remove()
    return record


def _keeper(spec: Spec, place: RunContext, watcher: RunCallback, origin: Mapping[str, Any]) -> Checkpointer:
    """Return what keeps the run's state, and knows where it goes on; the watcher is told."""
    checkpoint = Checkpoint(Store(place.home).folder(spec.id), spec.id)
    say = partial(watcher.on_log, spec)
    history = find(checkpoint, say)
    if history.progress is not None:
        stage, epoch = history.where()
        say(f"goes on at stage {stage}, epoch {epoch}")
    history.begin(origin)
    keeper = Checkpointer(checkpoint, history, place.interval)
    keeper.tell, keeper.say = (lambda epoch: watcher.on_epoch_end(spec.id, vars(epoch))), say
    return keeper


def _times(keeper: Checkpointer) -> dict[str, Any]:
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


def attempt(
    spec: Spec, place: RunContext, prepare: Callable[[], Registry], watcher: RunCallback
) -> str | None:
    """Carry out one run; return why it failed, or None. Other runs must go on, whatever happened.

    Raises Elsewhere where another process is at it.
    """
    if signals.stop_requested():
        raise StopRequested("asked to stop")
    try:
        record = execute(spec, place, prepare(), watcher)
    except (KeyboardInterrupt, RunLockedError):
        raise
    except BaseException as error:  # a plug-in may raise anything, SystemExit too
        message = explain(error)
    else:
        watcher.on_run_end(record)
        return None
    _give_back(place)
    watcher.on_run_error(spec, message)
    return message


def _give_back(place: RunContext) -> None:
    """Give the device back what a run held that failed: of too little memory, perhaps."""
    from plastibench.devices import get_device

    with suppress(RequestError):  # it failed because there is no such device
        get_device(place.device).empty_cache()


def init_worker(place: RunContext) -> Registry:
    """Make this process ready for runs: its threads, its part of the device, the plug-ins."""
    import torch

    from plastibench.devices import get_device

    # torch imports its compiler, which takes a second, for the first optimizer of a process: no run's second.
    torch.optim.SGD([torch.zeros(1)])
    if place.threads is not None:
        torch.set_num_threads(place.threads)
    if place.deterministic:
        get_device(place.device).use_deterministic_algorithms()
    if place.together > 1:
        get_device(place.device).limit_memory(place.together)
    return Registry(place.plugins)
