"""Say what this machine has."""

from __future__ import annotations

from pathlib import Path

import click

from plastibench.cli import options


@click.command("doctor")
@click.option("--device", default="cpu", show_default=True, help="Device to examine.")
@options.data
@options.home
def command(device: str, data: Path | None, home: Path) -> None:
    """Say what this machine has: versions, devices, data sets, disk."""
    from plastibench.workflows.doctor import report

    for what, answer in report(device, data or options.default_data(), home):
        click.echo(f"{what:<14} {answer}")
