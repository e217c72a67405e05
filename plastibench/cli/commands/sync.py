"""Bring MLflow up to date."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from plastibench.cli import options


@click.command("sync")
@click.argument("names", nargs=-1, metavar="[SUITE|RUN]...")
@options.tracking
@click.option(
    "--attach",
    "files",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    help="A file or folder to lie with the leaderboards: a report, figures. Can be repeated.",
)
@click.option("--report", is_flag=True, help="Lay each leaderboard's page and figures with it, freshly made.")
@options.home
def command(
    names: tuple[str, ...], uri: str | None, files: tuple[Path, ...], home: Path, *, report: bool
) -> None:
    """Bring MLflow up to date with the home folder: all runs, or those of suites or with ids.

    Twice in a row changes nothing. RUN is an id or the beginning of one.
    """
    from plastibench.workflows.sync import Beside, sync

    sys.exit(sync(home, uri, names, Beside(files, report)))
