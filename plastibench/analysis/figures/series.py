"""The numbers behind figures: measurements by stage, and Pareto fronts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeGuard

from plastibench.analysis.stats.estimate import Estimate, estimate_mean
from plastibench.analysis.tables.table import ResultRow
from plastibench.training.cost import COST_COLUMNS

NOT_DIAGNOSTICS = {"index", "num_train", "num_new", "num_test", "test_accuracy", "test_correct"}
NOT_DIAGNOSTICS |= {*COST_COLUMNS, "probe_seconds"}
"""Numbers of a stage that have figures or columns of their own."""
MAX_DIAGNOSTICS = 8

Point = tuple[float, float]


def stage_estimates(row: ResultRow, name: str, factor: float = 1.0) -> list[tuple[int, Estimate]]:
    """Return (stage, mean over seeds) of a measurement, for every stage that has it."""
    by_stage: dict[int, list[float]] = {}
    for record in row.records:
        for stage in record.stages if record.status == "done" else ():
            value = stage.get(name)
            if _is_number(value):
                by_stage.setdefault(stage["index"], []).append(factor * value)
    return [(stage, estimate_mean(values)) for stage, values in sorted(by_stage.items())]


def diagnostics(rows: Iterable[ResultRow]) -> list[str]:
    """Return the names of the measurements that stages have besides sizes, results and costs."""
    stages = [record.stages[0] for row in rows for record in row.records]
    names = {name for stage in stages for name, value in stage.items() if _is_number(value)}
    return sorted(names - NOT_DIAGNOSTICS)[:MAX_DIAGNOSTICS]


def total_passes(row: ResultRow) -> float:
    """Return the passes of a whole run, averaged over seeds."""
    return row.cost["passes"] or 0.0


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """Return the points (cost, value) that no other point matches or beats at the same or a lower cost."""
    front: list[Point] = []
    for cost, value in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or value > front[-1][1]:
            front.append((cost, value))
    return front


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
