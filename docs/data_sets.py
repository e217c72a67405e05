"""What boards that ask the same of several data sets say together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from board_rows import RECORDS, ROOT, board_tables
from scipy.stats import kendalltau

from plastibench.analysis.tables.aggregate import AggregateRow, aggregate
from plastibench.analysis.tables.table import ResultTable

MOST_NAMED = 12
"""Rows that a sentence names; of more it says how many there are."""
PICTURE = "![Ranks of all rows on each data set, and their means](../docs/pictures/ranks.svg)"


def data_sets_text(boards: Sequence[str], template: str) -> Iterator[str]:
    """Yield a paragraph on two boards and their picture; nothing if one has no records."""
    settings = [board_tables(board) for board in boards]
    # The setting with the most rows is the one that its suite makes: a submission may have added others.
    tables = [max(tables, key=lambda table: len(table.rows)) for tables in settings if tables]
    over = aggregate(tables)
    if len(tables) < len(boards) or over is None or not over.rows:
        return
    rows = sorted(over.rows, key=lambda row: -abs(row.iqm_gain.value))
    yield " ".join(template.split()).format(
        records=" ".join(f"--records {(RECORDS / board).relative_to(ROOT)}.jsonl.xz" for board in boards),
        rows=len(rows),
        tau=f"{kendall_tau(tables):.2f}",
        baseline=over.baseline,
        above=_listed([row for row in rows if row.iqm_gain.low > 0]),
        below=_listed([row for row in rows if row.iqm_gain.high < 0]),
    )
    yield PICTURE


def kendall_tau(tables: Sequence[ResultTable]) -> float:
    """Return Kendall's tau-b of the gains of the methods that two settings have."""
    first, second = ({row.method: row.gain.mean for row in board.rows if row.gain} for board in tables)
    shared = sorted(first.keys() & second.keys())
    return float(kendalltau([first[name] for name in shared], [second[name] for name in shared]).statistic)


def _listed(rows: Sequence[AggregateRow]) -> str:
    named = [f"`{row.method}` {row.iqm_gain.interval_text()}" for row in rows[:MOST_NAMED]]
    more = len(rows) - MOST_NAMED
    return (", ".join(named) or "none") + (f", and {more} more" if more > 0 else "")
