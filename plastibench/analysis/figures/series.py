"""What pictures are drawn from: rows of tables, taken apart by stage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeGuard

from plastibench.analysis.stats.estimate import Estimate, estimate_mean
from plastibench.analysis.tables.table import ResultRow
from plastibench.training.cost import COST_COLUMNS

SHOWN_ELSEWHERE = {
    "index",
    "num_train",
    "num_new",
    "num_test",
    "test_accuracy",
    "test_correct",
    *COST_COLUMNS,
}
"""Numbers of a stage that are no diagnostics: sizes, the result itself, and costs."""
MOST = 8

Point = tuple[float, float]


def over_stages(row: ResultRow, name: str, factor: float = 1.0) -> list[tuple[int, Estimate]]:
    """Return (stage, mean over seeds) of one number, where any finished run has it."""
    by_stage: dict[int, list[float]] = {}
    for record in row.records:
        if record.status == "done":
            for stage in record.stages:
                value = stage.get(name)
                if _is_number(value):
                    by_stage.setdefault(stage["index"], []).append(factor * value)
    return [(stage, estimate_mean(values)) for stage, values in sorted(by_stage.items())]


def diagnostics(rows: Sequence[ResultRow]) -> list[str]:
    """Return the names of the numbers that stages carry beside sizes, results and costs."""
    found: dict[str, None] = {}
    for row in rows:
        for record in row.records:
            found.update(
                {
                    name: None
                    for name, value in record.stages[0].items()
                    if name not in SHOWN_ELSEWHERE and _is_number(value)
                }
            )
    return sorted(found)[:MOST]


def labelled(name: str) -> str:
    """Return a label that is shown: matplotlib hides one with a leading underscore."""
    return f"\u200b{name}" if name.startswith("_") else name


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def passes(row: ResultRow) -> float:
    """Return the examples taken forward and backward in a whole run, mean over seeds."""
    return row.cost["passes"] or 0.0


def pareto(points: Sequence[Point]) -> list[Point]:
    """Return the points (cost, value) to which no other is at once as cheap and as good or better."""
    front: list[Point] = []
    for cost, value in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or value > front[-1][1]:
            front.append((cost, value))
    return front
