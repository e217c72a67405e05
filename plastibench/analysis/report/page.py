"""From result tables to one HTML page."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plastibench.analysis.labels import record_settings
from plastibench.analysis.report.bibliography import bibliography
from plastibench.analysis.report.rerun_command import rerun_command
from plastibench.analysis.report.sentences import aggregate_sentences, headline, setting_sentences
from plastibench.analysis.report.typography import allow_breaks, dim_spread, typeset
from plastibench.analysis.tables.columns import STYLES, available_columns, format_table
from plastibench.analysis.tables.notes import table_notes
from plastibench.analysis.tables.table import ResultTable
from plastibench.analysis.tables.text_table import TextTable
from plastibench.console import Progress, no_progress
from plastibench.store.record import Record
from plastibench.version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

    from plastibench.analysis.figures.style import FigureSpec

TEMPLATES = Path(__file__).parent / "templates"
PROVENANCE = ("device", "platform", "python", "torch", "numpy", "plastibench", "commit", "data", "threads")


@dataclass(frozen=True)
class PageSection:
    """One setting on the page."""

    number: int
    name: str
    table: ResultTable
    columns: TextTable
    """The columns of the standard style."""
    all_columns: TextTable
    notes: list[str]
    """On the standard columns."""
    figures: list[FigureSpec]
    provenance: list[tuple[str, str]]


def render_page(tables: Sequence[ResultTable], title: str, progress: Progress = no_progress) -> str:
    """Return an HTML page about tables; the same tables give the same text.

    `progress` shows the number of figures drawn, which takes most of the time.
    """
    from plastibench.analysis.figures import style
    from plastibench.analysis.figures.aggregate import aggregate_figures, missing_figures
    from plastibench.analysis.figures.render import inline_svg
    from plastibench.analysis.tables.aggregate import aggregate

    methods = sorted({row.method for table in tables for row in table.rows})
    names = {row.records[0].spec.method.name for table in tables for row in table.rows}
    sections = [_section(table, number, methods) for number, table in enumerate(tables, 1)]
    figures = list(aggregate_figures(tables, methods))
    aggregated = aggregate(tables)
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    with progress(len(figures) + sum(len(section.figures) for section in sections)) as advance:

        def svg(figure: FigureSpec) -> str:
            text = inline_svg(figure)
            advance(1)
            return text

        template = _environment().get_template("page.html")
        return template.render(
            title=title,
            version=__version__,
            methods=methods,
            sections=sections,
            figures=figures,
            missing_figures=missing_figures(tables),
            aggregate=aggregated,
            aggregate_sentences=aggregate_sentences(aggregated) if aggregated else [],
            bibliography=bibliography(names),
            colors={name: method.color for name, method in style.method_styles(methods).items()},
            light=list(style.DARK),
            dark=list(style.DARK.values()),
            svg=svg,
            script=script,
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"typeset": typeset, "dim_spread": dim_spread, "allow_breaks": allow_breaks}
    environment.globals |= {"headline": headline, "setting_sentences": setting_sentences}
    environment.globals |= {"record_settings": record_settings, "rerun_command": rerun_command}
    return environment


def _section(table: ResultTable, number: int, methods: Sequence[str]) -> PageSection:
    from plastibench.analysis.figures.per_setting import setting_figures

    spec = table.rows[0].records[0].spec
    return PageSection(
        number=number,
        name=f"{spec.task.name}, {spec.model.name}",
        table=table,
        columns=format_table(table),
        all_columns=format_table(table, STYLES["full"]),
        notes=table_notes(table, available_columns(table)),
        figures=list(setting_figures(table, f"setting-{number}", methods)),
        provenance=_provenance([record for row in table.rows for record in row.records]),
    )


def _provenance(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Return (name, all values that the runs have)."""
    values = {
        name: sorted({str(value) for record in records if (value := record.provenance.get(name)) is not None})
        for name in PROVENANCE
    }
    return [(name, "; ".join(found) or "not recorded") for name, found in values.items()]
