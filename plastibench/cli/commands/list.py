"""List what can be named."""

from collections.abc import Mapping
from pathlib import Path

import click

from plastibench.cli import completion, options
from plastibench.cli.command import define_command
from plastibench.cli.entries import entry_lines
from plastibench.cli.json_output import print_json


@define_command("list", "Start")
@click.argument("what", required=False, shell_complete=completion.list_topics)
@options.JSON
@options.PLUGINS
def command(what: str | None, as_json: bool, plugins: tuple[Path, ...]) -> None:
    """List what can be named, or show the settings of one name.

    WHAT is methods, tasks, models, probes, regimes, recipes, suites, or the name of one of them.

    Examples:
        plastibench list  # everything
        plastibench list methods
        plastibench list dash  # its settings, ranges and published variants

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
    if as_json:
        print_json(**listing)
    else:
        click.echo(_text(listing))


def _text(listing: Mapping[str, Mapping[str, str]]) -> str:
    # Not in render.py, which imports rich.
    lines = []
    for heading, entries in listing.items():
        width = max((len(name) for name in entries), default=0)
        lines.append(f"{heading}:")
        for name, text in entries.items():
            lines += entry_lines(f"  {name:<{width}}  ", text)
    return "\n".join(lines)
