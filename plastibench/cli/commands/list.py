"""List what can be named."""

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
    """List what can be named, or show the settings of one by its name.

    WHAT is methods, tasks, models, probes, regimes, recipes, suites, or the name of one of them.
    """
    from plastibench.plugins.registry import Registry
    from plastibench.workflows import list as listings

    registry = Registry(plugins)
    if what == listings.RECIPES:
        listing = listings.list_recipes(registry)
    elif what is None or what in listings.KINDS:
        listing = listings.list_plugins(registry, what)
    else:
        listing = listings.describe(registry, what)
    click.echo(json.dumps(listing, indent=1) if as_json else _text(listing))


def _text(listing: Mapping[str, Mapping[str, str]]) -> str:
    # Not in render.py, which imports rich.
    lines = []
    for heading, entries in listing.items():
        width = max((len(name) for name in entries), default=0)
        lines.append(f"{heading}:")
        lines += [f"  {name:<{width}}  {text}".rstrip() for name, text in entries.items()]
    return "\n".join(lines)
