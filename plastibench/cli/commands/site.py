"""Write a static site of boards."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from plastibench.errors import count

logger = logging.getLogger(__name__)


@click.command("site")
@click.argument("source", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), default="site", show_default=True, help="The site's folder."
)
def command(source: Path, out: Path) -> None:
    """Write a static site from the records files in FOLDER, or in its folder "records", such as results.

    An index of all boards, whose rows can be chosen by task, model, regime, recipe and device; a page for
    each board; and the records. Open index.html, or put the folder on any web server.
    """
    from plastibench.workflows.site import site

    result = site(source, out)
    boards = count(len(result.boards), "board")
    logger.info("site: %s (%s, %.2f MB)", result.index.resolve(), boards, result.num_bytes / 1e6)
