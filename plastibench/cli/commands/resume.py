"""Continue unfinished runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from plastibench.cli import completion, options
from plastibench.cli.command import define_command
from plastibench.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from plastibench.cli.logs import ConsoleHandler
    from plastibench.runner.workspace import Workspace
    from plastibench.workflows.request import RunOptions


@define_command("resume", "Start")
@click.argument("runs", nargs=-1, shell_complete=completion.run_ids, metavar="[RUN]...")
@click.option(
    "--device",
    shell_complete=completion.devices,
    help="Default: the kind of device that the runs were started on.",
)
@options.run_options
@options.workspace
@options.JSON
@options.WIDE
@click.pass_obj
def command(
    handler: ConsoleHandler,
    runs: tuple[str, ...],
    device: str | None,
    run_options: RunOptions,
    workspace: Workspace,
    *,
    as_json: bool,
    wide: bool,
) -> ExitCode:
    """Continue unfinished runs.

    All except those of tunings, or those whose ids or beginnings of them are given. A run continues from
    its last checkpoint; one that had not begun when its command ended is started. The command that started
    a grid does the same for its own runs.

    Examples:
        plastibench resume  # all unfinished runs
        plastibench resume ID1 ID2  # two of them; `plastibench status` prints the ids

    """
    from plastibench.cli.run_output import print_result
    from plastibench.display.runs import RunProgress
    from plastibench.workflows.resume import ResumeRequest, resume
    from plastibench.workflows.torchrun import take_part

    request = ResumeRequest(workspace=workspace, runs=runs, device=device, options=run_options)
    with take_part() as is_first:
        if not is_first:
            return ExitCode.SUCCESS
        with RunProgress(handler.display_console) as progress:
            result = resume(request, [progress])
    return print_result(result, as_json=as_json, wide=wide)
