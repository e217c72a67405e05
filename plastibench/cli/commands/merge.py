"""Copy finished runs of home folders and records files into one home folder."""

from pathlib import Path

import click

from plastibench.cli import options, parsing
from plastibench.cli.command import define_command
from plastibench.cli.exit_codes import ExitCode
from plastibench.cli.json_output import damaged_as_list, print_json


@define_command("merge", "Results")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...", type=parsing.FilePath())
@options.JSON
@options.HOME
def command(sources: tuple[Path, ...], home: Path, *, as_json: bool) -> ExitCode:
    """Copy finished runs of other home folders into one.

    Those of other home folders and of records files are copied into the home folder named by --home. Runs
    that are damaged, locked by another process, or already present with different numbers are named and left
    out: the exit status is then 1. The sources are only read. Unfinished runs stay where they are. A records
    file that is damaged is refused as a whole.

    Examples:
        plastibench merge other-home another-home --home plastibench-home
        plastibench merge results/records/field-quick.jsonl.xz

    """
    from plastibench.workflows.merge import merge

    result = merge(sources, home)
    if as_json:
        print_json(home=home.resolve(), counts=result.counts, damaged=damaged_as_list(result.damaged))
    return ExitCode.SUCCESS if result.is_complete else ExitCode.FAILURE
