"""Copy finished runs of several home folders into one."""

from pathlib import Path

import click

from plastibench.cli import options
from plastibench.cli.exit_codes import ExitCode


@click.command("merge")
@click.argument("sources", nargs=-1, required=True, metavar="HOME...", type=click.Path(path_type=Path))
@options.HOME
def command(sources: tuple[Path, ...], home: Path) -> ExitCode:
    """Copy the finished runs of other home folders into the one named by --home.

    Runs that are damaged, locked by another process, or already present with different numbers are named
    and left out: the exit status is then 1. The other home folders are only read. Unfinished runs stay
    where they are.
    """
    from plastibench.workflows.merge import merge

    result = merge(sources, home)
    return ExitCode.SUCCESS if result.is_complete else ExitCode.FAILURE
