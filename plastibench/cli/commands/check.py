"""Run the laws over a plug-in of your own."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plastibench.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from plastibench.testing.law_suite import LawResult

logger = logging.getLogger(__name__)


@click.command("check")
@click.argument("plugin", metavar="FILE|NAME")
@click.option("--fail-fast", is_flag=True, help="End at the first law that is broken.")
def command(plugin: str, fail_fast: bool) -> ExitCode:
    """Run the contract and the laws over a method or a model: a file of your own, or the name of a plug-in.

    On the CPU, on few images, without data folder or network. Exit status 0: every law that applies holds.
    """
    from plastibench.errors import count
    from plastibench.runner.workspace import Workspace
    from plastibench.workflows.check import CheckRequest, check

    is_file = plugin.endswith(".py") or Path(plugin).exists()
    workspace = Workspace(plugins=(Path(plugin),) if is_file else ())
    name = workspace.registry.own[0].name if is_file else plugin
    request = CheckRequest(name=name, workspace=workspace, fail_fast=fail_fast)
    results = check(request, _show)
    failed = [result for result in results if result.verdict == "failed"]
    logger.info(
        "%s: %s", plugin, f"{count(len(failed), 'law')} broken" if failed else "every law that applies holds"
    )
    return ExitCode.FAILURE if failed else ExitCode.SUCCESS


def _show(result: LawResult) -> None:
    detail = f": {result.detail}" if result.detail else ""
    click.echo(f"{result.verdict:<14}  {result.law}{detail}")
