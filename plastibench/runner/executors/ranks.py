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

from plastibench.distributed.launch import Meeting, join
from plastibench.distributed.lost import GONE, RankLostError
from plastibench.distributed.watch import Limit, rank_timeout
from plastibench.errors import RequestError, explain
from plastibench.experiments.spec import Spec
from plastibench.runner.context import RunContext
from plastibench.runner.events import Emit, RunFailed, RunLost
from plastibench.runner.executors.base import OVERDUE_SECONDS, WorkerExecutor, hang_seconds
from plastibench.runner.executors.processes import (
    GRACE_SECONDS,
    POLL_SECONDS,
    WorkerProcess,
    execute_runs,
)
from plastibench.runner.worker import FewEpochs
from plastibench.system import signals
from plastibench.system.files import write_atomic
from plastibench.system.signals import send_to_parent

if TYPE_CHECKING:
    from plastibench.distributed.group import RankGroup

Error = RunFailed | RunLost
CAUSE_SECONDS = 2.0
"""How long to wait for a process to tell what went wrong after another one has lost it."""
MISSING = "missing"
"""The file, beside the one by which they meet, in which a process says which ones did not come."""


class RankExecutor(WorkerExecutor):
    """Executes one run at a time in `context.devices` processes, of which the first one writes.

    They stay for the next run. If one dies, fails or hangs, all end with it: they wait for each other.
    """

    def __init__(
        self,
        context: RunContext,
        grace_seconds: float = GRACE_SECONDS,
        overdue_seconds: float = OVERDUE_SECONDS,
    ) -> None:
        self.context, self.grace_seconds, self.timeout = context, grace_seconds, rank_timeout()
        self.hang_seconds = hang_seconds(context, overdue_seconds)
        self.devices = context.data_context.device.names_of_ranks(context.devices)
        self.ranks: list[WorkerProcess] = []
        self.spec: Spec | None = None
        """The run in progress, or the last one."""
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
        self.spec = spec
        for rank in self.ranks:
            rank.submit(spec)

    def poll(self, emit: Emit) -> None:
        """Emit an event of the first process; an error if any of them has failed, died or not come."""
        ready = wait([rank.connection for rank in self.ranks], timeout=POLL_SECONDS)
        first, missing = self.ranks[0], self._said_of_missing()
        failed = next((rank for rank in self.ranks[1:] if self._has_news(rank, ready)), None)
        if missing is not None:
            emit(self._lose(missing))
        elif failed is not None:
            emit(self._end(failed))
        elif self._has_news(first, ready):
            event = first.receive()
            emit(self._end(first, event) if isinstance(event, RunFailed | RunLost) else event)
        elif self.hang_seconds is not None and first.seconds() > self.hang_seconds:
            emit(first.abandon(self.hang_seconds))
            self._kill()

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
        file, size = Path(self._folder.name) / "meeting", len(self.devices)
        for number, device in enumerate(self.devices):
            work = partial(_work, Meeting(file, number, size), self.timeout)
            self.ranks.append(WorkerProcess(replace(self.context, device=device), self.grace_seconds, work))

    def _said_of_missing(self) -> str | None:
        """Return what a process has said of others that did not come, which the limit allows to end."""
        note = None if self._folder is None else Path(self._folder.name) / MISSING
        return note.read_text(encoding="utf-8") if note is not None and note.exists() else None

    def _lose(self, message: str) -> RunLost:
        """End all processes after some did not come."""
        assert self.spec is not None
        self._kill()
        return RunLost(self.spec, message)

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
        assert self.spec is not None
        return replace(released, spec=self.spec)  # others than the first know that of their first run alone

    def _kill(self) -> None:
        for rank in self.ranks:
            rank.kill()
        self.ranks = []
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def _follows_from_another(event: Error) -> bool:
    return isinstance(event, RunLost) and event.message == GONE


def _last_event(rank: WorkerProcess) -> Error:
    """Return the error that a process has sent or died of; others of its events come too late."""
    while True:
        event = rank.receive()
        if isinstance(event, RunFailed | RunLost):
            return event


def _work(meeting: Meeting, timeout: float, connection: Connection, context: RunContext) -> None:
    """Execute runs as one of the ranks on this machine."""
    from plastibench.devices import collective_backends
    from plastibench.runner.follow import share_decoders

    def say(message: str, is_first: bool) -> None:
        if is_first:  # the parent process ends them all
            write_atomic(meeting.file.with_name(MISSING), message)

    signals.follow_parent()
    context.data_context.device.make_current()
    share_decoders(meeting.size)
    try:
        backends = collective_backends(meeting.rank, meeting.size)
        ranks = join(backends, meeting, Limit(timeout, say))
    except (RankLostError, RequestError) as error:
        kind = RunLost if isinstance(error, RankLostError) else RunFailed
        send_to_parent(connection, kind(connection.recv(), str(error)))
        return
    if meeting.rank == 0:
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
