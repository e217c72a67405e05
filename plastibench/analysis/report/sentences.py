"""Sentences that say what a table shows, what it does not, and what cannot be said."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from plastibench.analysis.figures.series import passes
from plastibench.analysis.stats.significance import ALPHA, CONFIDENCE
from plastibench.analysis.tables.aggregate import AggregateRow, AggregateTable
from plastibench.analysis.tables.table import ResultRow, ResultTable

FEW = 3
"""Names that a sentence lists where a table below has all of them."""


def sentences(table: ResultTable) -> list[str]:
    """Return what a reader may conclude from a table, and no more."""
    rows = [row for row in table.rows if row.seeds]
    return [*_size(table), *_gains(table, rows), *_costs(table, rows), *_failures(table)]


def headline(table: ResultTable) -> str:
    """Return what a table comes to in one or two sentences."""
    rows = [row for row in table.rows if row.seeds]
    if not rows:
        return "No run ended with a finite loss."
    best = max(rows, key=lambda row: row.average.mean)
    first = f"{best.method} has the highest mean of stages, {best.average.text()} %."
    pairs = [row for row in rows if row.gain is not None and table.baseline]
    if not pairs:
        return first
    sure = [row for row in pairs if row.gains[table.baseline or ""].p < ALPHA]
    sides = {
        "above": [row.method for row in _by_gain(sure) if _mean_gain(row) > 0],
        "below": [row.method for row in _by_gain(sure) if _mean_gain(row) < 0],
    }
    said = [f"{side} {table.baseline}: {_few(names)}" for side, names in sides.items() if names]
    verdict = "; ".join(said) or f"no method is told apart from {table.baseline}"
    return f"{first} By the corrected test (p < {ALPHA}) {verdict}."


def overall(joined: AggregateTable) -> list[str]:
    """Return what tables come to together."""
    order = sorted(joined.rows, key=lambda row: -row.iqm_gain)
    above = [_joined(row) for row in order if row.iqm_gain_low > 0]
    below = [_joined(row) for row in reversed(order) if row.iqm_gain_high < 0]
    open_ = [row.method for row in order if row.iqm_gain_low <= 0 <= row.iqm_gain_high]
    what = f"{joined.baseline} over all {len(joined.titles)} settings, by the interquartile mean of the gains"
    found = [f"Above {what}: {_few(above)}."] if above else []
    found += [f"Below {what}: {_few(below)}."] if below else []
    found += [f"Not separated from {what}: {_few(open_)}."] if open_ else []
    return [*found, f"{joined.note[0].upper()}{joined.note[1:]}."]


def _joined(row: AggregateRow) -> str:
    interval = f"{row.iqm_gain:+.2f} [{row.iqm_gain_low:+.2f}, {row.iqm_gain_high:+.2f}]"
    share, low, high = (f"{100 * value:.0f}" for value in (row.p_better, row.p_better_low, row.p_better_high))
    return f"{row.method} ({interval}, better in {share} % of pairs of runs [{low}, {high}])"


def _size(table: ResultTable) -> Iterator[str]:
    seeds = sorted({len(row.seeds) for row in table.rows if row.seeds})
    if not seeds:
        yield "No run of this setting ended with a finite loss: there is no accuracy to compare."
        return
    stages = sorted({len(run.stages) for row in table.rows for run in row.records if run.status == "done"})
    yield f"{_count(len(table.rows), 'method')}; n = {_span(seeds)} seeds each; {_span(stages)} stages."
    if min(seeds) == 1:
        who = _names([row.method for row in table.rows if len(row.seeds) == 1])
        yield f"With one seed there is no spread and no interval; nothing can be concluded about {who}."


def _gains(table: ResultTable, rows: Sequence[ResultRow]) -> Iterator[str]:
    if table.baseline is None:
        yield "The baseline has no finished runs here, so there are no gains and nothing is compared."
        return
    judged = [row for row in rows if row.gain is not None and row.gain.n > 1]
    above = _listed(judged, lambda row: _gain(row)[0] > 0)
    below = _listed(judged, lambda row: _gain(row)[1] < 0)
    open_ = [row.method for row in judged if _gain(row)[0] <= 0 <= _gain(row)[1]]
    percent = f"{CONFIDENCE:.0%}".replace("%", " %")
    if above:
        yield f"Above {table.baseline}, with a {percent} interval free of 0: {above}."
    if below:
        yield f"Below {table.baseline}, with a {percent} interval free of 0: {below}."
    if open_:
        yield f"Not separated from {table.baseline}: {_names(open_)}. That is no proof that they are equal."
    tested = [row for row in judged if row.gains[table.baseline].p < ALPHA]
    if tested:
        who = _names([row.method for row in tested])
        yield f"Of these differences the corrected test (exact sign-flip, Holm) supports those of {who}."
    elif judged:
        yield f"Of these differences the corrected test (exact sign-flip, Holm) supports none at p < {ALPHA}."
    if len(judged) > 1:
        yield (
            f"Each interval stands for itself: among {len(judged)} of them, one free of 0 by chance alone is "
            "to be expected more often than one time in twenty. "
            "The other methods are not compared with one another."
        )


def _mean_gain(row: ResultRow) -> float:
    assert row.gain is not None
    return row.gain.mean


def _gain(row: ResultRow) -> tuple[float, float]:
    assert row.gain is not None
    return row.gain.low, row.gain.high


def _listed(rows: Sequence[ResultRow], wanted: Callable[[ResultRow], bool]) -> str:
    found = [row for row in rows if wanted(row)]
    return ", ".join(f"{row.method} ({row.gain.interval_text()})" for row in _by_gain(found) if row.gain)


def _costs(table: ResultTable, rows: Sequence[ResultRow]) -> Iterator[str]:
    if len(rows) < 2:
        return
    cheap, dear = min(rows, key=passes), max(rows, key=passes)
    if passes(cheap) > 0 and not math.isclose(passes(cheap), passes(dear)):
        yield (
            f"Cheapest is {cheap.method} with {passes(cheap):,.0f} examples taken forward and backward, "
            f"dearest {dear.method} with {passes(dear) / passes(cheap):.1f} times as many (means over seeds)."
        )
    devices = {run.provenance.get("device") for row in rows for run in row.records}
    if len(devices) > 1:
        yield f"The runs were made on {len(devices)} kinds of hardware: their seconds cannot be compared."


def _failures(table: ResultTable) -> Iterator[str]:
    lost = [f"{row.method} ({row.num_diverged})" for row in table.rows if row.num_diverged]
    if lost:
        yield f"Diverged, and in no average, which flatters the method: {', '.join(lost)}."


def _span(values: Sequence[int]) -> str:
    return str(values[0]) if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _by_gain(rows: Sequence[ResultRow]) -> list[ResultRow]:
    return sorted(rows, key=lambda row: -abs(_mean_gain(row)))


def _few(names: Sequence[str]) -> str:
    """Return the first names, and how many others there are."""
    if len(names) <= FEW:
        return _names(names)
    return f"{', '.join(names[:FEW])} and {_count(len(names) - FEW, 'other')}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
