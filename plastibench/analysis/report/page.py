"""From tables to one HTML page: what is on it, and how it is put together."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plastibench.analysis.labels import record_settings
from plastibench.analysis.report.bibliography import bibliography
from plastibench.analysis.report.rerun_command import command
from plastibench.analysis.report.sentences import headline, overall, sentences
from plastibench.analysis.report.typography import breakable, parted, typeset
from plastibench.analysis.tables.columns import STYLES, format_table
from plastibench.analysis.tables.table import ResultRow, ResultTable
from plastibench.analysis.tables.text_table import Cell, TextTable
from plastibench.console import Progress, no_progress
from plastibench.store.record import Record
from plastibench.store.run_metrics import SECONDS
from plastibench.version import __version__

if TYPE_CHECKING:
    from plastibench.analysis.figures.style import Picture

TEMPLATES = Path(__file__).parent / "templates"
ORIGINS = ("device", "platform", "python", "torch", "numpy", "plastibench", "commit", "data", "threads")


@dataclass(frozen=True)
class Line:
    """One row of a table on the page."""

    method: str
    color: str
    anchor: str
    cells: list[Cell]
    settings: str
    command: str
    runs: tuple[Record, ...]


@dataclass(frozen=True)
class Section:
    """One setting on the page."""

    number: int
    anchor: str
    name: str
    title: str
    sentences: list[str]
    headline: str
    head: list[str]
    lines: list[Line]
    full: TextTable
    """All columns there are."""
    legend: list[str]
    pictures: list[Picture]
    origins: list[tuple[str, str]]


def page(found: Sequence[ResultTable], name: str, waiting: Progress = no_progress) -> str:
    """Return the page of some tables as HTML; the same tables give the same text.

    Most of its time goes into drawing: `waiting` shows how many pictures are drawn.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from plastibench.analysis.figures import aggregate
    from plastibench.analysis.figures.style import NIGHT, inline, marks
    from plastibench.analysis.tables.aggregate import aggregate as aggregate_tables

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "average": _average, "seconds": _seconds}
    environment.filters |= {"typeset": typeset, "parted": parted, "breakable": breakable}
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    methods = sorted({row.method for table in found for row in table.rows})
    joined = aggregate_tables(found)
    plain = {row.records[0].spec.method.name for table in found for row in table.rows if row.records}
    sections = [_section(table, number, methods) for number, table in enumerate(found, 1)]
    joint = list(aggregate.pictures(found, methods))
    with waiting(len(joint) + sum(len(section.pictures) for section in sections)) as advance:

        def drawn(picture: Picture) -> str:
            text = inline(picture)
            advance(1)
            return text

        return environment.get_template("page.html").render(
            name=name,
            version=__version__,
            sections=sections,
            across=joint,
            missing=aggregate.missing(found),
            overall=overall(joined) if joined else [],
            joined=joined.text_table() if joined else None,
            colors={method: mark.color for method, mark in marks(methods).items()},
            methods=methods,
            bibliography=bibliography(plain),
            night=list(NIGHT.values()),
            svg=drawn,
            script=script,
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )


def _section(table: ResultTable, number: int, methods: Sequence[str]) -> Section:
    from plastibench.analysis.figures import per_setting, style

    shown = format_table(table)
    known = style.marks(methods)
    first = table.rows[0].records[0].spec
    return Section(
        number=number,
        anchor=f"setting-{number}",
        name=f"{first.task.name}, {first.model.name}",
        title=table.title,
        sentences=sentences(table),
        headline=headline(table),
        head=shown.header,
        lines=[
            _line(row, texts, (f"runs-{number}-{place}", known[row.method].color))
            for place, (row, texts) in enumerate(zip(table.rows, shown.rows, strict=True), 1)
        ],
        full=format_table(table, STYLES["full"]),
        legend=shown.notes[: len(shown.notes) - len(table.notes)],
        pictures=list(per_setting.pictures(table, f"setting-{number}", methods)),
        origins=_origins([run for row in table.rows for run in row.records]),
    )


def _line(row: ResultRow, texts: list[Cell], place: tuple[str, str]) -> Line:
    anchor, color = place
    return Line(
        method=row.method,
        color=color,
        anchor=anchor,
        cells=texts[1:],
        settings=record_settings(row.records[0]),
        command=command([run.spec for run in row.records]),
        runs=row.records,
    )


def _origins(runs: Sequence[Record]) -> list[tuple[str, str]]:
    """Return what the runs were made with, each value that any run has."""
    found = []
    for what in ORIGINS:
        values = sorted({str(run.provenance[what]) for run in runs if run.provenance.get(what) is not None})
        found.append((what, "; ".join(values) or "not recorded"))
    return found


def _percent(run: Record) -> str:
    return f"{100 * run.stages[-1]['test_accuracy']:.2f}"


def _average(run: Record) -> str:
    return f"{100 * sum(stage['test_accuracy'] for stage in run.stages) / len(run.stages):.2f}"


def _seconds(run: Record) -> str:
    return f"{sum(stage.get(name) or 0.0 for stage in run.stages for name in SECONDS):.1f}"
