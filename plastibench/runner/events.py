"""What happens to runs, as values that travel between processes and are dispatched to callbacks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from plastibench.experiments.spec import Spec
from plastibench.runner.callbacks import RunCallback
from plastibench.store.record import Record
from plastibench.training.callbacks import EpochProgress


@dataclass(frozen=True)
class RunEvent(ABC):
    """Something that happened to a run."""

    spec: Spec

    @abstractmethod
    def notify(self, callback: RunCallback) -> None:
        """Call the hook of this event."""


Emit = Callable[[RunEvent], None]
"""A function that takes events as they happen."""


def notify_all(callbacks: Iterable[RunCallback], event: RunEvent) -> None:
    """Dispatch an event to callbacks."""
    for callback in callbacks:
        event.notify(callback)


@dataclass(frozen=True)
class RunStarted(RunEvent):
    """A run started or resumed."""

    num_stages: int

    def notify(self, callback: RunCallback) -> None:
        """Call on_run_start."""
        callback.on_run_start(self.spec, self.num_stages)


@dataclass(frozen=True)
class EpochEnded(RunEvent):
    """An epoch ended."""

    epoch: EpochProgress

    def notify(self, callback: RunCallback) -> None:
        """Call on_epoch_end."""
        callback.on_epoch_end(self.spec, self.epoch)


@dataclass(frozen=True)
class StageEnded(RunEvent):
    """A stage ended."""

    row: dict[str, Any]

    def notify(self, callback: RunCallback) -> None:
        """Call on_stage_end."""
        callback.on_stage_end(self.spec, self.row)


@dataclass(frozen=True)
class StageRestored(RunEvent):
    """A stage had ended before the run was resumed."""

    row: dict[str, Any]

    def notify(self, callback: RunCallback) -> None:
        """Call on_stage_restored."""
        callback.on_stage_restored(self.spec, self.row)


@dataclass(frozen=True)
class RunLogged(RunEvent):
    """There is a message about a run."""

    message: str

    def notify(self, callback: RunCallback) -> None:
        """Call on_log."""
        callback.on_log(self.spec, self.message)


@dataclass(frozen=True)
class RunWarned(RunEvent):
    """Python code, such as a library, warned of something while a run was executed."""

    message: str

    def notify(self, callback: RunCallback) -> None:
        """Call on_warning."""
        callback.on_warning(self.spec, self.message)


@dataclass(frozen=True)
class RunReleased(RunEvent):
    """A run is no longer executed here: the executor has capacity for another one."""


@dataclass(frozen=True)
class RunEnded(RunReleased):
    """A run ended; its record is in the store."""

    record: Record

    def notify(self, callback: RunCallback) -> None:
        """Call on_run_end."""
        callback.on_run_end(self.record)


@dataclass(frozen=True)
class RunFailed(RunReleased):
    """A run failed."""

    message: str

    def notify(self, callback: RunCallback) -> None:
        """Call on_run_error."""
        callback.on_run_error(self.spec, self.message)


@dataclass(frozen=True)
class RunLocked(RunReleased):
    """A run was not executed because another process has its lock."""

    holder: str

    def notify(self, callback: RunCallback) -> None:
        """Call on_log."""
        callback.on_log(self.spec, f"already running in {self.holder}; waiting for its result")
