"""The index of a site of boards: every row of every board in one table, with links."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from plastibench.analysis.figures.per_setting import pareto_front, total_passes
from plastibench.analysis.labels import RECIPE_SETTINGS, assignments
from plastibench.analysis.report.board import row_anchors
from plastibench.analysis.report.page import make_environment, shared_parts
from plastibench.analysis.report.sentences import headline
from plastibench.analysis.tables.columns import COLUMNS
from plastibench.analysis.tables.table import ResultRow, ResultTable
from plastibench.errors import count
from plastibench.experiments.spec import Spec
from plastibench.store import tuned_settings
from plastibench.store.verifications import SELF_REPORTED, VERDICTS

TUNED_COLUMNS = (("settings", "settings"), ("tuning passes", ""))
"""Of a site with a row that a tuning chose."""
COLUMNS_AND_CHOICES = (
    ("board", "board"),
    ("n", ""),
    ("average accuracy %", ""),
    ("gain over baseline", ""),
    ("relative passes", ""),
    ("on the Pareto front", "on the front"),
    *TUNED_COLUMNS,
    *((name, name) for name in ("verified", "task", "model", "regime", "device", "version", "recipe")),
)
"""The columns after the method, and what a reader chooses by their values, if that is offered."""
RECIPE_EXTRAS = {"augment": False, "weight_decay": 0.0, "schedule": "constant", "warmup_epochs": 0}
"""Further settings of a recipe that its label names if they have another value."""


@dataclass(frozen=True)
class Board:
    """A board of a site."""

    name: str
    page: str
    """Relative to the index, like `records`."""
    records: str
    tables: Sequence[ResultTable]


class IndexRow(NamedTuple):
    """A row of the index."""

    board: str
    href: str
    """Of the row on the board's page."""
    method: str
    task: str
    model: str
    regime: str
    recipe: str
    device: str
    version: str
    n: str
    accuracy: str
    gain: str
    significant: bool
    passes: str
    pareto: str
    """"yes" if no other method of the setting has a higher accuracy at the same passes or fewer."""
    settings: str
    """Whether they are published or chosen by a tuning, and among how many trials."""
    tuning: str
    """Passes of all these trials."""
    verified: str


def render_index(boards: Sequence[Board], title: str) -> str:
    """Return the HTML page; the same boards give the same text."""
    rows = [row for board in boards for row in _rows(board)]
    tuned = any(row.tuning_cost for board in boards for table in board.tables for row in table.rows)
    return (
        make_environment()
        .get_template("index.html")
        .render(
            title=title,
            boards=boards,
            rows=rows,
            columns=[each for each in COLUMNS_AND_CHOICES if tuned or each not in TUNED_COLUMNS],
            tuned=tuned,
            settings={board.name: [_setting(table) for table in board.tables] for board in boards},
            num_runs=sum(
                len(row.records) for board in boards for table in board.tables for row in table.rows
            ),
            **shared_parts("page.js", "site.js"),
        )
    )


def _setting(table: ResultTable) -> dict[str, Any]:
    """Return what the list of boards says of a setting."""
    front = [row.method for row in table.rows if row.method in _on_front(table)]
    return {"title": table.title, "headline": headline(table), "front": ", ".join(front)}


def _rows(board: Board) -> Iterator[IndexRow]:
    for number, table in enumerate(board.tables, 1):
        front = _on_front(table)
        for row, anchor in zip(table.rows, row_anchors(table, number), strict=True):
            spec = row.records[0].spec
            gain = row.gain
            yield IndexRow(
                board=board.name,
                href=f"{board.page}#{anchor}",
                method=row.method,
                task=spec.task.name,
                model=spec.model.name,
                regime=str(spec.task_settings.get("regime", "-")),
                recipe=recipe_label(spec),
                device=_joined(record.provenance.get("device") for record in row.records),
                version=_joined(record.provenance.get("plastibench") for record in row.records),
                n=_cell("n", row, table),
                accuracy=row.average.text(),
                gain="-" if gain is None else gain.interval_text(),
                significant=COLUMNS["gain_over_baseline"].format_cell(row, table).significant,
                passes=_cell("relative_passes", row, table) if row.relative_cost else "-",
                pareto="yes" if row.method in front else "no",
                settings=_settings(row),
                tuning=_cell("tuning_passes", row, table),
                verified=_verified(row),
            )


def _cell(column: str, row: ResultRow, table: ResultTable) -> str:
    return COLUMNS[column].format_cell(row, table).text


def _settings(row: ResultRow) -> str:
    origin = tuned_settings.from_record(row.records[0])
    if origin is None:
        return "published"
    trials = count(origin.trials, "trial")
    return f"published, the best of {trials}" if origin.published else f"tuned, {trials}"


def _verified(row: ResultRow) -> str:
    return ", ".join(VERDICTS[verdict] for verdict in row.verdicts) or SELF_REPORTED


def _on_front(table: ResultTable) -> set[str]:
    """Return the methods on the front of accuracy against passes."""
    rows = [row for row in table.rows if row.seeds]
    points = {row.method: (total_passes(row), row.average.mean) for row in rows}
    front = set(pareto_front(list(points.values())))
    return {method for method, point in points.items() if point in front}


def recipe_label(spec: Spec) -> str:
    """Return the main settings of a recipe, and others that are not usual."""
    names = [name for name in RECIPE_SETTINGS if name in spec.recipe]
    names += [name for name, usual in RECIPE_EXTRAS.items() if spec.recipe.get(name, usual) != usual]
    return assignments({name: spec.recipe[name] for name in names})


def _joined(values: Iterable[object]) -> str:
    return " and ".join(sorted({str(value) for value in values}))
