"""Seconds of stages, and of runs from those of other stages: what every estimate of time is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from plastibench.training.cost import PHASES

GROWTH = 0.85
"""Seconds of a stage grow as this power of its examples: more data need fewer epochs. Fitted to the shipped
methods on digits and on CIFAR-10, where it lies between 0.4 and 1.1."""


@dataclass(frozen=True)
class StageSize:
    """The data of one stage."""

    num_train: int
    num_new: int
    num_test: int


@dataclass(frozen=True)
class StageTime:
    """What one stage took."""

    index: int
    num_train: int
    seconds: float
    """Without evaluation."""
    evaluation: float

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> StageTime:
        """Return what a stage in a record took."""
        seconds = {phase: float(row.get(f"{phase}_seconds") or 0.0) for phase in PHASES}
        evaluation = seconds.pop("evaluation")
        return cls(int(row["index"]), int(row["num_train"]), sum(seconds.values()), evaluation)


def predict_seconds(times: Sequence[StageTime], sizes: Sequence[StageSize]) -> float:
    """Return the seconds of a run with stages of these sizes, from stages of such runs.

    A first stage, which starts from fresh weights, is compared with first stages, the others with others.
    """
    first = [time for time in times if time.index == 0] or times
    later = [time for time in times if time.index > 0] or times
    training = _unit(first) * work(sizes[0].num_train)
    training += _unit(later) * sum(work(size.num_train) for size in sizes[1:])
    return training + len(sizes) * fmean(time.evaluation for time in times)


def _unit(times: Sequence[StageTime]) -> float:
    return sum(time.seconds for time in times) / sum(work(time.num_train) for time in times)


def work(num_train: int) -> float:
    """Return what the seconds of a stage with so many examples are proportional to."""
    return float(num_train**GROWTH)
