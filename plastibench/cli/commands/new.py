"""Begin a plug-in of your own."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from plastibench.cli import options, parsing
from plastibench.cli.command import define_command
from plastibench.cli.json_output import print_json

logger = logging.getLogger(__name__)


@define_command("new", "Plug-ins")
@click.argument("kind", type=parsing.Choice(["method", "model", "task"]), metavar="KIND")
@click.argument("name")
@click.option(
    "--folder", type=parsing.FilePath(file_okay=False), default=Path(), help="Default: this folder."
)
@click.option("--package", is_flag=True, help="Write a package with entry point, test and CI workflow.")
@options.JSON
def command(kind: str, name: str, folder: Path, *, package: bool, as_json: bool) -> None:
    """Write a short file that already works, to begin a plug-in.

    KIND is method, model or task. It is NAME.py, or with --package a package that can be installed.

    Examples:
        plastibench new method my_idea
        plastibench new task my_data --package  # with entry point, test and CI

    """
    from plastibench.workflows.new import NewRequest, first_command, new

    request = NewRequest(kind=kind, name=name, folder=folder, package=package)
    paths = new(request)
    if as_json:
        print_json(files=paths)
    for path in [] if as_json else paths:
        click.echo(path)
    if package:
        logger.info("next: pip install -e %s", paths[0].parent)
        return
    if kind != "task":
        logger.info("check it with: plastibench check %s", paths[0])
    logger.info("run it with: %s --plugin %s", first_command(request), paths[0])
