"""How long the rest of a tuning takes, judged by the trials so far."""

import time
from collections.abc import Sequence

from plastibench.tuning.budget import Budget
from plastibench.tuning.study import TuningStudy


def seconds_left(studies: Sequence[TuningStudy], budget: Budget, num_workers: int) -> float | None:
    """Return the seconds until every study has used its budget; None before the first trial has ended.

    A study without a finished trial is taken to be as slow as the others, a running trial as an average one.
    """
    used = [study.used(budget) for study in studies]
    seconds = [_seconds(study) for study in studies]
    if not sum(used):
        return None
    usual = sum(seconds) / sum(used)
    rest = sum(
        max(0.0, budget.amount - amount) * (spent / amount if amount else usual)
        for amount, spent in zip(used, seconds, strict=True)
    )
    return max(0.0, rest - _in_progress(studies)) / num_workers


def _seconds(study: TuningStudy) -> float:
    return sum(float(trial.user_attrs.get("seconds", 0.0)) for trial in study.finished_trials())


def _in_progress(studies: Sequence[TuningStudy]) -> float:
    """Return the seconds spent on running trials, each for as long as a finished one at most."""
    finished = sum(len(study.finished_trials()) for study in studies)
    longest = sum(map(_seconds, studies)) / max(1, finished)
    starts = [
        trial.datetime_start.timestamp()
        for study in studies
        for trial in study.counted_trials()
        if trial.state.name == "RUNNING" and trial.datetime_start is not None
    ]
    return sum(min(longest, max(0.0, time.time() - start)) for start in starts)
