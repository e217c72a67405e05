"""List what there is."""

from __future__ import annotations

import json
from pathlib import Path

import click

from plastibench.cli import options


@click.command("list")
@click.argument("what", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@options.plugins
def command(what: str | None, as_json: bool, plugins: tuple[Path, ...]) -> None:
    """List methods, tasks, models or suites; or the settings of one of them by its name."""
    from plastibench.workflows import list

    found = list.settings(what, plugins) if what and what not in list.KINDS else list.kinds(what, plugins)
    click.echo(json.dumps(found, indent=1) if as_json else list.text(found))
