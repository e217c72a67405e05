"""Bring finished runs of several homes together."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from plastibench.cli import options


@click.command("merge")
@click.argument("homes", nargs=-1, required=True, metavar="HOME...", type=click.Path(path_type=Path))
@options.home
def command(homes: tuple[Path, ...], home: Path) -> None:
    """Copy the finished runs of other home folders into the one named by --home.

    What is damaged, what another process is at, and what two homes have with different numbers is named and
    left out: the exit status is then 1. The other homes are only read. Unfinished runs stay where they are.
    """
    from plastibench.workflows.merge import merge

    sys.exit(merge(homes, home))
