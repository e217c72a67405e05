"""Show the states of runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from plastibench.cli import options
from plastibench.errors import RequestError

if TYPE_CHECKING:
    from plastibench.workflows.request import Selection

INTERVAL = 1.0
"""Seconds between two looks of --watch."""


@click.command("status")
@options.selection
@click.option("--watch", is_flag=True, help="Keep showing, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(selection: Selection, watch: bool, as_json: bool) -> None:
    """Show which runs are queued, running (and where), stopped, failed (and why), done or diverged.

    Of a suite, of a grid, or of everything that was ever asked for in the home folder. Can be used in
    another terminal while runs are executed.
    """
    from plastibench.cli.render import status_table, to_json, to_text
    from plastibench.workflows.status import status

    entries = status(selection)
    if as_json:
        click.echo(to_json(entries))
    elif not entries:
        raise RequestError(f"no run was ever started in {selection.workspace.home}")
    elif watch:
        _watch(selection)
    else:
        click.echo(to_text(status_table(entries)), nl=False)


def _watch(selection: Selection) -> None:
    from rich.live import Live

    from plastibench.cli.render import status_table, stdout_console
    from plastibench.workflows.status import status

    with Live(status_table(status(selection)), console=stdout_console(), auto_refresh=False) as live:
        while True:
            time.sleep(INTERVAL)
            live.update(status_table(status(selection)), refresh=True)
