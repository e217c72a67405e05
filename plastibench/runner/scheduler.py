"""Execute many runs: hand them to an executor, pass its events to callbacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import sleep

from plastibench.experiments.spec import Spec
from plastibench.runner.callbacks import RunCallback
from plastibench.runner.context import RunContext
from plastibench.runner.events import RunEvent, RunFailed, RunLocked, RunReleased, notify_all
from plastibench.runner.executors.base import Executor
from plastibench.runner.executors.processes import ProcessExecutor
from plastibench.runner.executors.serial import SerialExecutor
from plastibench.runner.queue import RunQueue

IDLE_SECONDS = 0.2
"""How often to look at the queue while all its runs are executed by other processes."""


def run_specs(
    specs: Sequence[Spec], context: RunContext, callbacks: Sequence[RunCallback] = ()
) -> list[RunFailed]:
    """Execute runs in up to `context.num_processes` processes; return the failures.

    Raises KeyboardInterrupt after the state of every run in progress is saved if the user asks to stop.
    """
    context = replace(context, num_processes=max(1, min(context.num_processes, len(specs))))
    executor = ProcessExecutor(context) if context.num_processes > 1 else SerialExecutor(context)
    return Scheduler(executor, RunQueue(specs), callbacks).run()


class Scheduler:
    """Drives an executor until a queue is empty; the only place that calls callbacks of many runs."""

    def __init__(self, executor: Executor, queue: RunQueue, callbacks: Sequence[RunCallback]) -> None:
        self.executor, self.queue, self.callbacks = executor, queue, callbacks
        self.failures: list[RunFailed] = []
        self.num_running = 0
        self._locked: set[str] = set()

    def run(self) -> list[RunFailed]:
        """Execute every run of the queue; return the failures."""
        with self.executor:
            while self.queue or self.num_running:
                self._submit()
                if self.num_running:
                    self.executor.poll(self._handle)
                else:
                    sleep(IDLE_SECONDS)
        return self.failures

    def _submit(self) -> None:
        while self.executor.has_capacity():
            spec = self.queue.pop()
            if spec is None:
                return
            self.num_running += 1
            self.executor.submit(spec)

    def _handle(self, event: RunEvent) -> None:
        """Keep account of a run and call the callbacks; a locked run is reported once."""
        self.num_running -= isinstance(event, RunReleased)
        if isinstance(event, RunFailed):
            self.failures.append(event)
        if isinstance(event, RunLocked):
            self.queue.retry_later(event.spec)
            if event.spec.id in self._locked:
                return
            self._locked.add(event.spec.id)
        notify_all(self.callbacks, event)
