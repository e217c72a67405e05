"""Result tables in formats for other programs: Markdown, LaTeX, CSV, JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from plastibench.analysis.stats.estimate import Estimate
from plastibench.analysis.tables.columns import STYLES, format_table
from plastibench.analysis.tables.table import ResultRow, ResultTable
from plastibench.analysis.tables.text_table import TextTable, to_latex, to_markdown

EXPORT_FORMATS = ("md", "csv", "latex", "json")
CsvRow = Mapping[str, Any]


def format_tables(
    tables: Sequence[ResultTable], columns: Sequence[str] = STYLES["standard"]
) -> list[TextTable]:
    """Return each table as texts, and their aggregate if there are several that can be aggregated."""
    texts = [format_table(table, columns) for table in tables]
    if len(tables) > 1:
        from plastibench.analysis.tables.aggregate import aggregate

        aggregated = aggregate(tables)
        texts += [aggregated.text_table()] if aggregated else []
    return texts


def render_tables(
    tables: Sequence[ResultTable], format: str, columns: Sequence[str] = STYLES["standard"]
) -> str:
    """Return tables in one of the `EXPORT_FORMATS`; CSV and JSON hold everything, unrounded."""
    return render(
        format,
        texts=lambda: format_tables(tables, columns),
        csv_rows=lambda: (_csv_row(table, row) for table in tables for row in table.rows),
        json_value=lambda: _tables_as_dict(tables),
    )


def render(
    format: str,
    *,
    texts: Callable[[], Iterable[TextTable]],
    csv_rows: Callable[[], Iterable[CsvRow]],
    json_value: Callable[[], object],
) -> str:
    """Return what is needed for a format, as text in that format."""
    if format == "json":
        return json.dumps(json_value(), indent=1) + "\n"
    if format == "csv":
        return to_csv(csv_rows())
    return "\n".join(map(to_latex if format == "latex" else to_markdown, texts()))


def to_csv(rows: Iterable[CsvRow]) -> str:
    """Return rows with the same keys as CSV, None as an empty value."""
    out, rows = io.StringIO(), list(rows)
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return out.getvalue()


def prefixed(prefix: str, estimate: Estimate | None, names: Sequence[str]) -> dict[str, Any]:
    """Return fields of an estimate as PREFIX_NAME."""
    values = estimate.as_dict() if estimate else {}
    return {f"{prefix}_{name}": values.get(name) for name in names}


def row_as_dict(row: ResultRow) -> dict[str, Any]:
    """Return a row as plain values, unrounded; None is unknown."""
    return {
        "method": row.method,
        "seeds": list(row.seeds),
        "diverged": row.num_diverged,
        "last_accuracy": row.last.as_dict(),
        "average_accuracy": row.average.as_dict(),
        "gains": {
            name: gain.estimate.as_dict() | {"p": gain.p, "noninferiority_p": gain.noninferiority_p}
            for name, gain in row.gains.items()
        },
        "cost": dict(row.cost),
        "relative_cost": dict(row.relative_cost),
        "hardware": {
            name: {"cost": dict(cost), "relative_cost": dict(relative)}
            for name, (cost, relative) in row.by_hardware.items()
        },
        "cost_to_match": row.cost_to_match,
    }


def _tables_as_dict(tables: Sequence[ResultTable]) -> dict[str, Any]:
    from plastibench.analysis.tables.aggregate import aggregate

    aggregated = aggregate(tables)
    plain = [
        {
            "title": table.title,
            "baseline": table.baseline,
            "cost_reference": table.cost_reference,
            "notes": list(table.notes),
            "rows": [row_as_dict(row) for row in table.rows],
        }
        for table in tables
    ]
    return {"tables": plain, "aggregate": aggregated and aggregated.as_dict()}


def _csv_row(table: ResultTable, row: ResultRow) -> CsvRow:
    values: dict[str, Any] = {
        "setting": table.title,
        "method": row.method,
        "n": len(row.metrics),
        "diverged": row.num_diverged,
        **prefixed("last_accuracy", row.last, ("mean", "sd")),
        **prefixed("average_accuracy", row.average, ("mean", "sd")),
    }
    for role, name in (("baseline", table.baseline), ("cost_reference", table.cost_reference)):
        gain = row.gains.get(name or "")
        values |= prefixed(f"gain_over_{role}", gain.estimate if gain else None, ("mean", "low", "high"))
        values[f"p_vs_{role}"] = gain and gain.p
    return {**values, "cost_to_match": row.cost_to_match, **row.cost}
