"""Execute runs and print their table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from plastibench.cli import options
from plastibench.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from plastibench.cli.logs import ConsoleHandler
    from plastibench.workflows.request import RunOptions, Selection


@click.command("run")
@options.selection
@click.option("--tuned", is_flag=True, help="SUITE is one that `tune` wrote: published and chosen settings.")
@options.run_options
@click.pass_obj
def command(handler: ConsoleHandler, selection: Selection, tuned: bool, run_options: RunOptions) -> ExitCode:
    """Execute a suite or a grid of runs, and print its table.

    Without SUITE and --task it runs the quick start: real data, no download, about a minute.
    Finished runs are not repeated.
    """
    from dataclasses import replace

    from plastibench.cli.run_output import print_result
    from plastibench.display.runs import RunProgress
    from plastibench.workflows.request import RunRequest
    from plastibench.workflows.run import run

    request = RunRequest(selection=replace(selection, tuned=tuned), options=run_options)
    with RunProgress(handler.console) as progress:
        result = run(request, [progress])
    return print_result(result)
