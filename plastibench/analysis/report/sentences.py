"""Sentences about what tables show, and what they do not show."""

import math
from collections.abc import Iterable, Iterator, Sequence

from plastibench.analysis.stats.estimate import Estimate
from plastibench.analysis.stats.significance import ALPHA, min_p_value
from plastibench.analysis.tables.aggregate import AggregateRow, AggregateTable
from plastibench.analysis.tables.table import ResultRow, ResultTable
from plastibench.analysis.tables.unchanged import unchanged_notes
from plastibench.errors import count, count_range, joined

MAX_NAMES = 3
"""Names listed in the summary."""
TEST = f"exact sign-flip test, Holm-corrected, level {ALPHA}"


def headline(table: ResultTable) -> str:
    """Return the result of a setting in one or two sentences."""
    rows = [row for row in table.rows if row.seeds]
    if not rows:
        return "Every run diverged."
    best = max(rows, key=lambda row: (row.average.mean, not row.num_unchanged))
    first = f"{best.method} has the highest average accuracy, {best.average.text()} %."
    significant = [row for row in rows if _is_significant(row)]
    if not any(row.gain for row in rows):
        return first
    better = [row.method for row in _by_gain(significant) if _gain(row).mean > 0]
    worse = [row.method for row in _by_gain(significant) if _gain(row).mean < 0]
    verdicts = [
        f"significantly {side} than {table.baseline}: {_first_names(names)}"
        for side, names in (("better", better), ("worse", worse))
        if names
    ]
    verdict = "; ".join(verdicts) or _nothing_significant(table, rows)
    return f"{first} {_capitalized(verdict)} (level {ALPHA}, Holm-corrected)."


def _nothing_significant(table: ResultTable, rows: Sequence[ResultRow]) -> str:
    """Return that no difference from the baseline is significant, or that with so few seeds none can be."""
    pairs = [row.gain.n for row in rows if row.gain is not None]
    if min_p_value(max(pairs)) * len(pairs) < ALPHA:
        return f"no significant difference from {table.baseline}"
    return f"no difference from {table.baseline} can be significant with {count(max(pairs), 'seed')}"


def aggregate_sentences(table: AggregateTable) -> list[str]:
    """Return the results over all settings."""
    rows = sorted(table.rows, key=lambda row: -row.iqm_gain.value)
    better = [_gain_text(row) for row in rows if row.iqm_gain.low > 0]
    worse = [_gain_text(row) for row in reversed(rows) if row.iqm_gain.high < 0]
    unclear = [row.method for row in rows if row.iqm_gain.low <= 0 <= row.iqm_gain.high]
    groups = {"Better than": better, "Worse than": worse, "No clear difference from": unclear}
    what = f"{table.baseline} over all {len(table.titles)} settings, by the interquartile mean of the gains"
    sentences = [f"{verdict} {what}: {_first_names(names)}." for verdict, names in groups.items() if names]
    return [*sentences, f"{_capitalized(table.note)}."]


def _gain_text(row: AggregateRow) -> str:
    gain, better = row.iqm_gain, row.p_better
    pairs = f"{100 * better.value:.0f} % of pairs of runs [{100 * better.low:.0f}, {100 * better.high:.0f}]"
    return f"{row.method} ({gain.interval_text()}, better in {pairs})"


def setting_sentences(table: ResultTable) -> list[str]:
    """Return what the table of a setting shows: its size, gains, costs and diverged runs."""
    rows = [row for row in table.rows if row.seeds]
    unchanged = (f"{note}." for note in unchanged_notes(table.baseline, rows))
    return [*_size(table, rows), *_gains(table, rows), *_costs(rows), *unchanged, *_diverged(table)]


def _size(table: ResultTable, rows: Sequence[ResultRow]) -> Iterator[str]:
    if not rows:
        yield "Every run of this setting diverged: there is no accuracy to compare."
        return
    seeds = sorted({len(row.seeds) for row in rows})
    stages = sorted({len(run.accuracies) for row in rows for run in row.metrics})
    methods = count(len(table.rows), "method")
    yield f"{methods}, n = {count_range(seeds, 'seed')}, {count_range(stages, 'stage')}."
    if seeds[0] == 1:
        single = joined([row.method for row in rows if len(row.seeds) == 1])
        yield (
            "With one seed there is no standard deviation and no interval: nothing can be concluded about "
            f"{single}."
        )


def _gains(table: ResultTable, rows: Sequence[ResultRow]) -> Iterator[str]:
    if table.baseline is None:
        if "baseline" in table.missing:
            yield f"{_capitalized(table.missing['baseline'])}."
        return
    changed = [row for row in rows if row.num_unchanged != len(row.seeds)]
    rows = _by_gain(row for row in changed if row.gain is not None and row.gain.n > 1)
    if not rows:
        return
    better = [row for row in rows if _gain(row).low > 0]
    worse = [row for row in rows if _gain(row).high < 0]
    unclear = [row.method for row in rows if _gain(row).low <= 0 <= _gain(row).high]
    for verdict, side, found in (("Better", "above", better), ("Worse", "below", worse)):
        if found:
            gains = ", ".join(f"{row.method} ({_gain(row).interval_text()})" for row in found)
            yield f"{verdict} than {table.baseline}, with a 95 % interval {side} 0: {gains}."
    if unclear:
        yield (
            f"No clear difference from {table.baseline}, with a 95 % interval that includes 0: "
            f"{joined(unclear)}. This does not show that they are equal."
        )
    significant = [row.method for row in rows if _is_significant(row)]
    yield f"Significant ({TEST}): {joined(significant) or 'none of these differences'}."
    if len(rows) > 1:
        yield (
            "The intervals are not corrected for multiple comparisons: the chance that at least one of "
            f"{len(rows)} excludes 0 without a true difference is above 5 %. Other pairs of methods are not "
            "compared."
        )


def _costs(rows: Sequence[ResultRow]) -> Iterator[str]:
    if len(rows) < 2:
        return
    cheapest, *_, most_expensive = sorted(rows, key=lambda row: row.cost["passes"] or 0.0)
    low, high = cheapest.cost["passes"] or 0.0, most_expensive.cost["passes"] or 0.0
    if low > 0 and not math.isclose(low, high):
        yield (
            f"The cheapest method is {cheapest.method} with {low:,.0f} passes (examples taken forward and "
            f"backward), the most expensive {most_expensive.method} with {high / low:.1f} times as many "
            "(means over seeds)."
        )
    devices = {run.provenance.get("device") for row in rows for run in row.records}
    if len(devices) > 1:
        yield f"The runs were executed on {len(devices)} kinds of hardware: their seconds are not comparable."


def _diverged(table: ResultTable) -> Iterator[str]:
    diverged = [f"{row.method} ({row.num_diverged})" for row in table.rows if row.num_diverged]
    if diverged:
        yield f"Diverged runs are in no average, which flatters the method: {', '.join(diverged)}."


def _gain(row: ResultRow) -> Estimate:
    assert row.gain is not None
    return row.gain


def _is_significant(row: ResultRow) -> bool:
    gain = row.gains.get(row.baseline or "")
    return gain is not None and gain.p < ALPHA


def _by_gain(rows: Iterable[ResultRow]) -> list[ResultRow]:
    return sorted(rows, key=lambda row: -abs(_gain(row).mean))


def _first_names(names: Sequence[str]) -> str:
    if len(names) <= MAX_NAMES:
        return joined(names)
    return f"{', '.join(names[:MAX_NAMES])} and {count(len(names) - MAX_NAMES, 'other')}"


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]
