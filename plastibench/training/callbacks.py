"""Callbacks of a training run: what is reported, and when its state is saved and resumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

StateDict = dict[str, Any]
"""The whole state of a run as tensors and plain values: see `plastibench.training.state`."""


class StopRequested(KeyboardInterrupt):
    """A run stopped at the end of a step because it was asked to; its state is saved."""


class TimeLimitReached(StopRequested):
    """A run stopped at the end of a step because its time was up; its state is saved."""


class IncompatibleCheckpointError(RuntimeError):
    """A saved state does not fit the run: other code wrote it."""


@dataclass(frozen=True)
class EpochProgress:
    """Progress of a run at the end of an epoch."""

    stage: int
    """From 0."""
    epoch: int
    """Epochs of the stage that are complete."""
    train_accuracy: float
    steps: int
    """Steps since the start of the run."""


class TrainingCallback:
    """Base class of callbacks for one training run; every hook does nothing."""

    def on_epoch_end(self, epoch: EpochProgress) -> None:
        """Handle the end of an epoch."""

    def on_log(self, message: str) -> None:
        """Handle a message for the user; the same one may come again at every stage."""

    def on_left_out(self, files: Sequence[str]) -> None:
        """Handle files of the data that are not used, each with the reason; called before the first stage."""

    def on_train_end(self, model: nn.Module) -> None:
        """Handle the end of the last stage, whatever its stop reason."""


class Checkpointer:
    """Base class of what saves and resumes the state of a run; this one never does."""

    def resume_state(self) -> StateDict | None:
        """Return the state to resume from, or None to start from the beginning."""
        return None

    def check_data(self, checksum: str) -> None:
        """Save the checksum of the data with the state. Raises DataError if the saved one is another."""

    def should_checkpoint(self, *, between_stages: bool = False) -> bool:
        """Return whether to save the state now: asked after every step and before every stage.

        Must be quick and must not synchronize with the device.
        """
        return False

    def save_state(self, state: StateDict) -> None:
        """Save a state. May raise StopRequested to end the run here."""
