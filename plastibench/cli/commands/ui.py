"""Open MLflow's page."""

from pathlib import Path

import click

from plastibench.cli import options
from plastibench.cli.command import define_command


@define_command("ui", "MLflow")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: a free one.")
@options.TRACKING_URI
@options.HOME
def command(port: int, tracking_uri: str | None, home: Path) -> None:
    """Open MLflow's page on the runs.

    It shows the home folder's runs on this machine alone, until Ctrl-C.

    Examples:
        plastibench ui
        plastibench ui --port 5000 --home other-home

    """
    from plastibench.tracking import TrackingServer
    from plastibench.workflows.ui import serve

    try:
        with serve(TrackingServer.choose(tracking_uri, home), port) as page:
            click.echo(f"MLflow: {page.address} (Ctrl-C to stop)")
            for name, address in page.leaderboards.items():
                click.echo(f"  {name}, best first: {address}")
            page.wait()
    except KeyboardInterrupt:
        return
