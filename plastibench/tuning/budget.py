"""Budgets of a study: the same for every method, in trials or in what trials cost."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from plastibench.errors import RequestError
from plastibench.store.run_metrics import DERIVED, SECONDS
from plastibench.tuning.objective import StageRows, total_passes

PATTERN = re.compile(r"((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(passes|flops|hours|h)", re.IGNORECASE)
UNITS = {
    "trials": ("trial", "trials"),
    "passes": ("pass", "passes"),
    "flops": ("FLOP", "FLOPs"),
    "hours": ("hour", "hours"),
}
"""One and several of each unit."""


@dataclass(frozen=True)
class Budget:
    """What each study may use; the trial that exceeds it is finished and is the last."""

    unit: str
    """trials, passes, flops or hours."""
    amount: float

    def describe(self) -> str:
        """Return the amount and its unit."""
        singular, plural = UNITS[self.unit]
        return f"{self.amount:,.6g} {singular if self.amount == 1 else plural}"


def parse_budget(num_trials: int | None, text: str | None) -> Budget:
    """Return the budget of `--trials` or `--budget`. Raises RequestError for both, none, or too little."""
    if num_trials is not None and text is not None:
        raise RequestError(f"give either --trials {num_trials} or --budget {text}, not both")
    if num_trials is not None:
        if num_trials < 1:
            raise RequestError(f"--trials {num_trials} is not allowed: at least one trial is needed")
        return Budget("trials", num_trials)
    if text is None:
        raise RequestError(
            "no budget: give --trials N, or --budget with passes, flops or hours (2e6passes, 1e15flops, 0.5h)"
        )
    match = PATTERN.fullmatch(text.strip())
    if match is None or not 0 < float(match[1]) < math.inf:
        raise RequestError(
            f"--budget {text} is not allowed: write a number above 0 and passes, flops or hours, "
            "such as 2e6passes, 1e15flops or 0.5h"
        )
    unit = match[2].lower()
    return Budget("hours" if unit == "h" else unit, float(match[1]))


def run_costs(runs: Iterable[StageRows]) -> dict[str, float]:
    """Return the cost of runs in each unit; FLOPs are left out if a stage has none."""
    rows = [row for run in runs for row in run]
    costs = {"passes": total_passes(rows), "hours": _sum(rows, SECONDS) / 3600}
    if all(row.get(name) is not None for row in rows for name in DERIVED["flops"]):
        costs["flops"] = _sum(rows, DERIVED["flops"])
    return costs


def _sum(rows: StageRows, names: tuple[str, ...]) -> float:
    return float(sum(row[name] for row in rows for name in names))
