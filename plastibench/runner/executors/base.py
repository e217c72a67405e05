"""The interface of executors."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from plastibench.experiments.spec import Spec
from plastibench.runner.context import RunContext
from plastibench.runner.events import Emit
from plastibench.system import signals


class Executor(ABC):
    """Executes runs somewhere: in this process, in others, on a cluster.

    A context manager: on entry it acquires its resources, on exit, however it comes, `stop` releases them.
    A run executes as `RunWorker` does it, from a pickled RunContext and Spec, and its events come back
    pickled. Events are emitted, not returned, so that a run in this process can report its epochs.
    """

    def __enter__(self) -> Self:
        """Acquire processes or other resources."""
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    @abstractmethod
    def has_capacity(self) -> bool:
        """Return whether another run can be submitted now; on a cluster that may change at any time."""

    @abstractmethod
    def submit(self, spec: Spec) -> None:
        """Start a run without waiting for it."""

    @abstractmethod
    def poll(self, emit: Emit) -> None:
        """Emit the events of submitted runs, after a short wait if there are none.

        The last event of every run is a RunReleased, also if its process or machine is lost.
        """

    @abstractmethod
    def stop(self) -> None:
        """Let the runs in progress save their states, then release all resources."""


OVERDUE_SECONDS = 120.0
"""How long after its time limit a run that does not stop by itself is taken to hang: it imports and reads
data before its time counts."""


def hang_seconds(context: RunContext, overdue_seconds: float) -> float | None:
    """Return after how many seconds a run is taken to hang; None if runs have no time limit."""
    return None if context.run_timeout is None else context.run_timeout + overdue_seconds


class WorkerExecutor(Executor):
    """Executes runs in other processes, which save their states after Ctrl-C while the user waits."""

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; tell the user so after Ctrl-C."""
        if error_type is not None and issubclass(error_type, KeyboardInterrupt):
            signals.announce_stop()
        super().__exit__(error_type, error, trace)
