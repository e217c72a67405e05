"""From finished runs to tables, and tables as text."""

from plastibench.outcome import COSTS, SECONDS, Outcome
from plastibench.tables.across import Across, Joined, Shared, across, shared
from plastibench.tables.columns import COLUMNS, STYLES, Cell, Sheet, choose, sheet
from plastibench.tables.forms import FORMATS, markdown, render, sheets
from plastibench.tables.rows import Gain, Row, Table, as_cost_adds_up, tables

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
