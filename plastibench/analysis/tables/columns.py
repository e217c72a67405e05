"""The columns of a result table. The words of a header are those of the column's name, with a unit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Literal

from plastibench.analysis.labels import record_settings
from plastibench.analysis.stats.estimate import percent
from plastibench.analysis.stats.significance import ALPHA, format_p, p_equation
from plastibench.analysis.tables.notes import table_notes
from plastibench.analysis.tables.run_notes import Reference
from plastibench.analysis.tables.text_table import Cell, TextTable, format_by_hardware, format_known
from plastibench.errors import unknown
from plastibench.store import tuned_settings
from plastibench.store.run_metrics import HARDWARE_DEPENDENT, RunMetrics
from plastibench.store.verifications import SELF_REPORTED, VERDICTS

if TYPE_CHECKING:
    from plastibench.analysis.tables.table import Gain, ResultRow, ResultTable

CostField = Literal["cost", "relative_cost"]
FormatCell = Callable[["ResultRow", "ResultTable"], Cell]


@dataclass(frozen=True)
class Column:
    """A column; `{baseline}` and `{cost_reference}` in its header stand for the methods' names."""

    header: str
    format_cell: FormatCell
    requires: Reference | Literal["verified", "tuned"] | None = None
    """Tables without this reference, or without runs that were repeated or tuned, leave the column out."""


def _cost(
    header: str, name: str, format_spec: str = ",.0f", unit: float = 1.0, field: CostField = "cost"
) -> Column:
    def format_value(value: float) -> str:
        return format(value / unit, format_spec)

    def cell(row: ResultRow, table: ResultTable) -> Cell:
        if len(table.hardware) < 2 or name not in HARDWARE_DEPENDENT:
            return Cell(format_known(getattr(row, field)[name], format_value))
        values = {hardware: getattr(costs, field)[name] for hardware, costs in row.by_hardware.items()}
        return Cell(format_by_hardware(values, table.hardware, format_value))

    return Column(header, cell, "cost_reference" if field == "relative_cost" else None)


def _relative_cost(header: str, name: str) -> Column:
    return _cost(header, name, ".2f", field="relative_cost")


def _gain_column(header: str, reference: Reference, format_gain: Callable[[Gain], Cell]) -> Column:
    def cell(row: ResultRow, table: ResultTable) -> Cell:
        gain = row.gains.get(getattr(table, reference) or "")
        return Cell("-") if gain is None else format_gain(gain)

    return Column(header, cell, reference)


def _gain(gain: Gain) -> Cell:
    return Cell(gain.estimate.interval_text(), gain.p < ALPHA)


def _p(gain: Gain) -> Cell:
    return Cell(format_p(gain.p), gain.p < ALPHA)


def _noninferior(gain: Gain) -> Cell:
    shown = gain.noninferiority_p < ALPHA
    return Cell(f"{'yes' if shown else 'not shown'} ({p_equation(gain.noninferiority_p)})", shown)


def count_text(row: ResultRow) -> str:
    """Return the number of runs in the averages, and the number of diverged runs."""
    return f"{len(row.metrics)}" + (f" + {row.num_diverged} diverged" if row.num_diverged else "")


def _paper(header: str, value: Callable[[RunMetrics], float], format_value: Callable[[float], str]) -> Column:
    """Return a column as in table 1 of the DASH paper: the mean, and the population standard deviation."""

    def cell(row: ResultRow, _: ResultTable) -> Cell:
        values = [float(value(run)) for run in row.metrics]
        return Cell(f"{format_value(fmean(values))} ({format_value(pstdev(values))})" if values else "-")

    return Column(header, cell)


def _cost_to_match(row: ResultRow, table: ResultTable) -> str:
    if not table.same_test or not row.metrics:
        return "-"
    return "never" if row.cost_to_match is None else f"{row.cost_to_match:.2f}"


def _tuning_cost(header: str, name: str, format_spec: str, unit: float = 1.0) -> Column:
    def text(cost: Mapping[str, float]) -> str:
        return format(cost[name] / unit, format_spec) if name in cost else "-"

    return Column(header, lambda row, _: Cell(text(row.tuning_cost)), "tuned")


