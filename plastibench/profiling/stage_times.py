"""What stages take, and what runs do by that of other stages: what every estimate is made of."""

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
    flops: float | None = None
    """Of all passes; None if they could not be counted."""
    memory: int | None = None
    """Peak bytes on the device; None if it does not measure them."""
    is_complete: bool = True
    """Whether the stage was trained to its end; how many steps it needs is assumed otherwise."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> StageTime:
        """Return what a stage in a record took."""
        seconds = {phase: float(row.get(f"{phase}_seconds") or 0.0) for phase in PHASES}
        evaluation = seconds.pop("evaluation")
        flops = [row.get(f"{phase}_flops") for phase in PHASES]
        return cls(
            index=int(row["index"]),
            num_train=int(row["num_train"]),
            seconds=sum(seconds.values()),
            evaluation=evaluation,
            flops=None if None in flops else float(sum(each or 0.0 for each in flops)),
            memory=row.get("peak_memory"),
        )


def predict_seconds(times: Sequence[StageTime], sizes: Sequence[StageSize]) -> float:
    """Return the seconds of a run with stages of these sizes, from stages of such runs."""
    training = _predict([(time, time.seconds) for time in times], sizes)
    return training + len(sizes) * fmean(time.evaluation for time in times)


def predict_flops(times: Sequence[StageTime], sizes: Sequence[StageSize]) -> float | None:
    """Return the FLOPs of a run as `predict_seconds` does its seconds; None if they could not be counted."""
    counted = [(time, time.flops) for time in times if time.flops is not None]
    return _predict(counted, sizes) if counted else None


def _predict(costs: Sequence[tuple[StageTime, float]], sizes: Sequence[StageSize]) -> float:
    """Return what a run costs if stages cost so much.

    A first stage, which starts from fresh weights, is compared with first stages, the others with others.
    """
    first = [cost for cost in costs if cost[0].index == 0] or costs
    later = [cost for cost in costs if cost[0].index > 0] or costs
    return _unit(first) * work(sizes[0].num_train) + _unit(later) * sum(
        work(size.num_train) for size in sizes[1:]
    )


def _unit(costs: Sequence[tuple[StageTime, float]]) -> float:
    return sum(cost for _, cost in costs) / sum(work(time.num_train) for time, _ in costs)


def work(num_train: int) -> float:
    """Return what the seconds of a stage with so many examples are proportional to."""
    return float(num_train**GROWTH)
