"""What a board says of methods that were tuned with equal budgets, beside the table of all its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from scipy.stats import kendalltau, rankdata

from plastibench.analysis.stats.estimate import Estimate, paired_difference
from plastibench.analysis.tables.table import ResultRow, ResultTable
from plastibench.errors import count
from plastibench.store import tuned_settings

MILLION = 1e6


def tuned_text(setting: ResultTable, untuned: tuple[str, Sequence[ResultTable]] | None) -> str:
    """Return a paragraph on the rows that a tuning chose; empty if there are none.

    `untuned` is the name of the board with the ranks to compare with, and its tables; without it, or them,
    those of this board's published settings count.
    """
    chosen = {_method(row): row for row in setting.rows if _origin(row) is not None}
    if not chosen:
        return ""
    published = {row.method: row for row in setting.rows if _is_published(row)}
    return " ".join(
        [
            *_separated(setting, chosen),
            *_cost(setting, chosen, published),
            *_brought(chosen, published),
            *_ranks(chosen, published, untuned),
        ]
    )


def _origin(row: ResultRow) -> tuned_settings.TunedSettings | None:
    return tuned_settings.from_record(row.records[0])


def _is_published(row: ResultRow) -> bool:
    origin = _origin(row)
    return origin is None or origin.published


def _method(row: ResultRow) -> str:
    return row.records[0].spec.method.name


def _separated(setting: ResultTable, chosen: Mapping[str, ResultRow]) -> Iterator[str]:
    """Yield the number of trials, and which tuned rows are separated from the tuned references."""
    numbers = sorted({origin.trials for row in chosen.values() if (origin := _origin(row)) is not None})
    trials = count(numbers[-1], "trial")
    yield f"Each method tuned with {trials if len(numbers) == 1 else f'{numbers[0]} to {trials}'}."
    for reference in setting.references:
        if reference not in chosen:
            yield f"{reference.capitalize()} start was not tuned, so no tuned row can be compared with it."
            continue
        gains = {
            method: gain
            for method, row in chosen.items()
            if method != reference and (gain := _difference(row, chosen[reference])).n > 1
        }
        above = {method: gain for method, gain in gains.items() if gain.low > 0}
        below = {method: gain for method, gain in gains.items() if gain.high < 0}
        yield (
            f"Above tuned {reference} start, with intervals without 0, {_listed(above)}; "
            f"below it {_listed(below)}."
        )


def _difference(row: ResultRow, other: ResultRow) -> Estimate:
    """Return the gain in average accuracy, paired by seed."""
    averages = {run.seed: run.average for run in other.metrics}
    shared = [run for run in row.metrics if run.seed in averages]
    return paired_difference([run.average for run in shared], [averages[run.seed] for run in shared])


def _listed(gains: Mapping[str, Estimate]) -> str:
    ordered = sorted(gains.items(), key=lambda gain: -abs(gain[1].mean))
    return ", ".join(f"`{method}` {gain.interval_text()}" for method, gain in ordered) or "none"


def _cost(
    setting: ResultTable, chosen: Mapping[str, ResultRow], published: Mapping[str, ResultRow]
) -> Iterator[str]:
    """Yield what the tuning took, beside a run of the cost reference with its published settings."""
    costs = {method: row.tuning_cost["passes"] for method, row in chosen.items() if row.tuning_cost}
    spent = sorted((value, method) for method, value in costs.items() if value)
    if not spent:
        return
    (low, cheapest), (high, dearest) = spent[0], spent[-1]
    text = (
        f"The tuning took from {low / MILLION:.2f} (`{cheapest}`) to {high / MILLION:.2f} million passes "
        f"(`{dearest}`) a method"
    )
    reference = published.get(setting.cost_reference or "")
    passes = None if reference is None else reference.cost["passes"]
    if passes:
        text += (
            f", {low / passes:.0f} to {high / passes:.0f} times one run of {setting.cost_reference} start "
            "with its published settings: whoever tunes pays that beside the run"
        )
    yield f"{text}."


def _brought(chosen: Mapping[str, ResultRow], published: Mapping[str, ResultRow]) -> Iterator[str]:
    """Yield what the chosen settings gain over the published ones of the same method."""
    kept = [f"`{method}`" for method, row in chosen.items() if _is_published(row)]
    gains = {
        method: _difference(row, published[method])
        for method, row in chosen.items()
        if not _is_published(row) and method in published
    }
    if gains:
        yield f"Chosen minus published settings: {_listed(gains)}."
    if kept:
        yield f"No trial was better than the published settings of {', '.join(kept)}."


def _ranks(
    chosen: Mapping[str, ResultRow],
    published: Mapping[str, ResultRow],
    untuned: tuple[str, Sequence[ResultTable]] | None,
) -> Iterator[str]:
    """Yield where the order of the methods differs from the one without tuning."""
    board, tables = untuned if untuned is not None else ("", ())
    others = {row.method: row for table in tables for row in table.rows} or dict(published)
    methods = [
        method for method in chosen if method in others and chosen[method].seeds and others[method].seeds
    ]
    if len(methods) < 3:
        return
    now = _rank([chosen[method] for method in methods])
    before = _rank([others[method] for method in methods])
    pairs = sorted(zip(now, before, methods, strict=True))
    tau = kendalltau(now, before).statistic
    where = f"on {board}" if tables else "with published settings"
    yield (
        f"Ranks by average accuracy, tuned and {where}: "
        f"{', '.join(f'`{method}` {one:g} and {other:g}' for one, other, method in pairs)} "
        f"(Kendall's tau {tau:.2f}; 1 is the same order)."
    )


def _rank(rows: Sequence[ResultRow]) -> list[float]:
    """Return the place of each row, 1 for the highest average accuracy; equals share theirs."""
    return [float(place) for place in rankdata([-row.average.mean for row in rows])]
