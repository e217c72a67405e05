"""Write docs/claims.md: what the DASH paper claims, and what the published records say of it.

python docs/claims.py [--check]   write the page, or fail if it is not current
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from board_rows import board_tables, find_row
from page_script import write_or_check
from pages import table

from plastibench.analysis.stats.estimate import Estimate, estimate_mean, paired_difference
from plastibench.analysis.stats.significance import NONINFERIORITY_MARGIN
from plastibench.analysis.tables.table import ResultTable
from plastibench.errors import count
from plastibench.store.run_metrics import RunMetrics

PAGE = Path(__file__).with_suffix(".md")
CLAIMS = PAGE.with_suffix(".toml")
HEADER = ["board", "compared", "seeds", "average over stages", "last stage", "steps, as a factor", "here"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two methods on one board, NAME or NAME:PRESET each."""

    first: str
    second: str
    claim: Literal["above", "below", "no gain", "fewer steps", "more steps"]
    """What is claimed of the first beside the second."""
    boards: Sequence[str]
    regime: str | None = None
    """Of the table, if the board has several; with its base after a plus sign."""


@dataclass(frozen=True)
class Outcome:
    """What a comparison gives on a board."""

    average: Estimate
    """Difference in accuracy averaged over stages, in percentage points, paired by seed."""
    last: Estimate
    """The same after the last stage."""
    steps: Estimate
    """Ratio of all steps of a run."""

    def verdict(self, claim: str) -> str:
        """Return whether the interval of what is claimed is on the claimed side."""
        if claim in ("fewer steps", "more steps"):
            low, high = self.steps.low - 1, self.steps.high - 1
        else:
            low, high = self.average.low, self.average.high
        if claim in ("below", "fewer steps"):
            low, high = -high, -low
        if claim == "no gain":
            low, high = NONINFERIORITY_MARGIN - high, -low
        return "holds" if low > 0 else "does not hold" if high < 0 else "open"


def page() -> str:
    """Return the text of the page."""
    told = tomllib.loads(CLAIMS.read_text(encoding="utf-8"))
    return str(told["introduction"]) + "".join(map(_section, told["claim"]))


def _section(claim: Mapping[str, Any]) -> str:
    rows, verdicts = [], []
    for comparison in (Comparison(**one) for one in claim["comparisons"]):
        for board in comparison.boards:
            outcome = _outcome(board, comparison)
            if outcome is not None:
                verdicts.append(outcome.verdict(comparison.claim))
                rows.append(_row(board, comparison, outcome, verdicts[-1]))
    found = table(HEADER, rows) if rows else "No runs of it are on a board yet.\n"
    verdict = f"**{_summary(verdicts)}** {claim.get('reading', '')}".strip()
    gpu = f"A GPU is needed for: {claim['gpu']}"
    return f"\n## {claim['title']}\n\n{claim['paper']}\n{found}\n{verdict}\n\n{gpu}\n"


def _row(board: str, comparison: Comparison, outcome: Outcome, verdict: str) -> list[str]:
    compared = f"`{comparison.first}` - `{comparison.second}`: {comparison.claim}"
    accuracies = [outcome.average.interval_text(), outcome.last.interval_text()]
    steps = outcome.steps
    ratio = f"{steps.mean:.2f} [{steps.low:.2f}, {steps.high:.2f}]" if steps.n > 1 else f"{steps.mean:.2f}"
    return [board, compared, str(outcome.average.n), *accuracies, ratio, verdict]


def _summary(verdicts: list[str]) -> str:
    if not verdicts:
        return "Not tested."
    counts = [
        f"{name} in {verdicts.count(name)}" for name in ("holds", "does not hold", "open") if name in verdicts
    ]
    return f"Of {count(len(verdicts), 'comparison')}: {', '.join(counts)}."


def _outcome(board: str, comparison: Comparison) -> Outcome | None:
    """Return what a comparison gives; None if fewer than one seed has both methods."""
    for setting in board_tables(board):
        if comparison.regime in (None, _regime(setting)):
            pairs = _pairs(setting, comparison)
            if pairs:
                return Outcome(
                    paired_difference(
                        [one.average for one, _ in pairs], [other.average for _, other in pairs]
                    ),
                    paired_difference([one.last for one, _ in pairs], [other.last for _, other in pairs]),
                    estimate_mean([sum(one.steps) / sum(other.steps) for one, other in pairs]),
                )
    return None


def _pairs(setting: ResultTable, comparison: Comparison) -> list[tuple[RunMetrics, RunMetrics]]:
    """Return the runs of both methods with the same seed."""
    first, second = (find_row(setting, method) for method in (comparison.first, comparison.second))
    if first is None or second is None:
        return []
    others = {run.seed: run for run in second.metrics}
    return [(run, others[run.seed]) for run in first.metrics if run.seed in others]


def _regime(setting: ResultTable) -> str:
    return "+".join(part.name for part in setting.rows[0].records[0].spec.regimes)


if __name__ == "__main__":
    write_or_check(PAGE, page, __doc__, "make results")
