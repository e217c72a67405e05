"""Execute each run in several processes of this machine, which train it together, each on its own device."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING

from plastibench.distributed.lost import RankLostError
from plastibench.errors import explain
from plastibench.experiments.spec import Spec
from plastibench.runner.context import RunContext
from plastibench.runner.events import Emit, RunFailed, RunLost
from plastibench.runner.executors.base import WorkerExecutor
from plastibench.runner.executors.processes import (
    GRACE_SECONDS,
    POLL_SECONDS,
    WorkerProcess,
    execute_runs,
)
from plastibench.runner.worker import FewEpochs
from plastibench.system import signals
from plastibench.system.signals import send_to_parent

if TYPE_CHECKING:
    from plastibench.distributed.group import RankGroup

Error = RunFailed | RunLost
CAUSE_SECONDS = 2.0
"""How long to wait for a process to tell what went wrong after another one has lost it."""


class RankExecutor(WorkerExecutor):
    """Executes one run at a time in `context.devices` processes, of which the first one writes.

    They stay for the next run. If one dies or fails, all end with it: they wait for each other.
    """

    def __init__(self, context: RunContext, grace_seconds: float = GRACE_SECONDS) -> None:
        self.context, self.grace_seconds = context, grace_seconds
        self.devices = context.data_context.device.names_of_ranks(context.devices)
        self.ranks: list[WorkerProcess] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def has_capacity(self) -> bool:
        """Return whether no run is in progress."""
        return not self.ranks or self.ranks[0].spec is None

    def submit(self, spec: Spec) -> None:
        """Send a run to the processes, which are started for the first one."""
        if not all(rank.process.is_alive() for rank in self.ranks):
            self._kill()
        if not self.ranks:
            self._start()
        for rank in self.ranks:
            rank.submit(spec)

    def poll(self, emit: Emit) -> None:
        """Emit an event of the first process; an error if any of them has failed or died."""
        ready = wait([rank.connection for rank in self.ranks], timeout=POLL_SECONDS)
        failed = next((rank for rank in self.ranks[1:] if self._has_news(rank, ready)), None)
        if failed is not None:
            emit(self._end(failed))
        elif self._has_news(self.ranks[0], ready):
            event = self.ranks[0].receive()
            emit(self._end(self.ranks[0], event) if isinstance(event, RunFailed | RunLost) else event)

    def stop(self) -> None:
        """Let the first process save the state of the run, then end all."""
        try:
            if self.ranks:
                self.ranks[0].terminate()
                self.ranks[0].process.join(self.grace_seconds)
        finally:
            self._kill()

    def _start(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="plastibench-ranks-")
        meeting, size = Path(self._folder.name) / "meeting", len(self.devices)
        for number, device in enumerate(self.devices):
            work = partial(_work, number, size, meeting)
            self.ranks.append(WorkerProcess(replace(self.context, device=device), self.grace_seconds, work))

    @staticmethod
    def _has_news(rank: WorkerProcess, ready: Sequence[object]) -> bool:
        return rank.connection in ready or not rank.process.is_alive()

    def _end(self, rank: WorkerProcess, event: Error | None = None) -> Error:
        """End all processes after one has failed or died; return the error that was the first cause."""
        found = [(rank, event or _last_event(rank))]
        deadline = time.monotonic() + CAUSE_SECONDS
        others = [other for other in self.ranks if other is not rank]
        while others and _follows_from_another(found[-1][1]) and time.monotonic() < deadline:
            ready = wait([other.connection for other in others], timeout=0.1)
            for other in [other for other in others if self._has_news(other, ready)]:
                others.remove(other)
                found.append((other, _last_event(other)))
        causes = [(rank, event) for rank, event in found if not _follows_from_another(event)]
        rank, released = (causes or found)[0]
        number = self.ranks.index(rank)
        self._kill()
        if number:
            message = f"on device {number} ({self.devices[number]}): {released.message}"
            released = replace(released, message=message)
        return released

    def _kill(self) -> None:
        for rank in self.ranks:
            rank.kill()
        self.ranks = []
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def _follows_from_another(event: Error) -> bool:
    return isinstance(event, RunLost) and event.message == str(RankLostError())


def _last_event(rank: WorkerProcess) -> Error:
    """Return the error that a process has sent or died of; others of its events come too late."""
    while True:
        event = rank.receive()
        if isinstance(event, RunFailed | RunLost):
            return event


def _work(number: int, size: int, meeting: Path, connection: Connection, context: RunContext) -> None:
    """Execute runs as one of the ranks on this machine."""
    from plastibench.devices import collective_backends
    from plastibench.distributed.launch import join
    from plastibench.runner.follow import share_decoders

    signals.follow_parent()
    context.data_context.device.make_current()
    share_decoders(size)
    ranks = join(collective_backends(), number, size, meeting)
    if number == 0:
        execute_runs(connection, context, ranks)
    else:
        _follow(connection, context, ranks)


def _follow(connection: Connection, context: RunContext, ranks: RankGroup) -> None:
    """Train along with the first rank; tell the parent process if that fails."""
    from plastibench.runner.follow import follow

    spec, send = connection.recv(), FewEpochs(partial(send_to_parent, connection))
    try:
        follow(ranks, lambda _: context.device)
    except RankLostError as error:
        send(RunLost(spec, str(error)))
    except BaseException as error:  # a plug-in may raise anything
        send(RunFailed(spec, explain(error)))
