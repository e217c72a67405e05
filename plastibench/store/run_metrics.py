"""What one finished run came to: its accuracies, and the sums of what its stages cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import cast

from plastibench.training.cost import COST_COLUMNS

SUMMED = tuple(name for name, column in COST_COLUMNS.items() if column.total == "sum")
"""Costs of a stage that add up over a run."""
HIGHEST = tuple(name for name, column in COST_COLUMNS.items() if column.total == "max" and not column.phase)
"""Costs of which a run has the highest of its stages; the peaks of single phases stay in the stages."""
SECONDS = tuple(name for name, column in COST_COLUMNS.items() if column.unit == "s")
DERIVED = {
    "passes": ("train_passes", "remedy_passes"),
    "flops": ("train_flops", "remedy_flops"),
    "seconds": SECONDS,
    "energy": tuple(name for name, column in COST_COLUMNS.items() if column.unit == "J"),
}
"""Sums of other costs; `passes` and `flops` leave out what it takes to measure a method."""
COSTS = (*SUMMED, *DERIVED, *HIGHEST)
HARDWARE_DEPENDENT = ("seconds", "memory", "energy")
"""Ends of the names of costs that no two runs share, and that mean nothing without their hardware."""

Costs = Mapping[str, float | None]


@dataclass(frozen=True)
class RunMetrics:
    """What one finished run came to."""

    seed: int
    accuracies: tuple[float, ...]
    """Of the test set after each stage, in percent."""
    steps: tuple[int, ...]
    """Of each stage."""
    passes: tuple[int, ...]
    """Of each stage, the remedy's own among them."""
    cost: Costs
    """Of the whole run; None for what its record does not say."""
    hardware: str = ""
    """Device and threads that it was made with: seconds, memory and energy are theirs."""

    @property
    def last(self) -> float:
        """Return the accuracy at the last stage."""
        return self.accuracies[-1]

    @cached_property
    def average(self) -> float:
        """Return the plain mean over stages, the first one included."""
        return sum(self.accuracies) / len(self.accuracies)


def total_cost(stages: Sequence[Mapping[str, float | None]]) -> Costs:
    """Return the cost of a run from its stages; None for what one of them does not say."""
    cost: dict[str, float | None] = {}
    for names, total in ((SUMMED, sum), (HIGHEST, max)):
        for name in names:
            values = [stage.get(name) for stage in stages]
            known = [float(value) for value in values if value is not None]
            cost[name] = total(known) if len(known) == len(values) else None
    for name, parts in DERIVED.items():
        cost[name] = _sum([cost[part] for part in parts])
    return cost


def _sum(values: Sequence[float | None]) -> float | None:
    return None if None in values else sum(cast("Sequence[float]", values))


_in_order: Callable[[Costs], tuple[float | None, ...]] = itemgetter(*COSTS)


def mean_cost(runs: Iterable[RunMetrics]) -> Costs:
    """Return means over runs; a cost that one of them does not know has none.

    Seconds, memory and energy of several kinds of hardware have none either.
    """
    found = list(runs)
    mixed = len(hardware_names(found)) > 1
    if not found:
        return dict.fromkeys(COSTS)
    sums = dict(zip(COSTS, map(_sum, zip(*(_in_order(run.cost) for run in found), strict=True)), strict=True))
    return {
        name: None if total is None or (mixed and name.endswith(HARDWARE_DEPENDENT)) else total / len(found)
        for name, total in sums.items()
    }


def relative_cost(cost: Costs, unit: Costs, *, same_hardware: bool) -> Costs:
    """Return costs divided by others; those of a machine have no ratio over several kinds of hardware."""

    def ratio(name: str) -> float | None:
        value, one = cost[name], unit[name]
        apart = not same_hardware and name.endswith(HARDWARE_DEPENDENT)
        return None if value is None or not one or apart else value / one

    return {name: ratio(name) for name in COSTS}


def runs_on(hardware: str, runs: Iterable[RunMetrics]) -> list[RunMetrics]:
    """Return those runs that were made with some hardware."""
    return [run for run in runs if run.hardware == hardware]


def hardware_names(runs: Iterable[RunMetrics]) -> list[str]:
    """Return what the runs were made with, sorted."""
    return sorted({run.hardware for run in runs})
