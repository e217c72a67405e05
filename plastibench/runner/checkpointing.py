"""A run and its checkpoint: when the state is written, and what is written beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from math import isinf
from time import monotonic
from typing import TYPE_CHECKING, Any

from plastibench.store.checkpoint import Checkpoint
from plastibench.system import signals
from plastibench.training.callbacks import Epoch, State, StopRequested, TrainingCallback

if TYPE_CHECKING:
    from torch import nn

SHARE = 0.01
"""Share of the time of a run that may be spent on checkpoints."""

FIRST_SECONDS = 0.02
"""What a checkpoint is taken to cost until one has been written."""


@dataclass
class RunHistory:
    """What a run has behind it: kept with its state, and told in its record."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """The rows of the stages that are complete."""
    seconds: float = 0.0
    """Spent by the attempts that led here."""
    sessions: list[dict[str, Any]] = field(default_factory=list)
    """Those attempts: where, with what, from which stage and epoch on."""
    progress: State | None = None
    """Where to go on, or None for the start."""

    def where(self) -> tuple[int, int]:
        """Return the stage and the epoch to go on in, both from 1."""
        if self.progress is None:
            return 1, 1
        return self.progress["stage"] + 1, self.progress.get("training", {"epoch": 0})["epoch"] + 1

    def begin(self, origin: Mapping[str, Any]) -> None:
        """Note an attempt that goes on from here."""
        stage, epoch = self.where()
        known = {name: origin[name] for name in ("host", "device", "torch", "threads", "commit")}
        started = datetime.now(UTC).isoformat(timespec="seconds")
        self.sessions.append({**known, "started": started, "stage": stage, "epoch": epoch})


def find(checkpoint: Checkpoint, say: Callable[[str], None]) -> RunHistory:
    """Return what is left of a run: nothing, where no checkpoint can be used."""
    kept = checkpoint.read(say)
    return RunHistory() if kept is None else RunHistory(**kept)


class Checkpointer(TrainingCallback):
    """Writes the state of a run every so often, and when the run is asked to stop."""

    def __init__(self, checkpoint: Checkpoint, history: RunHistory, interval: float) -> None:
        """Keep every `interval` seconds; 0 is after every step, infinity only when asked to stop."""
        self.checkpoint, self.history, self.interval = checkpoint, history, interval
        self.tell: Callable[[Epoch], None] = lambda _: None
        self.say: Callable[[str], None] = lambda _: None
        self.said: set[str] = set()
        self.began = self.last = self.asked = monotonic()
        self.cost = FIRST_SECONDS
        self.spent = 0.0
        """Seconds spent on checkpoints: on taking states, and on writing them."""
        self.weights: str | None = None
        """Digest of the weights that the run ended with."""

    def on_epoch_end(self, epoch: Epoch) -> None:
        """Pass on."""
        self.tell(epoch)

    def on_log(self, message: str) -> None:
        """Pass on what was not said before."""
        if message not in self.said:
            self.said.add(message)
            self.say(message)

    def resume_state(self) -> State | None:
        """Return where the run goes on."""
        return self.history.progress

    def should_checkpoint(self, *, between_stages: bool = False) -> bool:
        """Return whether to write now: between stages, too, only as often as costs next to nothing."""
        self.asked = monotonic()
        if signals.stop_requested() or not self.interval:
            return True
        if isinf(self.interval):
            return False
        rest = self.cost / SHARE
        return self.asked - self.last >= (rest if between_stages else max(rest, self.interval))

    def save_state(self, state: State) -> None:
        """Write the state; end the run where it was asked to stop."""
        try:
            self.checkpoint.write(asdict(self._now()) | {"progress": state})
        except OSError as error:  # a full disk: the state before is still there, and the run can go on
            self.on_log(f"no checkpoint could be written: {error.strerror or error}")
        self.last = monotonic()
        self.cost = self.last - self.asked  # with taking the state, which waits for the device
        self.spent += self.cost
        if signals.stop_requested():
            raise StopRequested("asked to stop")

    def on_train_end(self, model: nn.Module) -> None:
        """Take the digest of the weights."""
        from plastibench.training.state import weights_digest

        self.weights = weights_digest(model)

    def seconds(self) -> float:
        """Return the seconds of the run so far, over all its attempts."""
        return self.history.seconds + monotonic() - self.began

    def _now(self) -> RunHistory:
        return RunHistory(self.history.rows, self.seconds(), self.history.sessions)
