"""Print the tables of finished runs."""

from __future__ import annotations

import sys
from typing import Any

import click

from plastibench.cli import options


@click.command("table")
@options.names
@click.option("--format", "form", default="text", show_default=True, help="text, md, csv, latex or json.")
@click.option("--against", help="Method to pair the others with. Default: the suite's.")
@click.option(
    "--style", default="standard", show_default=True, help="standard, full, or paper as in DASH's table 1."
)
@click.option("--columns", help="Columns, separated by commas, in place of a style's.")
@click.option(
    "--from",
    "uri",
    metavar="URI",
    help="Make the table from MLflow alone: an address as for `run --tracking`.",
)
@options.plugins
@options.data
@options.home
def command(uri: str | None, **words: Any) -> None:  # noqa: ANN401
    """Print the table of finished runs: of a suite, of a grid, or of everything in the home folder."""
    from plastibench.tracking import TrackingServer
    from plastibench.workflows.table import TableOptions, print_tables

    look = TableOptions(**{name: words.pop(name) for name in ("form", "against", "style", "columns")})
    everything = options.names_nothing(words)
    request = options.request(words)
    server = None if uri is None else TrackingServer.from_uri(uri, request.home)
    sys.exit(print_tables(request, look, server, everything=everything))
