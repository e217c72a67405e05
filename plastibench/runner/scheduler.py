"""Execute many runs: take them from a queue, hand them to an executor, pass its events to callbacks."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from time import monotonic, sleep

from plastibench.experiments.spec import Spec
from plastibench.runner.callbacks import RunCallback
from plastibench.runner.context import RunContext
from plastibench.runner.events import RunEvent, RunFailed, RunLocked, RunLost, RunReleased, notify_all
from plastibench.runner.executors.base import Executor
from plastibench.runner.executors.choice import ExecutorChoice

IDLE_SECONDS = 0.2
"""How often to look at the queue while all its runs are executed by other processes."""
RETRY_SECONDS = 2.0
"""How long until a run that another process executes is tried again."""


def run_specs(
    specs: Sequence[Spec],
    context: RunContext,
    callbacks: Sequence[RunCallback] = (),
    retries: int = 0,
    choice: ExecutorChoice | None = None,
) -> list[RunFailed]:
    """Execute runs by the executor that is chosen, in up to `context.num_processes` processes if none is.

    Return the failures. A run whose process or machine is lost is tried again up to `retries` times.

    Raises KeyboardInterrupt after the state of every run in progress is saved if the user asks to stop.
    """
    context = replace(context, num_processes=max(1, min(context.num_processes, len(specs))))
    if not specs:
        return []
    executor = (choice or ExecutorChoice()).make(context)
    return Scheduler(executor, RunQueue(specs), callbacks, retries=retries).run()


class RunQueue:
    """Runs to execute, in order; those that other processes execute are tried again later."""

    def __init__(self, specs: Iterable[Spec], retry_seconds: float = RETRY_SECONDS) -> None:
        self.retry_seconds = retry_seconds
        self._waiting = deque((spec, 0.0) for spec in specs)

    def __len__(self) -> int:
        """Return the number of waiting runs."""
        return len(self._waiting)

    def pop(self) -> Spec | None:
        """Remove and return the first run that is due, or None if none is."""
        now = monotonic()
        for position, (spec, due) in enumerate(self._waiting):
            if due <= now:
                del self._waiting[position]
                return spec
        return None

    def retry_later(self, spec: Spec) -> None:
        """Put back a run that another process executes, or whose own process is gone."""
        self._waiting.append((spec, monotonic() + self.retry_seconds))


class Scheduler:
    """Drives an executor until a queue is empty; the only place that calls callbacks of many runs."""

    def __init__(
        self, executor: Executor, queue: RunQueue, callbacks: Sequence[RunCallback], retries: int = 0
    ) -> None:
        """Try a run whose process or machine is lost again up to `retries` times; an exception is final."""
        self.executor, self.queue, self.callbacks, self.retries = executor, queue, callbacks, retries
        self.failures: list[RunFailed] = []
        self.num_running = 0
        self._locked: set[str] = set()
        self._num_lost: Counter[str] = Counter()

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
        if isinstance(event, RunLost):
            event = self._retry(event)
        if isinstance(event, RunFailed):
            self.failures.append(event)
        if isinstance(event, RunLocked):
            self.queue.retry_later(event.spec)
            if event.spec.id in self._locked:
                return
            self._locked.add(event.spec.id)
        notify_all(self.callbacks, event)

    def _retry(self, event: RunLost) -> RunEvent:
        """Put a lost run back into the queue; it has failed if that was done often enough."""
        run = event.spec.id
        if self._num_lost[run] >= self.retries:
            return RunFailed(event.spec, event.message)
        self._num_lost[run] += 1
        self.queue.retry_later(event.spec)
        return event
