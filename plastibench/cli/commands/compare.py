"""Compare two home folders or two suites."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from plastibench.cli import options
from plastibench.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from plastibench.runner.workspace import Workspace


@click.command("compare")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--format", "format_", default="text", show_default=True, help="text, md, csv, latex or json.")
@options.workspace
def command(first: str, second: str, format_: str, workspace: Workspace) -> ExitCode:
    """Compare two selections of finished runs: B minus A, paired by seed, with intervals.

    A and B are home folders, or suites whose runs are in the folder named by --home. Seconds are compared
    on the same hardware only.
    """
    from plastibench.analysis.tables.comparison_table import format_comparison, render_comparison
    from plastibench.cli.render import check_format, tables_text
    from plastibench.workflows.compare import compare

    check_format(format_)
    result = compare((first, second), workspace)
    if result.comparison.settings or not result.damaged:
        found = result.comparison
        text = (
            tables_text(format_comparison(found)) if format_ == "text" else render_comparison(found, format_)
        )
        click.echo(text, nl=False)
    return ExitCode.FAILURE if result.damaged else ExitCode.SUCCESS
