"""Execute runs in this process, one after the other."""

from contextlib import ExitStack
from typing import Self

from plastibench.experiments.spec import Spec
from plastibench.runner.context import RunContext
from plastibench.runner.events import Emit
from plastibench.runner.executors.base import Executor
from plastibench.runner.worker import RunWorker
from plastibench.system import signals


class SerialExecutor(Executor):
    """Executes the submitted run while it is polled; the first Ctrl-C lets the run save its state."""

    def __init__(self, context: RunContext) -> None:
        self._worker = RunWorker(context)
        self._submitted: Spec | None = None
        self._signals = ExitStack()

    def __enter__(self) -> Self:
        """Install the signal handlers."""
        self._signals.enter_context(signals.stop_on_signals())
        return self

    def has_capacity(self) -> bool:
        """Return whether no run is submitted."""
        return self._submitted is None

    def submit(self, spec: Spec) -> None:
        """Execute a run at the next poll."""
        self._submitted = spec

    def poll(self, emit: Emit) -> None:
        """Execute the submitted run to its end. Raises StopRequested if this process is asked to stop."""
        if self._submitted is not None:
            spec, self._submitted = self._submitted, None
            self._worker.run(spec, emit)

    def stop(self) -> None:
        """Restore the signal handlers: no run is in progress between two polls."""
        self._signals.close()
