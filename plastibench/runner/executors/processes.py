"""Execute runs in several processes of this machine."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Self

from plastibench.errors import MEMORY_HINT, explain
from plastibench.experiments.spec import Spec
from plastibench.runner.context import RunContext
from plastibench.runner.events import Emit, RunEvent, RunFailed, RunLost, RunReleased
from plastibench.runner.executors.base import OVERDUE_SECONDS, WorkerExecutor, hang_seconds
from plastibench.runner.slots import Slot, device_slots
from plastibench.runner.worker import FewEpochs, RunWorker, worker_context
from plastibench.system import signals
from plastibench.system.output import plugins_to_stderr
from plastibench.system.signals import interrupts_ignored, send_to_parent
from plastibench.training.callbacks import StopRequested

if TYPE_CHECKING:
    from plastibench.distributed.ranks import Ranks

POLL_SECONDS = 2.0
"""How often to check that silent processes are alive."""

GRACE_SECONDS = 30.0
"""How long a process may take to end before it is killed."""


Work = Callable[[Connection, RunContext], None]
"""What a process does, given its end of the pipe to its parent."""


class ProcessExecutor(WorkerExecutor):
    """Executes runs in `context.num_processes` processes, spread over the devices.

    A process that dies loses its run and is replaced, and so is one whose run ignores its time limit for
    `overdue_seconds`. No process is left after `stop`.
    """

    def __init__(
        self,
        context: RunContext,
        grace_seconds: float = GRACE_SECONDS,
        overdue_seconds: float = OVERDUE_SECONDS,
    ) -> None:
        self.context, self.grace_seconds = context, grace_seconds
        self.hang_seconds = hang_seconds(context, overdue_seconds)
        self.slots = device_slots(context.data_context.device, context.num_processes)
        self.workers: list[WorkerProcess] = []

    def __enter__(self) -> Self:
        """Start the processes."""
        try:
            for slot in self.slots:
                self.workers.append(self._start(slot))
        except BaseException:
            self.stop()
            raise
        return self

    def has_capacity(self) -> bool:
        """Return whether a process has no run."""
        return any(worker.spec is None for worker in self.workers)

    def submit(self, spec: Spec) -> None:
        """Send a run to a process that has none; a dead one is replaced first."""
        position = next(i for i, worker in enumerate(self.workers) if worker.spec is None)
        if not self.workers[position].process.is_alive():
            self.workers[position].kill()
            self.workers[position] = self._start(self.slots[position])
        self.workers[position].submit(spec)

    def poll(self, emit: Emit) -> None:
        """Emit one event of every process that has sent one or has died."""
        busy = [worker for worker in self.workers if worker.spec is not None]
        ready = wait([worker.connection for worker in busy], timeout=POLL_SECONDS)
        for worker in busy:
            # A process forked by a plug-in may hold its dead parent's end of the pipe, which then stays open.
            if worker.connection in ready or not worker.process.is_alive():
                emit(worker.receive())
            elif self.hang_seconds is not None and worker.seconds() > self.hang_seconds:
                emit(worker.abandon(self.hang_seconds))

    def stop(self) -> None:
        """Let every process save its state and end; kill it after the grace time or a second Ctrl-C."""
        for worker in self.workers:
            worker.terminate()
        try:
            for worker in self.workers:
                worker.process.join(self.grace_seconds)
        finally:
            for worker in self.workers:
                worker.kill()

    def _start(self, slot: Slot) -> WorkerProcess:
        context = replace(self.context, device=slot.device, num_processes=slot.num_processes)
        return WorkerProcess(context, self.grace_seconds)


class WorkerProcess:
    """A process that executes runs, seen from its parent."""

    def __init__(self, context: RunContext, grace_seconds: float, work: Work | None = None) -> None:
        """Start it; `work` is what it does, by default to execute the runs that it is sent."""
        processes = worker_context()
        self.grace_seconds = grace_seconds
        self.connection, child_end = processes.Pipe()
        # Not a daemon: a run that streams its images has processes of its own. If this program is killed,
        # the pipe breaks and the process ends by itself.
        self.process: BaseProcess = processes.Process(
            target=work or execute_runs, args=(child_end, context), daemon=False
        )
        with child_end:
            try:
                with interrupts_ignored():
                    self.process.start()
            except BaseException:
                self.connection.close()
                raise
        self.spec: Spec | None = None
        """The run in progress."""
        self._submitted = 0.0

    def submit(self, spec: Spec) -> None:
        """Send a run to the process."""
        self.spec, self._submitted = spec, time.monotonic()
        with suppress(OSError):  # it has just died: `receive` will find that
            self.connection.send(spec)

    def receive(self) -> RunEvent:
        """Return the next event of the run in progress; the last one if the process is dead."""
        event = self._receive() or self._end()
        if isinstance(event, RunReleased):
            self.spec = None
        return event

    def seconds(self) -> float:
        """Return the time since the run in progress was submitted."""
        return time.monotonic() - self._submitted

    def abandon(self, seconds: float) -> RunFailed:
        """Kill the process, whose run has not ended after so many seconds."""
        assert self.spec is not None
        spec, self.spec = self.spec, None
        self.kill()
        return RunFailed(spec, f"it did not stop at its time limit, and was killed after {seconds:.0f} s")

    def _receive(self) -> RunEvent | None:
        with suppress(EOFError, OSError):
            if self.connection.poll():
                event: RunEvent = self.connection.recv()
                return event
        return None

    def _end(self) -> RunLost | RunFailed:
        """Return that the run is lost, or has failed if it ended the process itself."""
        assert self.spec is not None
        cause, status = self.cause_of_death(), self.process.exitcode
        return RunFailed(self.spec, cause) if status is not None and status > 0 else RunLost(self.spec, cause)

    def cause_of_death(self) -> str:
        """Return what is known of the end of a dead process."""
        self.process.join(self.grace_seconds)
        self.kill()
        status = self.process.exitcode
        if status is None or status >= 0:
            return f"its process ended with exit status {status}"
        name = signal.Signals(-status).name
        hint = f" (by the system, if memory ran out: {MEMORY_HINT})" if name == "SIGKILL" else ""
        return f"its process was killed by {name}{hint}"

    def terminate(self) -> None:
        """Ask the process to end: after its step if it executes a run, at once if it is idle."""
        self.connection.close()
        self.process.terminate()

    def kill(self) -> None:
        """End the process if it has not ended."""
        self.connection.close()
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


def execute_runs(connection: Connection, context: RunContext, ranks: Ranks | None = None) -> None:
    """Execute the runs that come through the pipe, until it closes."""
    signals.follow_parent()
    worker, send = RunWorker(context, ranks), FewEpochs(partial(send_to_parent, connection))
    while True:
        try:
            spec = connection.recv()
        except (EOFError, OSError):
            return
        try:
            with plugins_to_stderr():
                worker.run(spec, send)
        except StopRequested:
            return
        except KeyboardInterrupt as error:  # from a plug-in: Ctrl-C does not come here
            send(RunFailed(spec, explain(error)))
