"""Carry out what was asked for, keep the mirror up to date, print the tables."""

from __future__ import annotations

import sys
from typing import Any

import click
from rich.console import Console
from rich.table import Table as RichTable

from plastibench import suites
from plastibench.devices import pick
from plastibench.display import Display
from plastibench.errors import RequestError, unknown
from plastibench.execute import Place, run_all
from plastibench.request import Request
from plastibench.spec import Spec
from plastibench.store import Record, Store
from plastibench.tables import FORMATS, Table, cells, legend, render, tables

DONE, SOME_FAILED = 0, 1


def carry_out(request: Request, jobs: int | None, *, mirrored: bool) -> int:
    """Run what is missing, print the table and where everything lies; return the exit status."""
    specs = request.specs()
    device = pick(request.device_name())
    store = Store(request.home)
    store.prepare()
    before = store.finished(specs)
    todo = len(specs) - len(before)
    side_by_side = max(1, min(jobs or device.side_by_side(), todo))
    threads = max(1, device.side_by_side() // side_by_side)
    place = Place(request.home, request.data, request.cache, str(device), request.plugins, threads)
    console = Console(stderr=True)
    if todo == 0:
        console.print(f"all {len(specs)} runs are finished already: nothing to do")
    else:
        console.print(
            f"{request.leaderboard.name}: {len(specs)} runs, {len(before)} finished, {todo} to do on {device.name()}, "
            f"{side_by_side} at a time",
            highlight=False,
        )
    with Display(console, len(specs), len(before), side_by_side) as display:
        failed = run_all(specs, place, display, side_by_side)
    records = store.finished(specs)
    if records:
        show(tables(records, request.leaderboard.baseline))
    _say_where(request, records, console, mirrored=mirrored)
    return _verdict(failed, console)


def _verdict(failed: list[tuple[Spec, str]], console: Console) -> int:
    for spec, reason in failed:
        console.print(f"failed: {spec.method.name} seed {spec.seed} ({spec.id}): {reason}", highlight=False)
    return SOME_FAILED if failed else DONE


def _say_where(request: Request, records: list[Record], console: Console, *, mirrored: bool) -> None:
    console.print(f"runs: {(request.home / 'runs').resolve()}", highlight=False, soft_wrap=True)
    if not mirrored or not records:
        return
    from plastibench import tracking

    if not tracking.available():
        console.print("mlflow is not installed: nothing was mirrored")
        return
    try:
        mirror = tracking.Mirror(request.home, request.leaderboard.name)
        added = mirror.add(records)
    except Exception as error:
        console.print(f"MLflow could not be written ({error}): the runs above are safe", highlight=False)
        return
    console.print(
        f"MLflow: {added} runs added to {tracking.uri(request.home)}", highlight=False, soft_wrap=True
    )
    console.print(
        f"        `plastibench ui --home {request.home}`, then <address>/{mirror.link()}",
        highlight=False,
        soft_wrap=True,
    )


def print_tables(request: Request, form: str, against: str | None, *, everything: bool) -> None:
    """Print the tables of finished runs in one of the forms."""
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    store = Store(request.home)
    if everything:
        records, baseline = list(store.records()), suites.defaults().baseline
    else:
        records, baseline = store.finished(request.specs()), request.leaderboard.baseline or ""
    if not records:
        raise RequestError(f"no finished runs of this kind in {request.home}")
    found = tables(records, against or baseline)
    if form == "text":
        show(found)
    else:
        click.echo(render(found, form), nl=False)


def show(found: list[Table]) -> None:
    """Print tables for people."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    for table in found:
        head, body = cells(table)
        layout = RichTable(title=table.title, title_justify="left")
        for position, name in enumerate(head):
            layout.add_column(name, justify="left" if position == 0 else "right")
        for row in body:
            layout.add_row(*row)
        console.print(layout, *_plain(legend(table)), sep="\n", highlight=False, markup=False)


def _plain(lines: list[str]) -> list[Any]:
    from rich.text import Text

    return [Text(line, style="dim") for line in lines]
