"""Execute finished runs again and compare."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from plastibench.cli import options
from plastibench.cli.exit_codes import ExitCode
from plastibench.errors import count

if TYPE_CHECKING:
    from plastibench.cli.logs import ConsoleHandler
    from plastibench.runner.workspace import Workspace
    from plastibench.workflows.verify import Verification

logger = logging.getLogger(__name__)


@click.command("verify")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--device", help="Default: the first of the kind that the run was made on.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. Default: as many as the run had.")
@options.workspace
@click.pass_obj
def command(
    handler: ConsoleHandler,
    runs: tuple[str, ...],
    device: str | None,
    threads: int | None,
    workspace: Workspace,
) -> ExitCode:
    """Execute finished runs again, named by their ids or beginnings of them, and compare every number.

    Nothing in the home folder is changed. Exit status 0: all equal; 1: something differs.
    """
    from plastibench.cli.progress import RunProgress
    from plastibench.workflows.verify import VerifyRequest, verify

    request = VerifyRequest(runs=runs, workspace=workspace, device=device, threads=threads)
    with RunProgress(handler.console) as progress:
        results = verify(request, [progress])
    for line in (line for result in results for line in _lines(result)):
        logger.info("%s", line)
    return ExitCode.FAILURE if any(result.differences for result in results) else ExitCode.SUCCESS


def _lines(result: Verification) -> Iterator[str]:
    name = f"{result.record.id} {result.record.spec.name}"
    if not result.differences:
        yield f"{name}: all numbers of {count(len(result.record.stages), 'stage')} are equal"
        return
    if not result.repeated:
        yield f"{name}: not repeated, {result.differences[0]}"
        return
    found = count(len(result.differences), "number differs", "numbers differ")
    yield f"{name}: {found}; the first: {result.differences[0]}"
    if result.origin:
        yield f"  made with another machine or version, equal bits are not promised: {result.origin}"
