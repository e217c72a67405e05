"""Execute runs and print their table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from plastibench.cli import options
from plastibench.cli.command import define_command
from plastibench.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from plastibench.cli.logs import ConsoleHandler
    from plastibench.workflows.request import RunOptions, Selection


@define_command("run", "Start")
@options.selection
@click.option("--tuned", is_flag=True, help="SUITE is one that `tune` wrote: published and chosen settings.")
@options.run_options
@options.JSON
@options.WIDE
@click.pass_obj
def command(
    handler: ConsoleHandler,
    selection: Selection,
    tuned: bool,
    run_options: RunOptions,
    *,
    as_json: bool,
    wide: bool,
) -> ExitCode:
    """Execute a suite or a grid of runs, and print its table.

    SUITE is a name or a TOML file: see `plastibench list suites`. Without SUITE and --task it runs the
    quick start: real data, no download, about a minute. Finished runs are not repeated.

    Examples:
        plastibench run  # the quick start
        plastibench run field-quick  # every remedy on the same digits
        plastibench run --task cifar10 --method warm,cold,dash --seeds 5 --set stages=5
        plastibench run --plugin my_idea.py --method warm,cold,my_idea

    """
    from dataclasses import replace

    from plastibench.cli.run_output import print_result
    from plastibench.display.runs import RunProgress
    from plastibench.workflows.request import RunRequest
    from plastibench.workflows.run import run
    from plastibench.workflows.torchrun import take_part

    request = RunRequest(selection=replace(selection, tuned=tuned), options=run_options)
    with take_part() as is_first:
        if not is_first:
            return ExitCode.SUCCESS
        with RunProgress(handler.display_console) as progress:
            result = run(request, [progress])
    return print_result(result, as_json=as_json, wide=wide)
