"""How much a method may try: the same for every method, in trials or in what trials cost."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from plastibench.errors import RequestError
from plastibench.store.run_metrics import DERIVED, SECONDS
from plastibench.tuning.objective import Rows, total_passes

UNITS = ("passes", "flops", "hours")
PATTERN = re.compile(r"([0-9.eE+-]+?)\s*(passes|flops|hours|h)", re.IGNORECASE)


@dataclass(frozen=True)
class Budget:
    """What each study may use; the trial that crosses the line is finished, and is the last."""

    unit: str
    """trials, passes, flops or hours."""
    amount: float

    def describe(self) -> str:
        """Return the budget for people."""
        return f"{self.amount:,.6g} {self.unit}"


def parse_budget(trials: int | None, text: str | None) -> Budget:
    """Return the budget of `--trials` or `--budget`. Raises RequestError for both, none, or too little."""
    if trials is not None and text is not None:
        raise RequestError(f"give either --trials {trials} or --budget {text}, not both")
    if trials is not None:
        if trials < 1:
            raise RequestError(f"--trials {trials} is not allowed: at least one trial is needed")
        return Budget("trials", trials)
    if text is None:
        raise RequestError(
            "no budget: give --trials N, or --budget with passes, flops or hours (2e6passes, 1e15flops, 0.5h)"
        )
    match = PATTERN.fullmatch(text.strip())
    amount = _number(match.group(1)) if match else 0.0
    if match is None or not 0 < amount < math.inf:
        raise RequestError(
            f"--budget {text} is not allowed: write a number above 0 and passes, flops or hours, "
            "such as 2e6passes, 1e15flops or 0.5h"
        )
    unit = match.group(2).lower()
    return Budget("hours" if unit == "h" else unit, amount)


def run_costs(runs: Iterable[Rows]) -> dict[str, float]:
    """Return what runs cost in each unit; FLOPs are left out where a stage was not counted in them."""
    rows = [row for run in runs for row in run]
    found = {"passes": total_passes(rows), "hours": _sum(rows, SECONDS) / 3600}
    if all(row.get(name) is not None for row in rows for name in DERIVED["flops"]):
        found["flops"] = _sum(rows, DERIVED["flops"])
    return found


def _sum(rows: list[dict[str, Any]], names: tuple[str, ...]) -> float:
    return float(sum(row[name] for row in rows for name in names))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
