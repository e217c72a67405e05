"""The tables of the published boards, made from the records in results/records, and their rows by name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from plastibench.analysis.tables.table import ResultRow, ResultTable
from plastibench.experiments.presets import is_called
from plastibench.store import tuned_settings
from plastibench.workflows.request import Selection
from plastibench.workflows.table import table

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "results" / "records"


@cache
def board_tables(board: str) -> tuple[ResultTable, ...]:
    """Return the tables of a board, one for each setting; none if it has no records yet."""
    path = RECORDS / f"{board}.jsonl.xz"
    return tuple(table(Selection(records=(path,))).tables) if path.exists() else ()


def board_places(board: str) -> Iterator[tuple[str, ResultTable]]:
    """Yield the tables of a board by name: that of the board, and what is its own if there are several.

    That is the regime; the number of the setting if several have the same one, as a submission may add.
    """
    tables = board_tables(board)
    regimes = [regime_text(setting) for setting in tables]
    for number, (setting, regime) in enumerate(zip(tables, regimes, strict=True), 1):
        own = regime if regimes.count(regime) == 1 else f"setting {number}"
        yield (board if len(tables) == 1 else f"{board}, {own}"), setting


def regime_text(setting: ResultTable) -> str:
    """Return `regime=NAME` as it is given on the command line."""
    return "`regime=" + "+".join(part.name for part in setting.rows[0].records[0].spec.regimes) + "`"


def find_row(board: ResultTable, method: str) -> ResultRow | None:
    """Return the row of a method given as NAME or NAME:PRESET, if the board has it untuned."""
    rows = (row for row in board.rows if not _is_tuned(row))
    return next((row for row in rows if is_called(row.records[0].spec.method, method)), None)


def _is_tuned(row: ResultRow) -> bool:
    origin = tuned_settings.from_record(row.records[0])
    return origin is not None and not origin.published
