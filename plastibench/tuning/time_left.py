"""How long the rest of a tuning takes, judged by the trials so far."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from plastibench.tuning.budget import Budget
from plastibench.tuning.study import TuningStudy

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def seconds_left(studies: Sequence[TuningStudy], budget: Budget, num_workers: int) -> float | None:
    """Return the seconds until every study has used its budget; None before the first trial has ended.

    A study without a finished trial is taken to be as slow as the others, a running trial as an average one.
    """
    used = [study.used(budget) for study in studies]
    finished = [study.finished_trials() for study in studies]
    seconds = [_seconds(trials) for trials in finished]
    if not sum(used):
        return None
    usual = sum(seconds) / sum(used)
    rest = sum(
        max(0.0, budget.amount - amount) * (spent / amount if amount else usual)
        for amount, spent in zip(used, seconds, strict=True)
    )
    average = sum(seconds) / max(1, sum(map(len, finished)))
    return max(0.0, rest - _in_progress(studies, average)) / num_workers


def _seconds(trials: Sequence[FrozenTrial]) -> float:
    return sum(float(trial.user_attrs.get("seconds", 0.0)) for trial in trials)


def _in_progress(studies: Sequence[TuningStudy], average: float) -> float:
    """Return the seconds spent on running trials, each counted up to the average of finished ones."""
    starts = [
        trial.datetime_start.timestamp()
        for study in studies
        for trial in study.counted_trials()
        if trial.state.name == "RUNNING" and trial.datetime_start is not None
    ]
    return sum(min(average, max(0.0, time.time() - start)) for start in starts)
