"""How the runs of a grid stand, as text for people, live, or as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table as Layout
from rich.text import Text

from plastibench.errors import RequestError
from plastibench.experiments.spec import name_of
from plastibench.store.run_status import RunStatus, damaged_statuses, get_status, started_specs
from plastibench.store.run_store import Store
from plastibench.workflows.request import Request

EVERY_SECONDS = 1.0


def show(request: Request, *, everything: bool, watch: bool, as_json: bool) -> None:
    """Print how runs stand. Raises RequestError where there are none."""
    found = standing(request, everything=everything)
    if as_json:
        click.echo(json.dumps([one.as_dict() for one in found], indent=1))
        return
    if not found:
        raise RequestError(f"no run was ever begun in {request.home}")
    console = Console(width=None if sys.stdout.isatty() else 200)
    if not watch:
        with console.capture() as text:
            console.print(picture(found))
        click.echo(text.get(), nl=False)
        return
    with Live(picture(found), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(EVERY_SECONDS)
            live.update(picture(standing(request, everything=everything)), refresh=True)


def standing(request: Request, *, everything: bool) -> list[RunStatus]:
    """Return how each run stands at this moment."""
    store = Store(request.home)
    specs = started_specs(store) if everything else request.specs()
    return [*(get_status(store, spec, name_of(spec)) for spec in specs), *damaged_statuses(store)]


def picture(found: list[RunStatus]) -> Layout:
    """Return a line for each run, and the counts below."""
    counts = Counter(one.state for one in found)
    total = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    layout = Layout(caption=Text(f"{len(found)} runs: {total}"), caption_justify="left")
    for head in ("id", "run", "state", "stages", ""):
        layout.add_column(head)
    for one in found:
        layout.add_row(*(Text(text) for text in (one.run, one.name, one.state, str(one.stages), one.about)))
    return layout
