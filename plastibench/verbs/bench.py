"""Measure speed."""

from __future__ import annotations

from typing import Any

import click

from plastibench import options


@click.command("bench")
@click.option("--model", help="Models, separated by commas. Default: all.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:N or hpu.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the recipe.")
@click.option(
    "--threads", type=click.IntRange(min=1), help="Threads on the CPU. Default: torch's own choice."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@options.plugins
def command(as_json: bool, **words: Any) -> None:  # noqa: ANN401
    """Measure how fast a device trains the models, and where the seconds of a run go."""
    from plastibench.measure import Ask, measure

    words["settings"] = dict(options.pair(text) for text in words["settings"])
    measure(Ask(**words), as_json=as_json)
