"""One HTML page about finished runs, and its figures as files."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from plastibench.analysis.figures.render import save_figures
from plastibench.analysis.report.page import render_page
from plastibench.analysis.tables.table import ResultTable
from plastibench.console import progress
from plastibench.errors import RequestError, writing
from plastibench.plugins.plugin import Plugin
from plastibench.store.recorded_runs import RecordedRuns
from plastibench.system.files import write_atomic
from plastibench.workflows.finished_runs import finished_runs
from plastibench.workflows.kept_plugins import kept_plugins
from plastibench.workflows.request import Selection

WHOLE_HOME = "All finished runs"


@dataclass(frozen=True, kw_only=True)
class ReportRequest:
    """Finished runs to report on."""

    selection: Selection
    path: Path | None = None
    """The page; None is named after the suite, in the current folder."""
    figures: Path | None = None
    """Folder for the figures as files; None writes none."""
    figure_formats: Sequence[str] = ("svg",)
    dark: bool = False
    """Whether to write each figure for a dark background as well."""


@dataclass(frozen=True)
class ReportResult:
    """What was written."""

    path: Path | None
    """The page; None if every run was damaged."""
    figures: list[Path] = field(default_factory=list)
    damaged: Mapping[Path, str] = field(default_factory=dict)
    """Run files that were left out, with the reason."""


def report(request: ReportRequest) -> ReportResult:
    """Write the page of a suite, of a grid, or of the whole home folder.

    Raises RequestError if no run is finished or a file cannot be written.
    """
    selection = request.selection
    runs = finished_runs(selection)
    if not runs.records:
        return ReportResult(None, damaged=runs.damaged)
    plugins = [*selection.workspace.registry.own, *kept_plugins(selection.source, runs.records)]
    path = write_page(runs.tables, _title(selection), plugins, request.path)
    figures: list[Path] = []
    if request.figures is not None:
        figures = save_figures(
            runs.tables,
            request.figures,
            request.figure_formats,
            dark=request.dark,
            progress=partial(progress, "drawing figures"),
        )
    return ReportResult(path, figures, runs.damaged)


def write_page(
    tables: Sequence[ResultTable], title: str, plugins: Collection[Plugin], path: Path | None = None
) -> Path:
    """Write the page of tables, by default to a file named after the title, here; return its path.

    `plugins` are those that are neither shipped nor installed. Raises RequestError if it cannot be written.
    """
    path = path or Path(f"{re.sub(r'[^A-Za-z0-9._-]', '-', title)}.html")
    if path.is_dir():
        raise RequestError(f"report {path} is a folder: name a file in it, such as {path / 'report.html'}")
    with writing(f"report {path}"):  # before the work rather than after it
        path.parent.mkdir(parents=True, exist_ok=True)
    page = render_page(tables, title, partial(progress, "drawing the page's figures"), plugins)
    with writing(f"report {path}"):
        write_atomic(path, page)
    return path.resolve()


def _title(selection: Selection) -> str:
    if not selection.is_empty:
        return selection.resolved_suite.name
    board = selection.source.board if isinstance(selection.source, RecordedRuns) else None
    return WHOLE_HOME if board is None else board.name
