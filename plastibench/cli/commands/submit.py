"""Pack finished runs into a records file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from plastibench.cli import options, parsing
from plastibench.cli.command import define_command
from plastibench.cli.json_output import print_json

if TYPE_CHECKING:
    from plastibench.workflows.request import Selection


@define_command("submit", "Results")
@options.selection
@click.option("--out", type=parsing.FilePath(), help="The file. Default: SUITE.jsonl.xz, here.")
@click.option(
    "--finished-only", is_flag=True, help="Leave out runs that are not finished, rather than to refuse."
)
@options.JSON
def command(selection: Selection, out: Path | None, *, finished_only: bool, as_json: bool) -> None:
    """Pack finished runs into a file that others can check.

    With the source of your plug-ins, so that they can be executed again: the runs of a suite, of a grid, or
    of everything in the home folder. Runs that are unfinished or damaged, were made with uncommitted
    changes, or were made under different conditions are refused.

    Examples:
        plastibench submit quickstart --out quickstart.jsonl.xz

    """
    from plastibench.cli.render import submission_lines
    from plastibench.workflows.submit import SubmitRequest, submit

    result = submit(SubmitRequest(selection=selection, path=out, finished_only=finished_only))
    if as_json:
        print_json(file=result.path.resolve(), num_bytes=result.num_bytes, num_runs=len(result.content.runs))
        return
    for line in submission_lines(result):
        click.echo(line)
