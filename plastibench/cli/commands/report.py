"""Write one HTML page about finished runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plastibench.cli import options, parsing
from plastibench.cli.command import define_command
from plastibench.cli.exit_codes import ExitCode
from plastibench.cli.json_output import damaged_as_list, print_json
from plastibench.errors import count

if TYPE_CHECKING:
    from plastibench.workflows.request import Selection

logger = logging.getLogger(__name__)


@define_command("report", "Results")
@options.finished_selection
@click.option("--out", type=parsing.FilePath(), help="The page. Default: SUITE.html, here.")
@click.option("--figures", type=parsing.FilePath(), help="Also write the figures to this folder.")
@click.option(
    "--figure-formats", default="svg", show_default=True, help="svg, pdf, png, separated by commas."
)
@options.JSON
@click.option("--dark", is_flag=True, help="Also write each figure for a dark background: NAME-dark.")
def command(
    selection: Selection,
    out: Path | None,
    figures: Path | None,
    figure_formats: str,
    *,
    as_json: bool,
    dark: bool,
) -> ExitCode:
    """Write one HTML page about finished runs.

    Of a suite, of a grid, or of everything in the home folder. The page holds text, tables, figures,
    settings and commands, and loads nothing from a network.

    Examples:
        plastibench report cifar10-cpu --out page.html
        plastibench report --figures figures --figure-formats pdf,png

    """
    from plastibench.analysis.figures.render import parse_formats
    from plastibench.workflows.report import ReportRequest, report

    formats = parse_formats(figure_formats)
    request = ReportRequest(selection=selection, path=out, figures=figures, figure_formats=formats, dark=dark)
    result = report(request)
    if as_json:
        print_json(
            report=result.path,
            figures=[path.resolve() for path in result.figures],
            damaged=damaged_as_list(result.damaged),
        )
    elif result.path is not None:
        click.echo(result.path)
    if figures is not None and result.figures:
        logger.info("figures: %s in %s", count(len(result.figures), "file"), figures.resolve())
    return ExitCode.FAILURE if result.damaged else ExitCode.SUCCESS
