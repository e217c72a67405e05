"""Run rows again and compare."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from plastibench.cli import options


@click.command("verify")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--device", help="Default: the first of the kind that the run was made on.")
@options.plugins
@options.data
@options.home
def command(
    runs: tuple[str, ...], device: str | None, plugins: tuple[Path, ...], data: Path | None, home: Path
) -> None:
    """Run finished runs again, named by their ids or the beginnings of them, and compare every number.

    Nothing in the home folder is changed. Exit status 0: the same; 1: something differs.
    """
    from plastibench.runner.context import RunContext
    from plastibench.workflows.verify import verify

    context = RunContext(home, data or options.default_data(), options.cache_folder(), "cpu", plugins)
    sys.exit(verify(runs, context, device))
