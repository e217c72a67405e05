"""From finished runs to tables, and tables as text."""

from plastibench.analysis.tables.aggregate import AggregateRow, AggregateTable, SharedScores, across, shared
from plastibench.analysis.tables.columns import COLUMNS, STYLES, Cell, Sheet, choose, sheet
from plastibench.analysis.tables.formats import FORMATS, markdown, render, sheets
from plastibench.analysis.tables.rows import Gain, Row, Table, as_cost_adds_up, tables
from plastibench.store.run_metrics import COSTS, SECONDS, RunMetrics

__all__ = [
    "COLUMNS",
    "COSTS",
    "FORMATS",
    "SECONDS",
    "STYLES",
    "AggregateRow",
    "AggregateTable",
    "Cell",
    "Gain",
    "Row",
    "RunMetrics",
    "SharedScores",
    "Sheet",
    "Table",
    "across",
    "as_cost_adds_up",
    "choose",
    "markdown",
    "render",
    "shared",
    "sheet",
    "sheets",
    "tables",
]
