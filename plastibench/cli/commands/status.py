"""Show the states of runs."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from plastibench.cli import options
from plastibench.cli.command import define_command
from plastibench.cli.json_output import print_json
from plastibench.errors import RequestError, count

if TYPE_CHECKING:
    from plastibench.store.run_status import RunStatus
    from plastibench.workflows.request import Selection

INTERVAL = 1.0
"""Seconds between two looks of --watch."""


@define_command("status", "Start")
@options.selection
@click.option("--watch", is_flag=True, help="Keep showing what changes, until Ctrl-C.")
@options.JSON
def command(selection: Selection, watch: bool, as_json: bool) -> None:
    """Show which runs are queued, running, stopped, failed or done.

    Of a suite, of a grid, or of everything that was ever asked for in the home folder: with the process of
    a running one, and why one failed. Can be used in another terminal while runs are executed.

    Examples:
        plastibench status --watch  # from another terminal, while runs are executed
        plastibench status --json

    """
    from plastibench.cli.render import status_table
    from plastibench.cli.text_tables import print_text
    from plastibench.workflows.status import status

    if watch and as_json:
        raise click.UsageError("--watch and --json cannot be given together")
    entries = status(selection)
    if as_json:
        print_json(runs=entries)
    elif not entries:
        raise RequestError(f"no run was ever started in {selection.workspace.home}")
    elif watch:
        _watch(selection)
    else:
        print_text(status_table(entries))


def _watch(selection: Selection) -> None:
    """Keep showing the states: a table on a terminal, elsewhere a line for each change."""
    from plastibench.console import can_redraw

    with suppress(KeyboardInterrupt):  # that is how it ends
        if can_redraw(sys.stdout):
            _redraw(selection)
        else:
            _print_changes(selection)


def _redraw(selection: Selection) -> None:
    from rich.live import Live

    from plastibench.cli.render import status_table
    from plastibench.cli.text_tables import stdout_console
    from plastibench.workflows.status import status

    with Live(status_table(status(selection)), console=stdout_console(), auto_refresh=False) as live:
        while True:
            time.sleep(INTERVAL)
            live.update(status_table(status(selection)), refresh=True)


def _print_changes(selection: Selection) -> None:
    from plastibench.workflows.status import status

    before: set[RunStatus] = set()
    while True:
        entries = status(selection)
        now = time.strftime("%H:%M:%S")
        for run in entries:
            if run not in before:
                words = (now, run.run, run.name, run.state, count(run.stages, "stage"), run.detail)
                click.echo("  ".join(filter(None, words)))
        before = set(entries)
        time.sleep(INTERVAL)
