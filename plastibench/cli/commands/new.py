"""Begin a plug-in of your own."""

from __future__ import annotations

import logging
from pathlib import Path

import click

logger = logging.getLogger(__name__)


@click.command("new")
@click.argument("kind", type=click.Choice(["method", "model", "task"]))
@click.argument("name")
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Default: this folder."
)
@click.option("--package", is_flag=True, help="Write a package with entry point, test and CI workflow.")
def command(kind: str, name: str, folder: Path, package: bool) -> None:
    """Write a short file that already works, to begin a method, a model or a task of your own."""
    from plastibench.workflows.new import NewRequest, first_command, new

    request = NewRequest(kind=kind, name=name, folder=folder, package=package)
    paths = new(request)
    for path in paths:
        click.echo(path)
    if package:
        logger.info("next: pip install -e %s", paths[0].parent)
        return
    if kind != "task":
        logger.info("check it with: plastibench check %s", paths[0])
    logger.info("run it with: %s --plugin %s", first_command(request), paths[0])
