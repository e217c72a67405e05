"""What stages take, and what runs do by that of other stages: what every estimate is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any

from plastibench.training.cost import PHASES

GROWTH = 0.85
"""Seconds of a stage grow as this power of its examples: more data need fewer epochs. Fitted to the shipped
methods on digits and on CIFAR-10, where it lies between 0.4 and 1.1."""

UNKNOWN_STEPS = (0.4, 2.5)
"""Factors between which seconds lie if the number of steps was assumed."""
ONE_STAGE, ONE_RUN = (0.7, 1.5), (0.75, 1.25)
"""Factors between which seconds lie if one stage was timed to its end, or one run is finished."""
LEAST, MOST = 0.15, 0.7
"""Limits of the relative uncertainty of a mean over several stages: machines are not alike at all times."""


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
    """Peak bytes on the device, or of the process if the device does not measure them; None: unknown."""
    is_complete: bool = True
    """Whether the stage was trained to its end; how many steps it needs is assumed otherwise."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any], process_memory: int | None = None) -> StageTime:
        """Return what a stage in a record took, whose process had so much memory."""
        seconds = {phase: float(row.get(f"{phase}_seconds") or 0.0) for phase in PHASES}
        evaluation = seconds.pop("evaluation")
        flops = [row.get(f"{phase}_flops") for phase in PHASES]
        return cls(
            index=int(row["index"]),
            num_train=int(row["num_train"]),
            seconds=sum(seconds.values()),
            evaluation=evaluation,
            flops=None if None in flops else float(sum(each or 0.0 for each in flops)),
            memory=row.get("peak_memory") or process_memory,
        )


def predict_seconds(times: Sequence[StageTime], sizes: Sequence[StageSize]) -> float:
    """Return the seconds of a run with stages of these sizes, from stages of such runs."""
    training = _predict([(time, time.seconds) for time in times], sizes)
    return training + len(sizes) * fmean(time.evaluation for time in times)


def predict_range(times: Sequence[StageTime], sizes: Sequence[StageSize]) -> tuple[float, float]:
    """Return the least and the most seconds that a run may well take, by how far its stages differ.

    How many epochs a later stage needs is not known before it is trained: with few timed stages, or stages
    that were not timed to their end, the range is wide.
    """
    first = [time for time in times if time.index == 0]
    later = [time for time in times if time.index > 0]
    parts = [
        (_unit([(time, time.seconds) for time in group or times]) * sum(work(size.num_train) for size in of))
        for group, of in ((first, sizes[:1]), (later, sizes[1:]))
    ]
    whole = _whole_runs(times, len(sizes))
    factors = 2 * [_spread(whole, ONE_RUN)] if whole else [_uncertainty(group) for group in (first, later)]
    rest = predict_seconds(times, sizes) - sum(parts)  # evaluation, which is known well
    low, high = (
        rest + sum(part * each[end] for part, each in zip(parts, factors, strict=True)) for end in (0, 1)
    )
    return low, high


def _uncertainty(times: Sequence[StageTime]) -> tuple[float, float]:
    """Return by which factors the mean seconds of stages may be wrong."""
    if not times or not all(time.is_complete for time in times):
        return UNKNOWN_STEPS
    return _spread([time.seconds / work(time.num_train) for time in times], ONE_STAGE)


def _spread(seconds: Sequence[float], of_one: tuple[float, float]) -> tuple[float, float]:
    """Return the factors for the mean of these seconds: two standard errors, within limits."""
    mean = fmean(seconds)
    if len(seconds) < 2 or not mean:
        return of_one
    relative = min(MOST, max(LEAST, 2 * stdev(seconds) / mean / len(seconds) ** 0.5))
    return 1 - relative, 1 + relative


def _whole_runs(times: Sequence[StageTime], num_stages: int) -> list[float]:
    """Return the seconds of each run, if the stages are those of whole runs of so many stages."""
    starts = [place for place, time in enumerate(times) if time.index == 0]
    runs = [times[start:end] for start, end in pairwise([*starts, len(times)])]
    complete = bool(starts) and starts[0] == 0 and all(time.is_complete for time in times)
    if not complete or any(len(run) != num_stages for run in runs):
        return []
    return [sum(time.seconds for time in run) for run in runs]


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
