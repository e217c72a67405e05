"""One table over several settings: how methods compare across tasks, models and recipes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plastibench.analysis.labels import short_data
from plastibench.analysis.stats.bootstrap import (
    bootstrap_intervals,
    improvement_intervals,
    interquartile_mean,
    num_resamples,
    probability_of_improvement,
)
from plastibench.analysis.stats.estimate import percent
from plastibench.analysis.stats.ranks import RankAnalysis, analyze_ranks, signed_rank_test
from plastibench.analysis.stats.significance import format_p, p_equation
from plastibench.analysis.tables.table import ResultTable
from plastibench.analysis.tables.text_table import Cell, TextTable
from plastibench.store.tuned_settings import untuned_spec

Array = NDArray[np.float64]

NARROW = ("method", "runs", "IQM gain", "P(better)", "mean rank")
"""The columns that matter most."""
STREAMS = {False: "stationary arrival", True: "shifting targets"}
"""The kinds of stream, by whether their targets shift."""


@dataclass(frozen=True)
class BootstrapEstimate:
    """A statistic with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def interval_text(self) -> str:
        """Return a gain with its interval, signed, as Estimate does."""
        return f"{percent(self.value, '+')} [{percent(self.low, '+')}, {percent(self.high, '+')}]"


@dataclass(frozen=True)
class AggregateRow:
    """Results of a method over all settings; gains over the baseline in percentage points, paired by seed."""

    method: str
    runs: int
    iqm_gain: BootstrapEstimate
    """Interquartile mean over all runs."""
    mean_gain: float
    """Mean over settings."""
    median_gain: float
    """Median over all runs."""
    worst_gain: float
    """Smallest mean gain of a setting."""
    p_better: BootstrapEstimate
    """Probability that one of its runs is better than one of the baseline's."""
    wilcoxon_p: float
    """Of the signed-rank test on the mean gains of the settings."""
    mean_rank: float | None
    """Over settings, 1 the best; None if ranks are refused."""


@dataclass(frozen=True)
class AggregateTable:
    """Results over all settings of the methods that every setting has."""

    titles: tuple[str, ...]
    baseline: str
    rows: tuple[AggregateRow, ...]
    num_resamples: int
    """Of the bootstrap."""
    note: str
    """The critical difference of ranks, or why there are no ranks or no rows."""

    @property
    def notes(self) -> list[str]:
        """Return what the columns mean."""
        if not self.rows:
            return [self.note]
        return [
            f"gain: difference in average accuracy to {self.baseline} in percentage points, paired by seed; "
            "IQM: mean of the middle half of all runs, with a 95 % bootstrap interval over the seeds of "
            f"each setting ({self.num_resamples:,} resamples)",
            f"P(better): probability that a run is better than one of {self.baseline}, averaged over "
            "settings, with a 95 % interval from the same resamples",
            "p (Wilcoxon): of each method by itself, not corrected for the number of methods",
            self.note,
        ]

    def text_table(self, *, wide: bool = True) -> TextTable:
        """Return the table as texts; a narrow one has few columns."""
        rows = [_texts(row) for row in self.rows]
        if not wide:
            rows = [{name: row[name] for name in NARROW} for row in rows]
        settings = [f"setting {number}: {title}" for number, title in enumerate(self.titles, 1) if rows]
        return TextTable(
            title=f"over {len(self.titles)} settings",
            header=list(rows[0]) if rows else ["method"],
            rows=[[Cell(text) for text in row.values()] for row in rows],
            notes=[*self.notes, *settings],
        )


def _texts(row: AggregateRow) -> dict[str, str]:
    """Return the texts of a row by header."""
    better = row.p_better
    return {
        "method": row.method,
        "runs": str(row.runs),
        "IQM gain": row.iqm_gain.interval_text(),
        "mean gain": percent(row.mean_gain, "+"),
        "median gain": percent(row.median_gain, "+"),
        "worst gain": percent(row.worst_gain, "+"),
        "P(better)": f"{better.value:.2f} [{better.low:.2f}, {better.high:.2f}]",
        "p (Wilcoxon)": format_p(row.wilcoxon_p),
        "mean rank": "-" if row.mean_rank is None else f"{row.mean_rank:.2f}",
    }


class SharedScores(NamedTuple):
    """Accuracies of the methods and seeds that the settings share."""

    baseline: str
    methods: list[str]
    """All but the baseline."""
    scores: list[Array]
    """For each setting, accuracies averaged over stages, shape (1 + methods, seeds), the baseline first."""


def shared_scores(tables: Sequence[ResultTable]) -> SharedScores | None:
    """Return the scores that tables share, or None if they cannot be aggregated.

    They cannot if there is a single table, if their baselines differ, if precision or code differs, or
    if no method besides the baseline, or no seed of a table, is shared. The seeds of a table are those
    that every shared method has, so that bootstrap draws stay paired.
    """
    baseline = _baseline(tables)
    if baseline is None or mixed_versions(tables):
        return None
    shared = set.intersection(*({row.method for row in table.rows} for table in tables))
    methods = sorted(shared - {baseline})
    scores = [_scores(table, [baseline, *methods]) for table in tables]
    if not methods or any(table.shape[1] == 0 for table in scores):
        return None
    return SharedScores(baseline, methods, scores)


