"""Carry out runs and print their table."""

from __future__ import annotations

import sys
from typing import Any

import click

from plastibench.cli import options


@click.command("run")
@options.names
@click.option("--tuned", is_flag=True, help="SUITE is one that `tune` wrote: published and chosen settings.")
@options.carrying_out
@options.plugins
@options.data
@options.home
def command(jobs: int | None, mlflow: bool, uri: str | None, **words: Any) -> None:  # noqa: ANN401 - click hands over words
    """Carry out a suite or a grid of runs, and print its table.

    Without SUITE and --task it runs the quick start: real data, no download, about a minute.
    Finished runs are not repeated.
    """
    from plastibench.tracking import TrackingServer
    from plastibench.workflows.run import carry_out

    request = options.request(words)
    sys.exit(carry_out(request, jobs, TrackingServer.from_uri(uri, request.home) if mlflow else None))
