"""A run that another machine executes, seen from the machine that has the store: its lock and its files."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from plastibench.experiments.spec import Spec, own_plugins
from plastibench.runner.context import RunContext
from plastibench.runner.events import RunEnded, RunEvent, RunFailed, RunStarted, StageEnded, StageRestored
from plastibench.store.run_status import run_lock
from plastibench.store.run_writer import RunWriter


class RemoteRun:
    """Holds the lock of a run, and writes to the store what comes back of it, until `close`."""

    def __init__(self, spec: Spec, context: RunContext) -> None:
        """Lock the run. Raises RunLockedError if another process has locked it."""
        self.spec, self.context = spec, context
        self._resources = ExitStack()
        self._resources.enter_context(run_lock(context.store.folder(spec.id)))
        self._restored: list[dict[str, Any]] = []
        self._writer: RunWriter | None = None

    def record(self, event: RunEvent, trace: str = "") -> RunEvent:
        """Write what an event tells, and return the event for the callbacks.

        `trace` is the traceback of a failure. Raises OSError if the store cannot be written.
        """
        match event:
            case RunStarted():
                self._restored.clear()
            case StageRestored(_, row):
                self._restored.append(row)
            case StageEnded(_, row):
                self._open().append(row)
            case RunEnded(spec, record):
                writer = self._open()
                writer.rows = list(record.stages)
                event = RunEnded(spec, writer.finish(record.status, record.provenance))
                self.context.checkpoint(spec.id).remove()
            case RunFailed(_, message):
                self._open().fail(message, trace)
        return event

    def close(self, reason: str = "") -> None:
        """Release the run; the reason is why it has not ended, if it has not."""
        if self._writer is not None:
            self._writer.close(reason)
        self._resources.close()

    def _open(self) -> RunWriter:
        """Return the writer, which begins with the stages that had ended before."""
        if self._writer is None:
            plugins = own_plugins(self.spec, self.context.registry)
            self._writer = self.context.store.open(self.spec, self._restored, plugins).begin()
        return self._writer
