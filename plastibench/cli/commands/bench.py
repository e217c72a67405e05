"""Measure speed."""

from __future__ import annotations

from typing import Any

import click

from plastibench.cli import options


@click.command("bench")
@click.option("--model", help="Models, separated by commas. Default: all.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:N or hpu.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the recipe.")
@click.option(
    "--threads", type=click.IntRange(min=1), help="Threads on the CPU. Default: torch's own choice."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--together", metavar="N,N", help="Instead: so many runs side by side, such as 1,2,4,8.")
@options.plugins
def command(as_json: bool, together: str | None, **words: Any) -> None:  # noqa: ANN401
    """Measure how fast a device trains the models, and where the seconds of a run go.

    With --together: what several runs that share the device train in all, and how many to choose.
    """
    from plastibench.workflows.bench import Ask, measure, measure_together

    words["settings"] = dict(options.pair(text) for text in words["settings"])
    if together is None:
        measure(Ask(**words), as_json=as_json)
    else:
        measure_together(Ask(**words), together, as_json=as_json)
