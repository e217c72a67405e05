"""From finished runs to tables, and tables as text."""

from plastibench.analysis.tables.aggregate import Across, Joined, Shared, across, shared
from plastibench.analysis.tables.columns import COLUMNS, STYLES, Cell, Sheet, choose, sheet
from plastibench.analysis.tables.formats import FORMATS, markdown, render, sheets
from plastibench.analysis.tables.rows import Gain, Row, Table, as_cost_adds_up, tables
from plastibench.store.run_metrics import COSTS, SECONDS, Outcome

__all__ = [
    "COLUMNS",
    "COSTS",
    "FORMATS",
    "SECONDS",
    "STYLES",
    "Across",
    "Cell",
    "Gain",
    "Joined",
    "Outcome",
    "Row",
    "Shared",
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
