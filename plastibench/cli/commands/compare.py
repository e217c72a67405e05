"""Two homes or two suites side by side."""

from __future__ import annotations

import sys
from typing import Any

import click

from plastibench.cli import options


@click.command("compare")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--format", "form", default="text", show_default=True, help="text, md, csv, latex or json.")
@options.plugins
@options.data
@options.home
def command(first: str, second: str, form: str, **words: Any) -> None:  # noqa: ANN401 - click hands over words
    """Put two selections of finished runs side by side: B less A, paired by seed, with intervals.

    A and B are home folders, or suites whose runs are in the folder named by --home. Seconds are compared on
    the same hardware alone.
    """
    from plastibench.workflows.compare import compare

    nothing = dict.fromkeys(("suite", "task", "method", "model", "recipe", "seeds", "device"))
    request = options.request({**nothing, "settings": (), **words})
    sys.exit(compare((first, second), request, form))
