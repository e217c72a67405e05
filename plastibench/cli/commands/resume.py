"""Continue unfinished runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from plastibench.cli import options
from plastibench.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from plastibench.cli.logs import ConsoleHandler
    from plastibench.runner.workspace import Workspace
    from plastibench.workflows.request import RunOptions


@click.command("resume")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--device", help="Default: the kind of device that the runs were started on.")
@options.run_options
@options.workspace
@click.pass_obj
def command(
    handler: ConsoleHandler,
    runs: tuple[str, ...],
    device: str | None,
    run_options: RunOptions,
    workspace: Workspace,
) -> ExitCode:
    """Continue all unfinished runs except those of tunings, or the runs with these ids.

    A run continues from its last checkpoint; one that had not begun when its command ended is started. The
    command that started a grid does the same for its own runs.
    """
    from plastibench.cli.run_output import print_result
    from plastibench.display.runs import RunProgress
    from plastibench.workflows.resume import ResumeRequest, resume

    request = ResumeRequest(workspace=workspace, runs=runs, device=device, options=run_options)
    with RunProgress(handler.console) as progress:
        result = resume(request, [progress])
    return print_result(result)