def _verified(row: ResultRow, _: ResultTable) -> Cell:
    num = len(row.records)
    found = [f"{n} of {num} {VERDICTS[verdict]}" for verdict, n in row.verdicts.items()]
    return Cell(", ".join(found) or SELF_REPORTED)


def _truncated(value: float) -> str:
    return str(int(value))


COLUMNS: dict[str, Column] = {
    "method": Column("method", lambda row, _: Cell(row.method)),
    "n": Column("n", lambda row, _: Cell(count_text(row))),
    "last_accuracy": Column("last accuracy %", lambda row, _: Cell(row.last.text())),
    "average_accuracy": Column("average accuracy %", lambda row, _: Cell(row.average.text())),
    "gain_over_baseline": _gain_column("gain over {baseline}", "baseline", _gain),
    "p_vs_baseline": _gain_column("p vs {baseline}", "baseline", _p),
    "gain_over_cost_reference": _gain_column("gain over {cost_reference}", "cost_reference", _gain),
    "p_vs_cost_reference": _gain_column("p vs {cost_reference}", "cost_reference", _p),
    "noninferior_to_cost_reference": _gain_column(
        "noninferior to {cost_reference}", "cost_reference", _noninferior
    ),
    "steps": _cost("steps", "steps"),
    "samples": _cost("samples", "samples"),
    "passes": _cost("passes", "passes"),
    "remedy_passes": _cost("remedy passes", "remedy_passes"),
    "relative_steps": _relative_cost("relative steps", "steps"),
    "relative_passes": _relative_cost("relative passes", "passes"),
    "cost_to_match": Column(
        "cost to match {cost_reference}",
        lambda row, table: Cell(_cost_to_match(row, table)),
        "cost_reference",
    ),
    "flops": _cost("TFLOPs", "flops", ",.2f", 1e12),
    "evaluation_flops": _cost("evaluation TFLOPs", "evaluation_flops", ",.2f", 1e12),
    "relative_flops": _relative_cost("relative FLOPs", "flops"),
    "seconds": _cost("seconds", "seconds", ",.1f"),
    "train_seconds": _cost("train seconds", "train_seconds", ",.1f"),
    "remedy_seconds": _cost("remedy seconds", "remedy_seconds", ",.1f"),
    "evaluation_seconds": _cost("evaluation seconds", "evaluation_seconds", ",.1f"),
    "relative_seconds": _relative_cost("relative seconds", "seconds"),
    "peak_memory": _cost("peak memory MB", "peak_memory", ",.1f", 1e6),
    "relative_peak_memory": _relative_cost("relative peak memory", "peak_memory"),
    "energy": _cost("energy kJ", "energy", ",.2f", 1e3),
    "relative_energy": _relative_cost("relative energy", "energy"),
    "tuning_passes": _tuning_cost("tuning passes", "passes", ",.0f"),
    "tuning_flops": _tuning_cost("tuning TFLOPs", "flops", ",.2f", 1e12),
    "tuning_seconds": _tuning_cost("tuning seconds", "seconds", ",.1f"),
    "verified": Column("verified", _verified, "verified"),
    "paper_last_accuracy": _paper("last test acc", lambda run: run.last, percent),
    "paper_last_steps": _paper("last steps", lambda run: run.steps[-1], _truncated),
    "paper_average_accuracy": _paper("average acc", lambda run: run.average, percent),
    "paper_average_steps": _paper("average steps", lambda run: fmean(run.steps), _truncated),
}

_PAPER = tuple(name for name in COLUMNS if name.startswith("paper_"))
_NARROW = "method n average_accuracy gain_over_baseline relative_passes cost_to_match"
_WIDE = (
    "method n last_accuracy average_accuracy gain_over_baseline gain_over_cost_reference "
    "steps passes remedy_passes relative_passes cost_to_match flops seconds tuning_passes verified"
)
STYLES: dict[str, tuple[str, ...]] = {
    "narrow": tuple(_NARROW.split()),
    "wide": tuple(_WIDE.split()),
    "paper": ("method", "n", *_PAPER),
    "full": tuple(name for name in COLUMNS if name not in _PAPER),
}
"""`paper` follows table 1 of the DASH paper: population standard deviations, steps truncated."""


