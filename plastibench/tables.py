"""From finished runs to tables: one table for each setting, one row for each method."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from plastibench.labels import difference, record_labels, record_settings, setting_label
from plastibench.spec import Spec
from plastibench.stats import Estimate, mean, paired
from plastibench.store import Record
from plastibench.tuned import untuned

FORMATS = ("text", "md", "csv", "json")

COUNTS = ("steps", "samples", "train_passes", "remedy_passes")
SECONDS = ("train_seconds", "remedy_seconds", "evaluation_seconds")


@dataclass(frozen=True)
class Row:
    """What a method came to over its seeds."""

    method: str
    seeds: tuple[int, ...]
    last: Estimate
    """Test accuracy at the last stage, in percent."""
    average: Estimate
    """Test accuracy averaged over all stages, in percent."""
    gain: Estimate | None
    """Its average minus the baseline's, paired by seed, in points; None for the baseline."""
    cost: dict[str, float]
    """Mean over seeds of what a whole run took."""
    diverged: int
    """Runs that ended with an infinite or undefined loss; they are in no average."""
    runs: tuple[Record, ...] = ()
    """What the row is made from, by seed, the diverged ones too."""


@dataclass(frozen=True)
class Table:
    """The methods that ran under one setting."""

    title: str
    baseline: str | None
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def tables(records: Iterable[Record], baseline: str | None) -> list[Table]:
    """Return one table for each setting: runs that differ in what decides the numbers are never mixed.

    Sealed runs, those of a tuning, have no test accuracy and are left out.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        if not record.spec.sealed:
            groups.setdefault(untuned(record).setting_id(), []).append(record)
    titles = _titles([untuned(group[0]) for group in groups.values()])
    found = [_table(title, group, baseline) for title, group in zip(titles, groups.values(), strict=True)]
    return sorted(found, key=lambda table: table.title)


def _titles(firsts: list[Spec]) -> list[str]:
    """Return a title for each group, with all that tells one group from another of the same title."""
    plain = [setting_label(spec) for spec in firsts]
    found = []
    for spec, title in zip(firsts, plain, strict=True):
        twins = [other for other, twin in zip(firsts, plain, strict=True) if twin == title]
        more = difference(spec, twins)
        found.append(f"{title} ({more})" if more else title)
    return found


def _table(title: str, group: list[Record], baseline: str | None) -> Table:
    labels = record_labels(group)
    by_method: dict[str, dict[int, Record]] = {}
    for record, label in zip(group, labels, strict=True):
        by_method.setdefault(label, {})[record.spec.seed] = record
    against = by_method.get(baseline) if baseline else None
    rows = [
        _row(label, runs, None if label == baseline else against) for label, runs in sorted(by_method.items())
    ]
    return Table(title, baseline if against else None, tuple(rows), _notes(group))


def _row(label: str, runs: dict[int, Record], against: dict[int, Record] | None) -> Row:
    sound = {seed: record for seed, record in sorted(runs.items()) if record.status == "done"}
    gain = None
    if against is not None:
        pairs = [
            (_average(record), _average(against[seed]))
            for seed, record in sound.items()
            if seed in against and against[seed].status == "done"
        ]
        gain = paired(pairs) if pairs else None
    return Row(
        method=label,
        seeds=tuple(sound),
        last=mean([100 * record.stages[-1]["test_accuracy"] for record in sound.values()]),
        average=mean([_average(record) for record in sound.values()]),
        gain=gain,
        cost=_cost(list(sound.values())),
        diverged=len(runs) - len(sound),
        runs=tuple(record for _, record in sorted(runs.items())),
    )


def _average(record: Record) -> float:
    stages = record.stages
    return 100 * float(sum(stage["test_accuracy"] for stage in stages)) / len(stages)


def _cost(records: list[Record]) -> dict[str, float]:
    whole = {
        name: [float(sum(stage[name] for stage in record.stages)) for record in records]
        for name in (*COUNTS, *SECONDS)
    }
    return {name: sum(values) / len(values) if values else float("nan") for name, values in whole.items()}


def _notes(group: list[Record]) -> tuple[str, ...]:
    """Return what a reader must know of the runs beside the setting."""
    notes = []
    for what in ("device", "torch", "plastibench", "commit", "data"):
        values = sorted({str(record.provenance.get(what)) for record in group})
        if what == "data":
            values = [value[:12] for value in values]
        notes.append(f"{what} {' and '.join(values)}")
    settings = sorted({record_settings(record) for record in group})
    return (*settings, "; ".join(notes))


def markdown(table: Table) -> str:
    """Return a table in Markdown."""
    head, body = cells(table)
    lines = [f"### {table.title}", "", _line(head), _line(["---"] + ["---:"] * (len(head) - 1))]
    lines += [_line(row) for row in body]
    return "\n".join([*lines, "", *(f"{note}  " for note in legend(table)), ""])


def _line(row: list[str]) -> str:
    return "| " + " | ".join(item.replace("|", "\\|") for item in row) + " |"


def cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of a table as text, for people."""
    gain = [f"gain over {table.baseline}"] if table.baseline else []
    head = ["method", "n", "last stage %", "mean of stages %", *gain]
    head += ["steps", "samples", "passes", "of remedy", "seconds"]
    return head, [_cells(row, bool(table.baseline)) for row in table.rows]


