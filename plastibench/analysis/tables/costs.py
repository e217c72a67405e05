"""The mean cost of runs, on each kind of hardware and over all, also relative to that of other runs."""

from collections.abc import Sequence
from typing import NamedTuple

from plastibench.store.run_metrics import Costs, RunMetrics, hardware_names, mean_cost, relative_cost, runs_on


class HardwareCost(NamedTuple):
    """Mean cost of the runs on one kind of hardware."""

    cost: Costs
    relative_cost: Costs
    """Divided by that of the cost reference on the same hardware; empty without a cost reference."""


def mean_costs(
    runs: Sequence[RunMetrics], unit: Sequence[RunMetrics] | None, *, one_hardware: bool
) -> tuple[Costs, Costs, dict[str, HardwareCost]]:
    """Return the mean cost of runs, the same relative to that of `unit`, and both by hardware."""

    def cost_of(runs: Sequence[RunMetrics], unit: Sequence[RunMetrics] | None, *, same: bool) -> HardwareCost:
        cost = mean_cost(runs)
        return HardwareCost(
            cost, {} if unit is None else relative_cost(cost, mean_cost(unit), same_hardware=same)
        )

    by_hardware = {
        name: cost_of(runs_on(name, runs), unit and runs_on(name, unit), same=True)
        for name in hardware_names(runs)
    }
    if one_hardware and runs:
        return *next(iter(by_hardware.values())), by_hardware
    return *cost_of(runs, unit, same=one_hardware), by_hardware
