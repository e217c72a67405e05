"""How far a run is: what is told of it, when its state is kept, and from what it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

State = dict[str, Any]
"""The whole state of a run as tensors and plain values: see `snapshot`."""


class StopRequested(KeyboardInterrupt):
    """A run was asked to stop and did, at the end of a step; its state is kept."""


class IncompatibleCheckpointError(RuntimeError):
    """A state that was kept does not fit the run any more: other code wrote it."""


@dataclass(frozen=True)
class Epoch:
    """Where a run stands after an epoch: for a progress display."""

    stage: int
    epoch: int
    train_accuracy: float
    steps: int


class TrainingCallback:
    """Goes along with a run: is told of its epochs and may keep its state. This one keeps nothing."""

    def on_epoch_end(self, epoch: Epoch) -> None:
        """Take note of an epoch that ended."""

    def on_log(self, message: str) -> None:
        """Take note of something about the run that is worth a line, once."""

    def resume_state(self) -> State | None:
        """Return the state that the run is to go on from, or None for a run from the start."""
        return None

    def should_checkpoint(self, *, between_stages: bool = False) -> bool:
        """Return whether the state is to be kept now: asked after every step, and before every stage.

        Must be quick and must not wait for the device.
        """
        return False

    def save_state(self, state: State) -> None:
        """Keep a state. May raise Stopped, which ends the run here."""

    def on_train_end(self, model: nn.Module) -> None:
        """Take note of what the last stage left, however it ended."""