def _baseline(tables: Sequence[ResultTable]) -> str | None:
    """Return the baseline of at least two tables, or None if they have none in common."""
    names = {table.baseline for table in tables}
    return names.pop() if len(tables) > 1 and len(names) == 1 else None


def aggregate(tables: Sequence[ResultTable]) -> AggregateTable | None:
    """Aggregate tables, or say why they must not be; None if they share nothing."""
    titles, baseline = tuple(table.title for table in tables), _baseline(tables)
    if baseline is None:
        return None
    mixed = mixed_versions(tables)
    if mixed:
        return AggregateTable(titles, baseline, (), 0, f"no aggregate: runs with {mixed} are never averaged")
    shared = shared_scores(tables)
    if shared is None:
        return None
    methods = [baseline, *shared.methods]
    ranks = analyze_ranks(
        {name: [float(t[i].mean()) for t in shared.scores] for i, name in enumerate(methods)}
    )
    if ranks.refusal:
        note = f"no mean ranks: {ranks.refusal}"
    else:
        note = (
            f"mean ranks that differ by less than {ranks.critical_difference:.2f} do not differ "
            f"significantly (Nemenyi's test; Friedman's test: {p_equation(ranks.p)})"
        )
    resamples = num_resamples(sum(scores.shape[1] for scores in shared.scores), len(shared.methods))
    return AggregateTable(titles, baseline, _rows(shared, ranks), resamples, note)


def _rows(shared: SharedScores, ranks: RankAnalysis) -> tuple[AggregateRow, ...]:
    gains = [scores[1:] - scores[:1] for scores in shared.scores]
    iqm_intervals = bootstrap_intervals(gains, interquartile_mean)
    better_intervals = improvement_intervals(shared.scores)
    rows = []
    for place, method in enumerate(shared.methods):
        runs = np.concatenate([table[place] for table in gains])
        means = [float(table[place].mean()) for table in gains]
        first, second = ([scores[row] for scores in shared.scores] for row in (place + 1, 0))
        row = AggregateRow(
            method=method,
            runs=len(runs),
            iqm_gain=BootstrapEstimate(float(interquartile_mean(runs)), *iqm_intervals[place]),
            mean_gain=fmean(means),
            median_gain=float(np.median(runs)),
            worst_gain=min(means),
            p_better=BootstrapEstimate(probability_of_improvement(first, second), *better_intervals[place]),
            wilcoxon_p=signed_rank_test(means),
            mean_rank=ranks.mean_ranks.get(method),
        )
        rows.append(row)
    return tuple(rows)


def aggregates(tables: Sequence[ResultTable]) -> list[AggregateTable]:
    """Return the aggregate of each kind of stream that has several tables."""
    return [found for found in map(aggregate, by_stream(tables)) if found is not None]


def by_stream(tables: Sequence[ResultTable]) -> list[list[ResultTable]]:
    """Return tables in groups that may be aggregated as far as their kinds of stream go."""
    kinds = [table.rows[0].records[0].spec.shifts_targets for table in tables]
    groups = [[t for t, kind in zip(tables, kinds, strict=True) if kind == wanted] for wanted in STREAMS]
    return [group for group in groups if group]


def mixed_versions(tables: Sequence[ResultTable]) -> str | None:
    """Return what the tables' runs have several of and must not: precisions, kinds of stream, versions.

    Loss of generalization, under stationary arrival, and loss of trainability, under shifting targets, are
    two things: methods rank differently.
    """
    versions: dict[str, set[object]] = {}
    for table in tables:
        for row in table.rows:
            spec = row.records[0].spec
            versions.setdefault("precision", set()).add(str(spec.recipe.get("precision")))
            versions.setdefault("version of the protocol", set()).add(spec.protocol)
            versions.setdefault("kind of stream", set()).add(STREAMS[spec.shifts_targets])
            for kind, part in spec.parts:
                name = row.method if kind == "method" else part.name
                versions.setdefault(f"version of the code of {kind} {name}", set()).add(part.code)
    named = [*versions.items(), *(("data set under one setting", data) for data in _data_by_setting(tables))]
    for what, values in named:
        if len(values) > 1:
            return f"more than one {what} ({', '.join(sorted(map(str, values)))})"
    return None


def _data_by_setting(tables: Sequence[ResultTable]) -> Iterable[set[object]]:
    """Return the data that the runs of each setting were made on."""
    data: dict[str, set[object]] = {}
    for table in tables:
        record = table.rows[0].records[0]
        data.setdefault(untuned_spec(record).condition_id, set()).add(short_data(record))
    return data.values()


def _scores(table: ResultTable, methods: list[str]) -> Array:
    """Return the accuracies averaged over stages of the seeds that all methods have, (methods, seeds)."""
    runs = {row.method: {run.seed: run.average for run in row.metrics} for row in table.rows}
    seeds = sorted(set.intersection(*(set(runs[name]) for name in methods)))
    return np.array([[runs[name][seed] for seed in seeds] for name in methods], dtype=np.float64)
