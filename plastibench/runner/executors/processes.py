"""Runs in several processes of this machine: each takes the next run until none is left."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache, partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from plastibench.errors import MEMORY_HINT, explain
from plastibench.experiments.spec import Spec
from plastibench.runner.callbacks import RunCallback
from plastibench.runner.context import RunContext
from plastibench.runner.execute import attempt, init_worker
from plastibench.runner.executors.messages import tell
from plastibench.runner.queue import RETRY_SECONDS, Queue
from plastibench.store.record import Record
from plastibench.store.run_status import RunLockedError
from plastibench.system import signals
from plastibench.training.callbacks import StopRequested

LOOK_SECONDS = 2.0
"""How often it is looked whether processes are alive that say nothing."""

GRACE_SECONDS = 30.0
"""How long a process may take to end before it is killed."""

EPOCHS_A_SECOND = 4.0
"""Epochs told to the parent at most: a display needs no more, and a small run has hundreds a second."""


def run_in_processes(
    specs: list[Spec], place: RunContext, watcher: RunCallback, jobs: int
) -> list[tuple[Spec, str]]:
    """Carry out runs in `jobs` processes; return those that failed, with the reason.

    A process that dies costs the run it was at, and is replaced. No process is left when this
    returns or raises.
    """
    waiting, place = Queue(specs), replace(place, together=jobs)
    failed: list[tuple[Spec, str]] = []
    pool: list[_Worker] = []
    try:
        for _ in range(jobs):
            pool.append(_Worker(place))
        while waiting or any(worker.spec for worker in pool):
            _hand_out(waiting, pool, place)
            for worker in _with_news(pool):
                reason = worker.listen(watcher, waiting)
                failed += [reason] if reason else []
    except KeyboardInterrupt:
        with suppress(OSError):
            os.write(2, signals.SAID)
        raise
    finally:
        _stop(pool)
    return failed


def _stop(pool: list[_Worker]) -> None:
    """Let every process end its step and keep its state; what takes too long, or a second Ctrl-C, kills."""
    for worker in pool:
        worker.ask()
    try:
        for worker in pool:
            worker.process.join(GRACE_SECONDS)
    finally:
        for worker in pool:
            worker.kill()


def _hand_out(waiting: Queue, pool: list[_Worker], place: RunContext) -> None:
    """Give a run to every process that has none; one that died is replaced first."""
    for position, worker in enumerate(pool):
        if not waiting:
            return
        if worker.spec is None:
            if not worker.process.is_alive():
                worker.kill()
                pool[position] = _Worker(place)
            spec = waiting.next()
            if spec is None:
                return
            pool[position].give(spec)


def _with_news(pool: list[_Worker]) -> list[_Worker]:
    """Wait for processes that have something to say, or that are dead."""
    busy = [worker for worker in pool if worker.spec is not None]
    if not busy:  # all that is left is elsewhere
        time.sleep(RETRY_SECONDS / 10)
        return []
    ready = wait([worker.pipe for worker in busy], timeout=LOOK_SECONDS)
    # A process forked by a plug-in may hold its dead parent's end of the pipe: then no end is seen.
    return [worker for worker in busy if worker.pipe in ready or not worker.process.is_alive()]


class _Worker:
    """A process and what it is at."""

    def __init__(self, place: RunContext) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        # Not a daemon: a run that streams its images has processes of its own. When this program is
        # killed, the pipe breaks and the process ends by itself.
        self.process: BaseProcess = context.Process(target=_work, args=(theirs, place), daemon=False)
        with _interrupts_ignored():
            self.process.start()
        theirs.close()
        self.spec: Spec | None = None

    def give(self, spec: Spec) -> None:
        """Send a run to the process."""
        self.spec = spec
        with suppress(OSError):  # it has just died: `listen` will see that
            self.pipe.send(spec.as_dict())

    def listen(self, watcher: RunCallback, waiting: Queue) -> tuple[Spec, str] | None:
        """Pass on one message; return the run and the reason where it says that a run failed."""
        spec = self.spec
        assert spec is not None
        what, content = self._receive()
        if what in ("finished", "failed", "elsewhere"):
            self.spec = None
        if what == "elsewhere":
            waiting.later(spec, watcher, content)
            return None
        _tell(watcher, what, (spec, content))
        return (spec, content) if what == "failed" else None

    def _receive(self) -> tuple[str, Any]:
        try:
            if self.pipe.poll():
                what, content = self.pipe.recv()
                return what, content
        except (EOFError, OSError):
            pass
        self.process.join(GRACE_SECONDS)
        self.kill()
        return "failed", _cause(self.process.exitcode)

    def ask(self) -> None:
        """Ask the process to end: after its step where it is at a run, at once where it waits for one."""
        self.pipe.close()
        self.process.terminate()

    def kill(self) -> None:
        """End the process, if it has not ended."""
        self.pipe.close()
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Let a process started inside inherit that Ctrl-C is not for it: not even while it imports."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _cause(status: int | None) -> str:
    """Return what is known of the end of a process."""
    if status is None or status >= 0:
        return f"its process ended with exit status {status}"
    name = signal.Signals(-status).name
    hint = f" (by the system, if memory ran out: {MEMORY_HINT})" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{hint}"


def _tell(watcher: RunCallback, what: str, about: tuple[Spec, Any]) -> None:
    spec, content = about
    if what == "started":
        watcher.on_run_start(spec, content)
    elif what == "epoch":
        watcher.on_epoch_end(spec.id, content)
    elif what == "stage":
        watcher.on_stage_end(spec.id, content)
    elif what == "finished":
        watcher.on_run_end(content)
    elif what == "note":
        watcher.on_log(spec, content)
    else:
        watcher.on_run_error(spec, content)


class _Sender(RunCallback):
    """A watcher that sends what it is told through a pipe."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.last = 0.0

    def on_run_start(self, spec: Spec, num_stages: int) -> None:
        tell(self.pipe, "started", num_stages)

    def on_epoch_end(self, run: str, where: dict[str, Any]) -> None:
        if time.monotonic() - self.last > 1 / EPOCHS_A_SECOND:
            self.last = time.monotonic()
            tell(self.pipe, "epoch", where)

    def on_stage_end(self, run: str, row: dict[str, Any]) -> None:
        tell(self.pipe, "stage", row)

    def on_run_end(self, record: Record) -> None:
        tell(self.pipe, "finished", record)

    def on_run_error(self, spec: Spec, message: str) -> None:
        tell(self.pipe, "failed", message)

    def on_log(self, spec: Spec, message: str) -> None:
        tell(self.pipe, "note", message)

    def elsewhere(self, holder: str) -> None:
        """Another process is at the run."""
        tell(self.pipe, "elsewhere", holder)


def _work(pipe: Connection, place: RunContext) -> None:
    """Carry out the runs that come through the pipe, until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    signal.signal(signal.SIGTERM, lambda *_: signals.request_stop())  # and says it so
    prepare = cache(partial(init_worker, place))
    sender = _Sender(pipe)
    while True:
        try:
            spec = Spec.from_dict(pipe.recv())
        except (EOFError, OSError):
            return
        try:
            attempt(spec, place, prepare, sender)
        except StopRequested:
            return
        except RunLockedError as error:
            sender.elsewhere(str(error))
        except KeyboardInterrupt as error:  # from a plug-in: Ctrl-C does not come here
            sender.on_run_error(spec, explain(error))
