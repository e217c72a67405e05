"""Runs in several processes of this machine: each takes the next run until none is left."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections import deque
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from plastibench.execute import Place, Watcher, attempt, set_threads
from plastibench.registry import Registry
from plastibench.spec import Spec
from plastibench.store import Record, Store

EPOCHS_A_SECOND = 4.0
"""Epochs told to the parent at most: a display needs no more, and a small run has hundreds a second."""


def run_in_processes(specs: list[Spec], place: Place, watcher: Watcher, jobs: int) -> list[tuple[Spec, str]]:
    """Carry out runs in `jobs` processes; return those that failed, with the reason.

    A process that dies costs the run it was at, and is replaced.
    """
    waiting, failed = deque(specs), []
    pool = [_Worker(place) for _ in range(jobs)]
    try:
        while waiting or any(worker.spec for worker in pool):
            for worker in pool:
                if worker.spec is None and waiting:
                    worker.give(waiting.popleft())
            ready = wait([worker.pipe for worker in pool if worker.spec is not None])
            for place_in_pool, worker in enumerate(pool):
                if worker.pipe in ready:
                    reason = worker.listen(watcher)
                    failed += [reason] if reason else []
                    if not worker.process.is_alive() and waiting:
                        pool[place_in_pool] = _Worker(place)
    finally:
        for worker in pool:
            worker.stop()
    return failed


class _Worker:
    """A process and what it is at."""

    def __init__(self, place: Place) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(theirs, place), daemon=True)
        self.process.start()
        theirs.close()
        self.home = place.home
        self.spec: Spec | None = None

    def give(self, spec: Spec) -> None:
        """Send a run to the process."""
        self.spec = spec
        self.pipe.send(spec.as_dict())

    def listen(self, watcher: Watcher) -> tuple[Spec, str] | None:
        """Pass on one message; return the run and the reason where it says that a run failed."""
        assert self.spec is not None
        try:
            what, content = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            what, content = "failed", f"its process ended with exit status {self.process.exitcode}"
        spec = self.spec
        if what in ("finished", "failed"):
            self.spec = None
        _tell(watcher, what, (spec, content), Store(self.home))
        return (spec, content) if what == "failed" else None

    def stop(self) -> None:
        """End the process, whatever it is at."""
        self.pipe.close()
        self.process.terminate()
        self.process.join()


def _tell(watcher: Watcher, what: str, about: tuple[Spec, Any], store: Store) -> None:
    spec, content = about
    if what == "started":
        watcher.started(spec, content)
    elif what == "epoch":
        watcher.epoch(spec.id, content)
    elif what == "stage":
        watcher.stage(spec.id, content)
    elif what == "finished":
        record = store.read(spec.id)
        assert record is not None
        watcher.finished(record)
    else:
        watcher.failed(spec, content)


class _Sender:
    """A watcher that sends what it is told through a pipe."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.last = 0.0

    def started(self, spec: Spec, num_stages: int) -> None:
        self.pipe.send(("started", num_stages))

    def epoch(self, run: str, where: dict[str, Any]) -> None:
        if time.monotonic() - self.last > 1 / EPOCHS_A_SECOND:
            self.last = time.monotonic()
            self.pipe.send(("epoch", where))

    def stage(self, run: str, row: dict[str, Any]) -> None:
        self.pipe.send(("stage", row))

    def finished(self, record: Record) -> None:
        self.pipe.send(("finished", record.id))

    def failed(self, spec: Spec, message: str) -> None:
        self.pipe.send(("failed", message))


def _work(pipe: Connection, place: Place) -> None:
    """Carry out the runs that come through the pipe, until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    set_threads(place.threads)
    registry = Registry(place.plugins)
    while True:
        try:
            spec = Spec.from_dict(pipe.recv())
        except EOFError:
            return
        attempt(spec, place, registry, _Sender(pipe))
