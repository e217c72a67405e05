"""Pack finished runs into a records file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from plastibench.cli import options

if TYPE_CHECKING:
    from plastibench.workflows.request import Selection


@click.command("submit")
@options.selection
@click.option("--out", type=click.Path(path_type=Path), help="The file. Default: SUITE.jsonl.xz, here.")
@click.option(
    "--finished-only", is_flag=True, help="Leave out runs that are not finished, rather than to refuse."
)
def command(selection: Selection, out: Path | None, *, finished_only: bool) -> None:
    """Pack finished runs, with the source of your plug-ins, into a file that others can check and re-run.

    The runs of a suite, of a grid, or of everything in the home folder. Runs that are unfinished or damaged,
    were made with uncommitted changes, or were made under different conditions are refused.
    """
    from plastibench.cli.render import submission_lines
    from plastibench.workflows.submit import SubmitRequest, submit

    result = submit(SubmitRequest(selection=selection, path=out, finished_only=finished_only))
    for line in submission_lines(result):
        click.echo(line)
