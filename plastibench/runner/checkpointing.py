"""Checkpointing of a run: how often its state is saved, and what is saved with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import isinf
from pathlib import Path
from time import monotonic
from typing import Any

from plastibench.plugins.file_reads import files_read
from plastibench.store.checkpoint import Checkpoint
from plastibench.store.record import other_data
from plastibench.system import signals
from plastibench.training.callbacks import (
    Checkpointer,
    IncompatibleCheckpointError,
    StateDict,
    StopRequested,
    TimeLimitReached,
)

MAX_TIME_FRACTION = 0.01
"""Fraction of a run's time that periodic checkpoints may take."""

INITIAL_SECONDS = 0.02
"""Assumed cost of a checkpoint until one has been written."""


@dataclass
class RunHistory:
    """The past of a run, saved with its state and reported in its record."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """The rows of the complete stages."""
    seconds: float = 0.0
    """Time spent in all earlier sessions."""
    sessions: list[dict[str, Any]] = field(default_factory=list)
    """One for each start or resumption: where, with what, from which stage and epoch on."""
    progress: StateDict | None = None
    """The state to resume from; None to start from the beginning."""
    data: str | None = None
    """Checksum of the data that the run was started on; None if that is not known."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Digests of the files that its plug-ins have read, by path."""

    @classmethod
    def load(cls, checkpoint: Checkpoint, log: Callable[[str], None]) -> RunHistory:
        """Return the history of a run, empty if there is no undamaged checkpoint."""
        state = checkpoint.read(log)
        try:
            history = cls(**(state or {}))
        except TypeError as error:
            raise IncompatibleCheckpointError(str(error)) from error
        if history.data is None and history.rows:  # a state of an earlier version
            history.data = history.rows[-1]["data"]
        return history

    def position(self) -> tuple[int, int]:
        """Return the stage and the epoch to resume at, both from 1."""
        if self.progress is None:
            return 1, 1
        return self.progress["stage"] + 1, self.progress.get("training", {"epoch": 0})["epoch"] + 1

    def add_session(self, origin: Mapping[str, Any]) -> None:
        """Add the session that starts or resumes the run now."""
        stage, epoch = self.position()
        names = ("host", "device", "devices", "torch", "threads", "commit")
        machine = {name: origin[name] for name in names if name in origin}
        started = datetime.now(UTC).isoformat(timespec="seconds")
        self.sessions.append({**machine, "started": started, "stage": stage, "epoch": epoch})


class RunCheckpointer(Checkpointer):
    """Saves the state of a run periodically, and when the run is asked to stop."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        history: RunHistory,
        interval: float,
        log: Callable[[str], None],
        clock: Callable[[], float] = monotonic,
        *,
        modules: Sequence[Path] = (),
        timeout: float | None = None,
    ) -> None:
        """Save every `interval` seconds; 0 is after every step, infinity only when asked to stop.

        `modules` are those of the run's plug-ins, whose files belong to it. The run stops after `timeout`
        seconds.
        """
        self.checkpoint, self.history, self.interval = checkpoint, history, interval
        self.log, self.clock, self.modules = log, clock, modules
        self.checkpoint_seconds = 0.0
        """Time spent on taking states and writing them."""
        self._started = self._saved = self._polled = clock()
        self.timeout = timeout
        self._cost = INITIAL_SECONDS

    def resume_state(self) -> StateDict | None:
        """Return the state that was read from the checkpoint."""
        return self.history.progress

    def check_data(self, checksum: str) -> None:
        """Save the checksum of the data with every state. Raises DataError if the run began on other data."""
        before = self.history.data
        if self.history.progress is not None and before not in (None, checksum):
            raise other_data("this run was stopped", str(before), checksum)
        self.history.data = checksum

    def should_checkpoint(self, *, between_stages: bool = False) -> bool:
        """Return whether the interval has passed, or between stages only enough time to be nearly free."""
        self._polled = self.clock()
        if signals.stop_requested() or self._time_is_up() or not self.interval:
            return True
        if isinf(self.interval):
            return False
        pause = self._cost / MAX_TIME_FRACTION
        return self._polled - self._saved >= (pause if between_stages else max(pause, self.interval))

    def save_state(self, state: StateDict) -> None:
        """Write the state. Raises StopRequested if the run was asked to stop, or its time is up."""
        history = replace(self.history, seconds=self.seconds(), progress=state, files=self.files())
        try:
            self.checkpoint.write(vars(history))
        except OSError as error:  # a full disk: the previous state is still there, and the run can continue
            self.log(f"no checkpoint could be written: {error.strerror or error}")
        self._saved = self.clock()
        self._cost = self._saved - self._polled  # taking the state synchronizes with the device
        self.checkpoint_seconds += self._cost
        if signals.stop_requested():
            raise StopRequested("asked to stop")
        if self._time_is_up():
            raise TimeLimitReached(
                f"the time limit of a run (--run-timeout {self.timeout:g}) has passed; its state is saved, "
                "and the same command continues it"
            )

    def _time_is_up(self) -> bool:
        return self.timeout is not None and self.clock() - self._started >= self.timeout

    def files(self) -> dict[str, str]:
        """Return the digests of the files that the run's plug-ins have read so far, by path."""
        return {**self.history.files, **files_read(self.modules)}

    def seconds(self) -> float:
        """Return the run's time so far, over all its sessions."""
        return self.history.seconds + self.clock() - self._started
