"""Which methods changed nothing: their runs have the weights of the baseline's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from plastibench.errors import count, joined
from plastibench.store.run_metrics import RunMetrics

if TYPE_CHECKING:
    from plastibench.analysis.tables.table import ResultRow

Runs = Mapping[int, RunMetrics]
"""The runs of a method by seed."""


def num_unchanged(runs: Runs, baseline: Runs) -> int:
    """Return how many runs have the weights, and at every stage the accuracy, of the baseline's run."""
    return sum(_is_same(run, baseline.get(seed)) for seed, run in runs.items())


def _is_same(run: RunMetrics, other: RunMetrics | None) -> bool:
    # A remedy may leave the trained weights alone and evaluate others, such as their average.
    return (
        other is not None
        and bool(run.weights)
        and ((run.weights, run.accuracies) == (other.weights, other.accuracies))
    )


def unchanged_notes(baseline: str | None, rows: Iterable[ResultRow]) -> Iterator[str]:
    """Yield which methods changed nothing in some of their runs, those with the same numbers together."""
    groups: dict[tuple[int, int], list[str]] = {}
    for row in rows:
        if row.gain is not None and row.num_unchanged:
            groups.setdefault((row.num_unchanged, row.gain.n), []).append(row.method)
    for (unchanged, compared), methods in groups.items():
        runs = f"{unchanged} of {count(compared, 'run')}{' each' if len(methods) > 1 else ''}"
        who, where = "they" if len(methods) > 1 else "it", "" if unchanged == compared else " there"
        yield f"{joined(methods)}: the same weights as {baseline} in {runs}: {who} changed nothing{where}"
