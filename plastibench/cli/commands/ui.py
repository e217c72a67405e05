"""Open MLflow's page."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from plastibench.cli import options


@click.command("ui")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: one that is free.")
@options.tracking
@options.home
def command(port: int, uri: str | None, home: Path) -> None:
    """Open MLflow's page on the runs of the home folder, on this machine alone, until Ctrl-C."""
    from plastibench.tracking import TrackingServer
    from plastibench.workflows.ui import serve

    sys.exit(serve(TrackingServer.from_uri(uri, home), port, click.echo))
