"""Log the ends of trials."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from plastibench.console import TIMED, describe_seconds
from plastibench.tuning.callbacks import TuningCallback
from plastibench.tuning.objective import format_values
from plastibench.tuning.study import TuningStudy
from plastibench.tuning.time_left import seconds_left
from plastibench.tuning.trials import REASON, best_trials

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from plastibench.tuning.budget import Budget

logger = logging.getLogger(__name__)

ENDINGS = {"COMPLETE": "", "PRUNED": "pruned:", "FAIL": "failed"}


class TrialLogger(TuningCallback):
    """Log a line for each trial that has ended."""

    def on_start(self, studies: Sequence[TuningStudy], budget: Budget, num_workers: int) -> None:
        """Take the budget."""
        self.studies, self.budget, self.num_workers = studies, budget, num_workers

    def on_trial_end(self, study: TuningStudy, trial: FrozenTrial) -> None:
        """Log a trial."""
        names = study.plan.config.objectives
        values = format_values(names, trial.values) if trial.state.name == "COMPLETE" else ""
        parts = [values, ENDINGS[trial.state.name], trial.user_attrs.get(REASON, "")]
        outcome = " ".join(part for part in parts if part)
        left = seconds_left(self.studies, self.budget, self.num_workers)
        logger.info(
            "%s trial %d: %s (best %s; %s), %.1f s%s",
            study.plan.base_spec.method.name,
            trial.number,
            outcome,
            format_best(study),
            format_used(study, self.budget),
            float(trial.user_attrs.get("seconds", 0.0)),
            f"; about {describe_seconds(left)} left" if left else "",
            extra=TIMED,
        )


def format_best(study: TuningStudy) -> str:
    """Return the best value so far, or how many trials no other beats if there are two objectives."""
    best = best_trials(study.study)
    if len(best) > 1:
        return f"{len(best)} that no other beats"
    return format_values(study.plan.config.objectives, best[0].values) if best else "none"


def format_used(study: TuningStudy, budget: Budget) -> str:
    """Return the used part of the budget."""
    return f"{study.used(budget):,.6g} of {budget.describe()}"


class TrialWatcher:
    """Calls callbacks for each trial that has ended since the last time, whichever process ran it."""

    def __init__(self, studies: Sequence[TuningStudy], callbacks: Sequence[TuningCallback]) -> None:
        self.studies = studies
        self.callbacks = callbacks
        self._seen = {(study, trial.number) for study, trial in self._ended()}

    def _ended(self) -> list[tuple[str, FrozenTrial]]:
        return [(s.plan.study_name, trial) for s in self.studies for trial in s.finished_trials()]

    def check(self) -> None:
        """Look for trials that have ended."""
        for study in self.studies:
            for trial in study.finished_trials():
                key = study.plan.study_name, trial.number
                if key not in self._seen:
                    self._seen.add(key)
                    for callback in self.callbacks:
                        callback.on_trial_end(study, trial)