def _cells(row: Row, gains: bool) -> list[str]:
    n = f"{len(row.seeds)}" + (f" + {row.diverged} diverged" if row.diverged else "")
    gain = [row.gain.interval_text() if row.gain else "-"] if gains else []
    cost = row.cost
    passes = cost["train_passes"] + cost["remedy_passes"]
    seconds = sum(cost[name] for name in SECONDS)
    counts = [
        f"{cost['steps']:,.0f}",
        f"{cost['samples']:,.0f}",
        f"{passes:,.0f}",
        f"{cost['remedy_passes']:,.0f}",
    ]
    return [row.method, n, row.last.text(), row.average.text(), *gain, *counts, f"{seconds:.1f}"]


def legend(table: Table) -> list[str]:
    """Return the sentences below a table."""
    lines = ["accuracy on the test set: mean +- standard deviation over n seeds"]
    if table.baseline:
        lines.append(
            f"gain: points of the mean over stages, paired with {table.baseline} by seed, 95 % t-interval"
        )
    lines.append(
        "cost of a whole run, mean over seeds: passes are examples taken forward and backward, "
        "by training (SAM's second pass too) and by the remedy itself"
    )
    return [*lines, *table.notes]


def as_plain(table: Table) -> dict[str, Any]:
    """Return a table as plain values, unrounded."""
    return {
        "title": table.title,
        "baseline": table.baseline,
        "notes": list(table.notes),
        "rows": [
            {
                "method": row.method,
                "seeds": list(row.seeds),
                "diverged": row.diverged,
                "last": row.last.as_dict(),
                "average": row.average.as_dict(),
                "gain": row.gain.as_dict() if row.gain else None,
                **{name: _finite(value) for name, value in row.cost.items()},
            }
            for row in table.rows
        ],
    }


def as_csv(found: list[Table]) -> str:
    """Return tables as one CSV text, a line for each row, unrounded."""
    out = io.StringIO()
    names = ["setting", "method", "n", "diverged", "last_mean", "last_sd", "average_mean", "average_sd"]
    names += ["gain_mean", "gain_low", "gain_high", *COUNTS, *SECONDS]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for table in found:
        for row in table.rows:
            gain = [row.gain.mean, row.gain.low, row.gain.high] if row.gain else [None] * 3
            start = [table.title, row.method, len(row.seeds), row.diverged]
            values = [row.last.mean, row.last.sd, row.average.mean, row.average.sd, *gain]
            writer.writerow(
                [*start, *(_finite(v) for v in values), *(row.cost[n] for n in (*COUNTS, *SECONDS))]
            )
    return out.getvalue()


def render(found: list[Table], form: str) -> str:
    """Return tables in one of the machine-readable or Markdown forms."""
    if form == "json":
        return json.dumps([as_plain(table) for table in found], indent=1) + "\n"
    return as_csv(found) if form == "csv" else "\n".join(markdown(table) for table in found)


def _finite(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
