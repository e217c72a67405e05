"""The results of a finished run: its accuracies and its total cost."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import cast

from plastibench.training.cost import COST_COLUMNS, PROBE_COSTS

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
HARDWARE_UNITS = ("s", "bytes", "J")
"""Units of what depends on the hardware and differs between any two runs."""
HARDWARE_DEPENDENT = frozenset(
    {name for name, column in COST_COLUMNS.items() if column.unit in HARDWARE_UNITS}
    | {"seconds", "energy", *(name for name in PROBE_COSTS if name.endswith(("seconds", "memory", "energy")))}
)
"""Columns of stages, and sums of them, in these units; numbers that a method reports are none of them."""

Costs = Mapping[str, float | None]


@dataclass(frozen=True)
class RunMetrics:
    """The results of a finished run."""

    seed: int
    accuracies: tuple[float, ...]
    """Test accuracy after each stage, in percent."""
    steps: tuple[int, ...]
    """Of each stage."""
    passes: tuple[int, ...]
    """Of each stage, including the method's own."""
    cost: Costs
    """Of the whole run; None for what was not measured."""
    hardware: str = ""
    """Device and threads, which seconds, memory and energy depend on."""
    same_test: bool = True
    """Whether the test of every stage was the same: if not, two stages cannot be compared."""
    weights: str = ""
    """Digest of the last weights; empty in older records."""

    @property
    def last(self) -> float:
        """Return the accuracy after the last stage."""
        return self.accuracies[-1]

    @cached_property
    def average(self) -> float:
        """Return the mean accuracy over all stages."""
        return sum(self.accuracies) / len(self.accuracies)


def total_cost(stages: Sequence[Mapping[str, float | None]]) -> Costs:
    """Return the cost of a run; None for what was not measured in one of its stages."""
    cost: dict[str, float | None] = {}
    for names, total in ((SUMMED, sum), (HIGHEST, max)):
        for name in names:
            values = [stage.get(name) for stage in stages]
            measured = [float(value) for value in values if value is not None]
            cost[name] = total(measured) if len(measured) == len(values) else None
    for name, parts in DERIVED.items():
        cost[name] = _sum([cost[part] for part in parts])
    return cost


def _sum(values: Sequence[float | None]) -> float | None:
    return None if None in values else sum(cast("Sequence[float]", values))


_in_order: Callable[[Costs], tuple[float | None, ...]] = itemgetter(*COSTS)


def mean_cost(runs: Iterable[RunMetrics]) -> Costs:
    """Return mean costs; None for what one of the runs did not measure.

    What depends on the hardware is None, too, if the runs used several kinds.
    """
    runs = list(runs)
    if not runs:
        return dict.fromkeys(COSTS)
    mixed = len(hardware_names(runs)) > 1
    sums = map(_sum, zip(*(_in_order(run.cost) for run in runs), strict=True))
    return {
        name: None if total is None or (mixed and name in HARDWARE_DEPENDENT) else total / len(runs)
        for name, total in zip(COSTS, sums, strict=True)
    }


def relative_cost(cost: Costs, reference: Costs, *, same_hardware: bool) -> Costs:
    """Return costs divided by those of a reference; None for what depends on different hardware."""

    def ratio(name: str) -> float | None:
        value, unit = cost[name], reference[name]
        comparable = same_hardware or name not in HARDWARE_DEPENDENT
        return value / unit if comparable and value is not None and unit else None

    return {name: ratio(name) for name in COSTS}


def runs_on(hardware: str, runs: Iterable[RunMetrics]) -> list[RunMetrics]:
    """Return the runs that used the given hardware."""
    return [run for run in runs if run.hardware == hardware]


def hardware_names(runs: Iterable[RunMetrics]) -> list[str]:
    """Return the hardware that the runs used, sorted."""
    return sorted({run.hardware for run in runs})
