"""Go on with what was begun."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from plastibench import options


@click.command("resume")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--device", help="Default: the kind that the runs were begun on.")
@click.option("--jobs", type=click.IntRange(min=1), help="Runs side by side. Default: one a core on the CPU.")
@options.keeping
@options.plugins
@options.data
@options.home
def command(
    runs: tuple[str, ...],
    jobs: int | None,
    plugins: tuple[Path, ...],
    data: Path | None,
    **words: str | Path | float,
) -> None:
    """Go on with every run that was begun and is not finished, or with those named by their ids.

    A run goes on from its last checkpoint. The command that began a grid does the same, and makes the
    runs that were not begun, too.
    """
    from plastibench.leaderboard import carry_out
    from plastibench.request import Begun

    nothing = dict.fromkeys(("suite", "task", "method", "model", "recipe", "seeds"))
    where = {"plugins": plugins, "data": data or options.default_data(), "cache": options.cache_folder()}
    sys.exit(carry_out(Begun(**nothing, settings={}, **where, **words, runs=runs), jobs, None))  # type: ignore[arg-type]
