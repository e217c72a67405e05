"""Write one HTML page about finished runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plastibench.cli import options
from plastibench.cli.exit_codes import ExitCode
from plastibench.errors import count

if TYPE_CHECKING:
    from plastibench.workflows.request import Selection

logger = logging.getLogger(__name__)


@click.command("report")
@options.finished_selection
@click.option("--out", type=click.Path(path_type=Path), help="The page. Default: SUITE.html, here.")
@click.option("--figures", type=click.Path(path_type=Path), help="Also write the figures to this folder.")
@click.option(
    "--figure-formats", default="svg", show_default=True, help="svg, pdf, png, separated by commas."
)
@click.option("--dark", is_flag=True, help="Also write each figure for a dark background: NAME-dark.")
def command(
    selection: Selection, out: Path | None, figures: Path | None, figure_formats: str, *, dark: bool
) -> ExitCode:
    """Write one HTML page about finished runs: of a suite, of a grid, or of everything in the home folder.

    The page holds text, tables, figures, settings and commands, and loads nothing from a network.
    """
    from plastibench.analysis.figures.render import parse_formats
    from plastibench.workflows.report import ReportRequest, report

    formats = parse_formats(figure_formats)
    request = ReportRequest(selection=selection, path=out, figures=figures, figure_formats=formats, dark=dark)
    result = report(request)
    if result.path is not None:
        logger.info("report: %s", result.path)
    if figures is not None and result.figures:
        logger.info("figures: %s in %s", count(len(result.figures), "file"), figures.resolve())
    return ExitCode.FAILURE if result.damaged else ExitCode.SUCCESS
