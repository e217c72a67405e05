"""List what can be named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import click

from plastibench.cli import options


@click.command("list")
@click.argument("what", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@options.PLUGINS
def command(what: str | None, as_json: bool, plugins: tuple[Path, ...]) -> None:
    """List methods, tasks, models or suites, or the settings of one of them by its name."""
    from plastibench.plugins.registry import Registry
    from plastibench.workflows.list import KINDS, describe_plugin, list_plugins

    registry = Registry(plugins)
    listing = (
        list_plugins(registry, what) if what is None or what in KINDS else describe_plugin(registry, what)
    )
    click.echo(json.dumps(listing, indent=1) if as_json else _text(listing))


def _text(listing: Mapping[str, Mapping[str, str]]) -> str:
    # Not in render.py, which imports rich.
    lines = []
    for heading, entries in listing.items():
        width = max((len(name) for name in entries), default=0)
        lines.append(f"{heading}:")
        lines += [f"  {name:<{width}}  {text}".rstrip() for name, text in entries.items()]
    return "\n".join(lines)
