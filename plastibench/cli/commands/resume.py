"""Go on with what was begun."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import click

from plastibench.cli import options


@click.command("resume")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--device", help="Default: the kind that the runs were begun on.")
@options.carrying_out
@options.plugins
@options.data
@options.home
def command(runs: tuple[str, ...], jobs: int | None, mlflow: bool, uri: str | None, **words: Any) -> None:  # noqa: ANN401
    """Go on with every run that was begun and is not finished, or with those named by their ids.

    A run goes on from its last checkpoint. The command that began a grid does the same, and makes the
    runs that were not begun, too.
    """
    from plastibench.cli.screen import Screen, say_damaged, say_line
    from plastibench.tracking import TrackingServer
    from plastibench.workflows.request import Begun
    from plastibench.workflows.run import carry_out
    from plastibench.workflows.table import DONE, SOME_FAILED

    nothing = dict.fromkeys(("suite", "task", "method", "model", "recipe", "seeds"))
    where = {"data": words.pop("data") or options.default_data(), "cache": options.cache_folder()}
    request = Begun(**nothing, settings={}, **where, **words, runs=runs)  # type: ignore[arg-type]
    status = carry_out(request, jobs, TrackingServer.from_uri(uri, request.home) if mlflow else None)
    say = partial(say_line, Screen(stderr=True))
    say_damaged(request.descriptions, say, "the command that began the run makes it again")
    sys.exit(status or (SOME_FAILED if request.descriptions.damaged else DONE))
