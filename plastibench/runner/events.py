"""What happens to runs, as values that travel between processes and are dispatched to callbacks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from plastibench.experiments.spec import Spec
from plastibench.runner.callbacks import RunCallback
from plastibench.store.record import Record
from plastibench.training.callbacks import EpochProgress


@dataclass(frozen=True)
class RunEvent:
    """Something that happened to a run."""

    spec: Spec


Emit = Callable[[RunEvent], None]
"""A function that takes events as they happen."""


@dataclass(frozen=True)
class RunStarted(RunEvent):
    """A run started or resumed."""

    num_stages: int


@dataclass(frozen=True)
class EpochEnded(RunEvent):
    """An epoch ended."""

    epoch: EpochProgress


@dataclass(frozen=True)
class StageEnded(RunEvent):
    """A stage ended."""

    row: dict[str, Any]


@dataclass(frozen=True)
class StageRestored(RunEvent):
    """A stage had ended before the run was resumed."""

    row: dict[str, Any]


@dataclass(frozen=True)
class RunLogged(RunEvent):
    """There is a message about a run."""

    message: str


@dataclass(frozen=True)
class RunWarned(RunEvent):
    """Python code, such as a library, warned of something while a run was executed."""

    message: str


@dataclass(frozen=True)
class RunReleased(RunEvent):
    """A run is no longer executed here: the executor has capacity for another one."""


@dataclass(frozen=True)
class RunEnded(RunReleased):
    """A run ended; its record is in the store."""

    record: Record


@dataclass(frozen=True)
class RunFailed(RunReleased):
    """A run failed."""

    message: str


@dataclass(frozen=True)
class RunLost(RunReleased):
    """The process or the machine that executed a run is gone, through no exception of the run."""

    message: str


@dataclass(frozen=True)
class RunLocked(RunReleased):
    """A run was not executed because another process has its lock."""

    holder: str


def notify_all(callbacks: Iterable[RunCallback], event: RunEvent) -> None:
    """Call the hook of an event."""
    for callback in callbacks:
        _notify(callback, event)


def _notify(callback: RunCallback, event: RunEvent) -> None:
    match event:
        case RunStarted(spec, num_stages):
            callback.on_run_start(spec, num_stages)
        case EpochEnded(spec, epoch):
            callback.on_epoch_end(spec, epoch)
        case StageEnded(spec, row):
            callback.on_stage_end(spec, row)
        case StageRestored(spec, row):
            callback.on_stage_restored(spec, row)
        case RunLogged(spec, message):
            callback.on_log(spec, message)
        case RunWarned(spec, message):
            callback.on_warning(spec, message)
        case RunEnded(_, record):
            callback.on_run_end(record)
        case RunFailed(spec, message):
            callback.on_run_error(spec, message)
        case RunLost(spec, message):
            callback.on_log(spec, f"{message}; it is tried again")
        case RunLocked(spec, holder):
            callback.on_log(spec, f"already running in {holder}; waiting for its result")
