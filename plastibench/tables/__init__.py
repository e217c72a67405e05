"""From finished runs to tables, and tables as text."""

from plastibench.outcome import COSTS, SECONDS, Outcome
from plastibench.tables.across import Across, across
from plastibench.tables.columns import COLUMNS, STYLES, Cell, Sheet, choose, sheet
from plastibench.tables.forms import FORMATS, markdown, render, sheets
from plastibench.tables.rows import Gain, Row, Table, tables

__all__ = [
    "COLUMNS",
    "COSTS",
    "FORMATS",
    "SECONDS",
    "STYLES",
    "Across",
    "Cell",
    "Gain",
    "Outcome",
    "Row",
    "Sheet",
    "Table",
    "across",
    "choose",
    "markdown",
    "render",
    "sheet",
    "sheets",
    "tables",
]
