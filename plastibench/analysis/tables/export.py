"""Result tables in formats for other programs: Markdown, LaTeX, CSV, JSON."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from plastibench.analysis.tables.columns import STYLES, format_table
from plastibench.analysis.tables.table import ResultRow, ResultTable
from plastibench.analysis.tables.text_table import TextTable, to_latex, to_markdown

EXPORT_FORMATS = ("md", "csv", "latex", "json")
NOT_IN_CSV = ("hardware", "seconds_ratio")
"""Values whose keys differ from row to row."""


def format_tables(tables: Sequence[ResultTable], columns: Sequence[str] = STYLES["wide"]) -> list[TextTable]:
    """Return each table as texts, and for each kind of stream the aggregate of those that have one."""
    texts = [format_table(table, columns) for table in tables]
    if len(tables) > 1:
        from plastibench.analysis.tables.aggregate import aggregates

        wide = tuple(columns) != STYLES["narrow"]
        texts += [table.text_table(wide=wide) for table in aggregates(tables)]
    return texts


def render_tables(tables: Sequence[ResultTable], format: str, columns: Sequence[str] | None = None) -> str:
    """Return tables in one of the `EXPORT_FORMATS`; CSV and JSON are unrounded.

    Without `columns`, CSV and JSON have all values, the others the columns of the wide style.
    """
    texts = partial(format_tables, tables, columns or STYLES["wide"])
    values = tables_as_dict if format == "json" else _rows_as_dict
    return render(format, texts, partial(values, tables, columns))


def render(
    format: str, texts: Callable[[], Sequence[TextTable]], values: Callable[[], Mapping[str, Any]]
) -> str:
    """Return tables in one of the `EXPORT_FORMATS`.

    `texts` is for Markdown and LaTeX. `values` is for JSON and CSV: it has "tables", each with a
    "title" and "rows".
    """
    if format == "json":
        return json.dumps(values(), indent=1) + "\n"
    if format == "csv":
        return _to_csv(values()["tables"])
    return "\n".join(map(to_latex if format == "latex" else to_markdown, texts()))


def _to_csv(tables: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    rows = [
        {"setting": table["title"], **dict(_flat(row))}
        for table in tables
        for row in (*table["rows"], *({"method": method} for method in table.get("refused", ())))
    ]
    writer = csv.DictWriter(out, {name: None for row in rows for name in row}, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested values as OUTER_INNER; costs by their own names, as the columns of a table."""
    for name, value in values.items():
        if isinstance(value, Mapping) and name not in NOT_IN_CSV:
            inner = {"cost": "", "relative_cost": "relative_"}.get(name, f"{name}_")
            yield from _flat(value, prefix + inner)
        elif not isinstance(value, Mapping | list):
            yield prefix + name, value


def row_as_dict(row: ResultRow) -> dict[str, Any]:
    """Return a row as plain values; None is unknown."""
    return {
        "method": row.method,
        "n": len(row.metrics),
        "diverged": row.num_diverged,
        "same_weights_as_baseline": row.num_unchanged,
        "seeds": list(row.seeds),
        "last_accuracy": row.last.as_dict(),
        "average_accuracy": row.average.as_dict(),
        **{f"tuning_{name}": value for name, value in row.tuning_cost.items()},
        "cost": dict(row.cost),
        "hardware": {
            name: {"cost": dict(cost), "relative_cost": dict(relative)}
            for name, (cost, relative) in row.by_hardware.items()
        },
    }


def tables_as_dict(tables: Sequence[ResultTable], columns: Sequence[str] | None = None) -> dict[str, Any]:
    """Return tables, and the aggregate of each kind of stream, as plain values; None is unknown."""
    from plastibench.analysis.tables.aggregate import aggregates

    return {**_rows_as_dict(tables, columns), "aggregates": [asdict(found) for found in aggregates(tables)]}


def _rows_as_dict(tables: Sequence[ResultTable], columns: Sequence[str] | None) -> dict[str, Any]:
    return {
        "tables": [
            {
                "title": table.title,
                "baseline": table.baseline,
                "cost_reference": table.cost_reference,
                "notes": [*table.missing.values(), *table.notes],
                "refused": dict(table.refused),
                "rows": [_selected(_row_with_references(row, table), columns) for row in table.rows],
            }
            for table in tables
        ]
    }


def _selected(row: dict[str, Any], columns: Sequence[str] | None) -> dict[str, Any]:
    """Return the values of a row that belong to columns; all for None."""
    if columns is None:
        return row
    wanted = {name.removeprefix("paper_") for name in columns} | {"method"}
    kept: dict[str, Any] = {}
    for key, value in row.items():
        prefix = {"cost": "", "relative_cost": "relative_"}.get(key)
        role = key.removeprefix("gain_over_")
        if prefix is not None:
            kept[key] = {name: number for name, number in value.items() if prefix + name in wanted}
        elif {key, f"p_vs_{role}", f"noninferior_to_{role}"} & wanted or (
            key == "diverged" and "n" in wanted
        ):
            kept[key] = value
    return kept


def _row_with_references(row: ResultRow, table: ResultTable) -> dict[str, Any]:
    values = row_as_dict(row)
    for role in ("baseline", "cost_reference"):
        gain = row.gains.get(getattr(table, role) or "")
        if gain is not None:
            p_values = {"p": gain.p, "noninferiority_p": gain.noninferiority_p}
            values[f"gain_over_{role}"] = gain.estimate.as_dict() | p_values
    if row.verdicts:
        values["verified"] = dict(row.verdicts)
    return values | {"relative_cost": dict(row.relative_cost), "cost_to_match": row.cost_to_match}
