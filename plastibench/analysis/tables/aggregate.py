"""One table over several: how methods do across tasks, models and recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from plastibench.analysis.stats import (
    Ranks,
    bootstrap,
    bootstrap_improvement,
    iqm,
    mean,
    p_text,
    probability_of_improvement,
    ranks,
    repeats_for,
    wilcoxon,
)
from plastibench.analysis.tables.columns import Cell, Sheet
from plastibench.analysis.tables.rows import Table

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class AggregateRow:
    """What a method came to over all tables; gains are points over the baseline, paired by seed."""

    method: str
    runs: int
    iqm: float
    """Interquartile mean of the gains of all runs."""
    low: float
    """Lower end of its 95 % interval: seeds are resampled once for all methods, table by table."""
    high: float
    mean: float
    median: float
    worst: float
    """Smallest mean gain of a table."""
    improves: float
    """Probability that a run of it is better than one of the baseline."""
    improves_low: float
    """Lower end of its 95 % interval, from the same draws of seeds."""
    improves_high: float
    p: float
    """Of Wilcoxon's signed-rank test on the tables' mean gains."""
    rank: float | None
    """Mean rank over tables, 1 the best; None where ranks are refused."""


@dataclass(frozen=True)
class AggregateTable:
    """All methods that every table has."""

    titles: tuple[str, ...]
    baseline: str
    rows: tuple[AggregateRow, ...]
    repeats: int
    """Draws of the bootstrap."""
    note: str
    """The critical difference of ranks, or why there are none."""

    def sheet(self) -> Sheet:
        """Return it as it is shown."""
        head = ["method", "runs", "IQM gain", "mean", "median", "worst", "P(better)", "p (tables)", "rank"]
        rows = [
            [
                Cell(row.method),
                Cell(str(row.runs)),
                Cell(f"{row.iqm:+.2f} [{row.low:+.2f}, {row.high:+.2f}]"),
                *(Cell(f"{value:+.2f}") for value in (row.mean, row.median, row.worst)),
                Cell(f"{row.improves:.2f} [{row.improves_low:.2f}, {row.improves_high:.2f}]"),
                Cell(p_text(row.p)),
                Cell("-" if row.rank is None else f"{row.rank:.2f}"),
            ]
            for row in self.rows
        ]
        if not self.rows:
            return Sheet(f"over {len(self.titles)} tables", ["method"], [], [self.note])
        notes = [
            f"points of the mean over stages gained over {self.baseline}, paired by seed; IQM: mean of the "
            f"middle half of all runs, 95 % bootstrap over seeds within each table ({self.repeats:,} draws)",
            f"P(better): probability that a run is better than one of {self.baseline}, averaged over tables, "
            "with a 95 % interval from the same draws",
            self.note,
            *(f"over: {title}" for title in self.titles),
        ]
        return Sheet(f"over {len(self.titles)} tables", head, rows, notes)

    def as_plain(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


class SharedScores(NamedTuple):
    """What the methods that every table has came to, run by run."""

    baseline: str
    methods: list[str]
    """The others."""
    scores: list[Array]
    """Means over stages, for each table of shape (1 + methods, seeds), the baseline first."""


def shared(found: Sequence[Table]) -> SharedScores | None:
    """Return what tables share that have the same baseline; None where there are not two, or nothing is.

    None, too, for runs of several precisions or versions of code: they are never averaged.
    A seed counts that every method of its table has: the draws of a bootstrap stay paired.
    """
    names = {table.baseline for table in found}
    if len(found) < 2 or len(names) != 1 or None in names or mixed(found):
        return None
    baseline = str(found[0].baseline)
    methods = sorted(set.intersection(*({row.method for row in table.rows} for table in found)) - {baseline})
    scores = [_scores(table, [baseline, *methods]) for table in found]
    if not methods or any(table.shape[1] == 0 for table in scores):
        return None
    return SharedScores(baseline, methods, scores)


def across(found: Sequence[Table]) -> AggregateTable | None:
    """Join tables, or say why they are never joined; None where they share nothing."""
    titles, baselines = tuple(table.title for table in found), {table.baseline for table in found}
    several = mixed(found) if len(found) > 1 and len(baselines) == 1 and None not in baselines else None
    if several:
        return AggregateTable(
            titles, str(found[0].baseline), (), 0, f"no table over these: {several}, never averaged"
        )
    joined = shared(found)
    if joined is None:
        return None
    baseline, methods, scores = joined
    gains = [table[1:] - table[:1] for table in scores]
    ranked = ranks(
        {name: [float(t[i].mean()) for t in scores] for i, name in enumerate([baseline, *methods])}
    )
    rows = _rows(joined, gains, ranked)
    note = ranked.refusal or (
        f"mean ranks nearer than {ranked.critical_difference:.2f} are not separated (Nemenyi; "
        f"Friedman p {p_text(ranked.p)})"
    )
    repeats = repeats_for(sum(gain.shape[1] for gain in gains), len(methods))
    return AggregateTable(titles, baseline, rows, repeats, note)


def _rows(joined: SharedScores, gains: Sequence[Array], ranked: Ranks) -> tuple[AggregateRow, ...]:
    """Return what each method came to; `gains` has an array of shape (methods, seeds) for each table."""
    import numpy as np

    intervals, better = bootstrap(gains, iqm), bootstrap_improvement(joined.scores)
    theirs = [table[0] for table in joined.scores]
    rows = []
    for place, name in enumerate(joined.methods):
        own = [table[place] for table in gains]
        every, means = np.concatenate(own), [float(gain.mean()) for gain in own]
        rows.append(
            AggregateRow(
                method=name,
                runs=len(every),
                iqm=float(iqm(every)),
                low=intervals[place][0],
                high=intervals[place][1],
                mean=mean(means).mean,
                median=float(np.median(every)),
                worst=min(means),
                improves=probability_of_improvement([table[place + 1] for table in joined.scores], theirs),
                improves_low=better[place][0],
                improves_high=better[place][1],
                p=wilcoxon(means),
                rank=ranked.mean.get(name),
            )
        )
    return tuple(rows)


def mixed(found: Sequence[Table]) -> str | None:
    """Return what the runs of these tables have more than one of, beside task, model and recipe."""
    versions: dict[str, set[object]] = {}
    for table in found:
        for row in table.rows:
            spec = row.runs[0].spec
            versions.setdefault("precision", set()).add(spec.recipe.get("precision"))
            versions.setdefault("version of the protocol", set()).add(spec.protocol)
            for what, name, part in (
                ("task", spec.task.name, spec.task),
                ("model", spec.model.name, spec.model),
                ("method", row.method, spec.method),
            ):
                versions.setdefault(f"version of the code of {what} {name}", set()).add(part.code)
    for what, values in versions.items():
        if len(values) > 1:
            return f"they have more than one {what} ({', '.join(sorted(map(str, values)))})"
    return None


def _scores(table: Table, methods: list[str]) -> Array:
    """Return the means over stages, shape (methods, seeds), of the seeds that all these methods have."""
    import numpy as np

    runs = {row.method: {run.seed: run.average for run in row.outcomes} for row in table.rows}
    seeds = sorted(set.intersection(*(set(runs[name]) for name in methods)))
    return np.array([[runs[name][seed] for seed in seeds] for name in methods], dtype=np.float64)
