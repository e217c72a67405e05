"""Say how runs stand."""

from __future__ import annotations

from typing import Any

import click

from plastibench.cli import options


@click.command("status")
@options.names
@click.option("--watch", is_flag=True, help="Keep showing, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@options.plugins
@options.data
@options.home
def command(watch: bool, as_json: bool, **words: Any) -> None:  # noqa: ANN401
    """Say which runs are queued, running (and where), stopped, failed (and why), done or diverged.

    Of a suite, of a grid, or of everything that was ever begun in the home folder. It can be asked from
    another terminal while runs go on.
    """
    from plastibench.workflows.status import show

    everything = options.names_nothing(words)
    show(options.request(words), everything=everything, watch=watch, as_json=as_json)
