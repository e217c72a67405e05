"""Run the laws over a plug-in of your own."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plastibench.cli import completion, options
from plastibench.cli.command import define_command
from plastibench.cli.exit_codes import ExitCode
from plastibench.cli.json_output import print_json

if TYPE_CHECKING:
    from plastibench.testing.law_suite import LawResult

logger = logging.getLogger(__name__)


@define_command("check", "Plug-ins")
@click.argument(
    "plugin",
    metavar="FILE|NAME",
    shell_complete=completion.names_of("method", "model", "probe", "task", several=False, files=True),
)
@click.option("--fail-fast", is_flag=True, help="End at the first law that is broken.")
@options.JSON
def command(plugin: str, fail_fast: bool, *, as_json: bool) -> ExitCode:
    """Run the contract and the laws over a plug-in.

    FILE has a method, a model, a probe or a task of your own, NAME is one that `plastibench list` shows.
    On the CPU, on few images, without data folder or network, but for the data of a task. Exit status
    0: every law that applies holds.

    Examples:
        plastibench check my_idea.py
        plastibench check dash --fail-fast

    """
    from plastibench.errors import count
    from plastibench.runner.workspace import Workspace
    from plastibench.workflows.check import CheckRequest, check

    is_file = plugin.endswith(".py") or Path(plugin).exists()
    workspace = Workspace(plugins=(Path(plugin),) if is_file else ())
    name = workspace.registry.own[0].name if is_file else plugin
    request = CheckRequest(name=name, workspace=workspace, fail_fast=fail_fast)
    results = check(request, partial(_show, err=as_json))
    failed = [result for result in results if result.verdict == "failed"]
    if as_json:
        print_json(plugin=name, laws=results, num_failed=len(failed))
    logger.info(
        "%s: %s", plugin, f"{count(len(failed), 'law')} broken" if failed else "every law that applies holds"
    )
    return ExitCode.FAILURE if failed else ExitCode.SUCCESS


def _show(result: LawResult, *, err: bool) -> None:
    detail = f": {result.detail}" if result.detail else ""
    click.echo(f"{result.verdict:<14}  {result.law}{detail}", err=err)
