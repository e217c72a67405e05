"""Copy finished runs of home folders and records files into one home folder."""

from pathlib import Path

import click

from plastibench.cli import options
from plastibench.cli.exit_codes import ExitCode


@click.command("merge")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...", type=click.Path(path_type=Path))
@options.HOME
def command(sources: tuple[Path, ...], home: Path) -> ExitCode:
    """Copy the finished runs of other home folders and of records files into the home named by --home.

    Runs that are damaged, locked by another process, or already present with different numbers are named
    and left out: the exit status is then 1. The sources are only read. Unfinished runs stay where they are. A
    records file that is damaged is refused as a whole.
    """
    from plastibench.workflows.merge import merge

    result = merge(sources, home)
    return ExitCode.SUCCESS if result.is_complete else ExitCode.FAILURE
