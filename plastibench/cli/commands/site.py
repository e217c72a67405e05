"""Write a static site of boards."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from plastibench.cli import options, parsing
from plastibench.cli.command import define_command
from plastibench.cli.json_output import print_json
from plastibench.errors import count

logger = logging.getLogger(__name__)


@define_command("site", "Results")
@click.argument("source", metavar="FOLDER", type=parsing.FilePath())
@click.option("--out", type=parsing.FilePath(), default="site", show_default=True, help="The site's folder.")
@options.JSON
def command(source: Path, out: Path, *, as_json: bool) -> None:
    """Write a static site of boards.

    From the records files in FOLDER, or in its folder "records": an index of all boards, whose rows can be
    chosen by task, model, regime, recipe and device; a page for each board; and the records. Open
    index.html, or put the folder on any web server.

    Examples:
        plastibench site results --out site

    """
    from plastibench.workflows.site import site

    result = site(source, out)
    if as_json:
        print_json(site=result.index.resolve(), boards=list(result.boards), num_bytes=result.num_bytes)
    else:
        click.echo(result.index.resolve())
    logger.info("%s, %.2f MB", count(len(result.boards), "board"), result.num_bytes / 1e6)
