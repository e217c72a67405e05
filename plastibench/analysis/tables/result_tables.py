"""The tables of several settings, as one value."""

from collections.abc import Sequence

from plastibench.analysis.tables.columns import STYLES
from plastibench.analysis.tables.export import format_tables
from plastibench.analysis.tables.shown import Shown
from plastibench.analysis.tables.table import ResultTable
from plastibench.analysis.tables.text_table import TextTable
from plastibench.errors import count


class ResultTables(Shown, list[ResultTable]):
    """A list of tables, one for each setting, which shows all of them and what aggregates them."""

    def text_tables(self, *, narrow: bool) -> Sequence[TextTable]:
        """Return the tables as texts, with all standard columns or with those that fit a terminal."""
        return format_tables(self, STYLES["narrow"]) if narrow else format_tables(self)

    def __repr__(self) -> str:
        return self._head() + super().__repr__()

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        head = self._head()
        return (f"<p>{head}</p>\n" if head else "") + super()._repr_html_()

    def _head(self) -> str:
        """Return how to have one table of several."""
        if len(self) < 2:
            return ""
        return (
            f"{count(len(self), 'table')}, one for each setting: [0] to [{len(self) - 1}] are single ones\n"
        )
