"""Objectives of a trial: validation accuracy over its seeds and stages, and cost."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from plastibench.errors import RequestError, unknown
from plastibench.training.cost import FORWARD

StageRows = Sequence[dict[str, Any]]
"""The stages of one run so far."""

PASSES_UNIT = 1_000_000


@dataclass(frozen=True)
class Objective:
    """A number to maximize or to minimize."""

    direction: Literal["maximize", "minimize"]
    label: str
    unit: str
    value: Callable[[Sequence[StageRows], int], float]
    """Computed from the runs so far, one for each seed, and the number of stages of a whole run."""

    @property
    def sign(self) -> int:
        """Return 1 if larger is better, else -1."""
        return 1 if self.direction == "maximize" else -1


def parse_objectives(text: str) -> tuple[str, ...]:
    """Return the objectives of `last` or `last,cost`. Raises RequestError for others."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in OBJECTIVES:
            raise unknown("objective", name, OBJECTIVES)
    if not 1 <= len(names) <= 2 or len(set(names)) < len(names):
        raise RequestError(f"--objective {text} is not allowed: give one objective, or two that differ")
    return names


def objective_values(names: Sequence[str], runs: Sequence[StageRows], num_stages: int) -> list[float]:
    """Return the values of a trial's runs, finished or not."""
    return [OBJECTIVES[name].value(runs, num_stages) for name in names]


def format_values(names: Sequence[str], values: Sequence[float]) -> str:
    """Return the values of objectives, each with its unit."""
    pairs = zip(names, values, strict=True)
    return ", ".join(f"{value:,.6g} {OBJECTIVES[name].unit}" for name, value in pairs)


def total_passes(rows: StageRows) -> float:
    """Return the cost of stages in examples passed forward and backward, with those of the remedy."""
    return float(
        sum(row["train_passes"] + row["remedy_passes"] + FORWARD * row["remedy_forwards"] for row in rows)
    )


def _accuracies(rows: StageRows, num_stages: int) -> list[float]:
    """Return validation accuracies in percent; a run that diverged has 0 from that stage on."""
    accuracies = [100 * float(row["validation_accuracy"]) for row in rows]
    if rows[-1]["stop"] == "diverged":
        accuracies[-1:] = [0.0] * (num_stages - len(rows) + 1)
    return accuracies


def _last(runs: Sequence[StageRows], num_stages: int) -> float:
    return statistics.fmean(_accuracies(rows, num_stages)[-1] for rows in runs)


def _mean(runs: Sequence[StageRows], num_stages: int) -> float:
    return statistics.fmean(value for rows in runs for value in _accuracies(rows, num_stages))


def _cost(runs: Sequence[StageRows], num_stages: int) -> float:
    return statistics.fmean(total_passes(rows) for rows in runs)


def _per_cost(runs: Sequence[StageRows], num_stages: int) -> float:
    return _mean(runs, num_stages) / (_cost(runs, num_stages) / PASSES_UNIT)


OBJECTIVES = {
    "last": Objective("maximize", "validation accuracy at the last stage, %", "%", _last),
    "mean": Objective("maximize", "validation accuracy, mean of stages, %", "%", _mean),
    "per_cost": Objective(
        "maximize",
        "validation accuracy (mean of stages, %) per million passes",
        "% per million passes",
        _per_cost,
    ),
    "cost": Objective("minimize", "passes of a run", "passes", _cost),
}
