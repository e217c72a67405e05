"""Show what this machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from plastibench.cli import options

if TYPE_CHECKING:
    from plastibench.runner.workspace import Workspace


@click.command("doctor")
@click.option("--device", default="cpu", show_default=True, help="Device to examine.")
@options.workspace
def command(device: str, workspace: Workspace) -> None:
    """Show what this machine has: versions, devices, data sets, disk."""
    from plastibench.workflows.doctor import examine

    for name, value in examine(device, workspace).items():
        click.echo(f"{name:<14} {value}")
