"""Callbacks of a tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from plastibench.tuning.budget import Budget
    from plastibench.tuning.study import TuningStudy


class TuningCallback:
    """Base class of callbacks; every hook does nothing until a subclass overrides it."""

    def on_start(self, studies: Sequence[TuningStudy], budget: Budget, num_workers: int) -> None:
        """Called once, before the first trial."""

    def on_trial_end(self, study: TuningStudy, trial: FrozenTrial) -> None:
        """Called when a trial is complete, pruned or failed, whichever process ran it."""
