"""What methods report of their stages by `learner.log`, as a table."""

from collections.abc import Sequence

from plastibench.analysis.stats.estimate import estimate_mean
from plastibench.analysis.tables.table import ResultRow, ResultTable
from plastibench.analysis.tables.text_table import Cell, TextTable
from plastibench.training.stage_log import PREFIX


def reported_table(table: ResultTable) -> TextTable | None:
    """Return the numbers that methods report, or None if none does; it reads the stages of their runs."""
    rows = [line for row in table.rows for line in _lines(row)]
    header = ["method", "number", "mean over stages", "last stage"]
    notes = ["mean +- sample standard deviation over seeds of what the method reports of each stage"]
    return TextTable(table.title, header, rows, notes) if rows else None


def _lines(row: ResultRow) -> list[list[Cell]]:
    # The first run shows whether its method reports anything: the stages of the others are read if it does.
    if not _names(row.records[0].stages):
        return []
    runs = [record.stages for record in row.records]
    names = dict.fromkeys(name for stages in runs for name in _names(stages))
    return [
        [Cell(row.method), Cell(name.removeprefix(PREFIX)), *_cells([_values(run, name) for run in runs])]
        for name in names
    ]


def _names(stages: Sequence[dict[str, object]]) -> list[str]:
    return [name for stage in stages for name in stage if name.startswith(PREFIX)]


def _values(stages: Sequence[dict[str, float | None]], name: str) -> list[float]:
    return [value for stage in stages if (value := stage.get(name)) is not None]


def _cells(runs: Sequence[Sequence[float]]) -> list[Cell]:
    measured = [values for values in runs if values]
    means = [sum(values) / len(values) for values in measured]
    return [_cell(means), _cell([values[-1] for values in measured])]


def _cell(values: Sequence[float]) -> Cell:
    estimate = estimate_mean(values)
    if not values:
        return Cell("-")
    spread = f" +- {estimate.sd:.4g}" if estimate.n > 1 else ""
    return Cell(f"{estimate.mean:.4g}{spread}")