def select_columns(
    style: str, columns: str | None, references: Mapping[str, str | None] | None = None
) -> tuple[str, ...]:
    """Return the columns of a style, or those of a comma-separated list. Raises RequestError.

    A column can be named by its heading, in which `references` stand, and by its keys in CSV, too.
    """
    if columns is None:
        if style not in STYLES:
            raise unknown("style", style, STYLES)
        return STYLES[style]
    aliases = _aliases({"baseline": None, "cost_reference": None, **(references or {})})
    names = [aliases.get(_key(name), name.strip()) for name in columns.split(",") if name.strip()]
    for name in names or [""]:
        if name not in COLUMNS:
            raise unknown("column", name, COLUMNS)
    return tuple(dict.fromkeys(["method", *names]))


def _aliases(references: Mapping[str, str | None]) -> dict[str, str]:
    """Return the column that each heading and each CSV key belongs to."""
    named = {role: name or role for role, name in references.items()}
    headings = {_key(column.header.format(**named)): name for name, column in COLUMNS.items()}
    estimates = [name for name in COLUMNS if name.endswith("_accuracy") or name.startswith("gain_over_")]
    keys = {f"{name}_{field}": name for name in estimates for field in ("n", "mean", "sd", "low", "high")}
    for role in references:
        keys[f"gain_over_{role}_p"] = f"p_vs_{role}"
        keys[f"gain_over_{role}_noninferiority_p"] = f"noninferior_to_{role}"
    return headings | keys | {name: name for name in COLUMNS}


def _key(text: str) -> str:
    """Return a heading or name in small letters, with an underscore for anything else."""
    return "_".join(re.findall(r"[^\W_]+", text.casefold()))


def available_columns(table: ResultTable, columns: Sequence[str] = STYLES["wide"]) -> list[str]:
    """Return those columns whose reference the table has."""
    missing = {role for role in ("baseline", "cost_reference") if getattr(table, role) is None}
    missing |= set() if any(row.verdicts for row in table.rows) else {"verified"}
    missing |= set() if any(row.tuning_cost for row in table.rows) else {"tuned"}
    return [name for name in columns if COLUMNS[name].requires not in missing]


def reference_notes(table: ResultTable, columns: Sequence[str] = STYLES["wide"]) -> list[str]:
    """Return why columns are left out or empty."""
    roles = {COLUMNS[name].requires for name in columns}
    return [note for role, note in table.missing.items() if role in roles]


def refusal_notes(table: ResultTable) -> list[str]:
    """Return why methods have no numbers."""
    return [f"{method} cannot run here: {reason}" for method, reason in table.refused.items()]


def format_table(table: ResultTable, columns: Sequence[str] = STYLES["wide"]) -> TextTable:
    """Return a table as texts; columns whose reference the table lacks are left out.

    The narrow style leaves out the settings of each method below the table, too, unless a tuning chose them.
    """
    names = available_columns(table, columns)
    references = {"baseline": table.baseline, "cost_reference": table.cost_reference}
    header = [COLUMNS[name].header.format(**references) for name in names]
    rows = [[COLUMNS[name].format_cell(row, table) for name in names] for row in table.rows]
    rows += [[Cell(method), *[Cell("-")] * (len(names) - 1)] for method in table.refused]
    notes = [
        *table_notes(table, names),
        *reference_notes(table, columns),
        *table.notes,
        *refusal_notes(table),
    ]
    if tuple(columns) == STYLES["narrow"]:
        records = [record for row in table.rows for record in row.records]
        settings = {record_settings(one) for one in records if tuned_settings.from_record(one) is None}
        notes = [note for note in notes if note not in settings]
    return TextTable(table.title, header, rows, notes)
