"""Carry out what was asked for, keep the mirror up to date, print the tables."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import click
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from plastibench import suites, tracking, tuned
from plastibench.devices import Device, pick
from plastibench.display import Display, Screen
from plastibench.errors import RequestError, unknown
from plastibench.execute import Place, Watcher, check_data, run_all
from plastibench.mirroring import Mirroring
from plastibench.request import Request
from plastibench.spec import Spec
from plastibench.store import Record, Store
from plastibench.tables import FORMATS, STYLES, Table, choose, render, sheets, tables

DONE, SOME_FAILED = 0, 1


def carry_out(request: Request, jobs: int | None, *, mirrored: bool) -> int:
    """Run what is missing, print the table and where everything lies; return the exit status."""
    specs, device = request.specs(), pick(request.device_name())
    chosen = tuned.chosen(request.leaderboard.grids, request.registry)
    _check_precisions(specs, device)
    store, console = Store(request.home), Screen(stderr=True)
    store.prepare()
    before = store.finished(specs)
    say = partial(_say, console)
    _say_damaged(store, say, "the run is made again")
    todo = len(specs) - len(before)
    side_by_side = max(1, min(jobs or device.side_by_side(), todo))
    say(_plan(request.leaderboard.name, (len(specs), todo), f"on {device.name()}, {side_by_side} at a time"))
    threads = max(1, device.side_by_side() // side_by_side)
    place = Place(request.home, request.data, request.cache, str(device), request.plugins, threads)
    check_data(_missing(specs, before), place, request.registry)
    with Display(console, len(specs), len(before), side_by_side) as display:
        mirror = _mirroring(request, display, say) if mirrored else None
        failed = run_all(specs, place, mirror or display, side_by_side)
    if chosen:
        tuned.remember(request.home, chosen)
    records = tuned.attached(Store(request.home).finished(specs), request.home)
    if records:
        board = request.leaderboard
        show(tables(records, board.baseline, board.yardstick))
    say(f"runs: {(request.home / 'runs').resolve()}")
    if mirror is not None:
        _say_mirror(mirror, records, say)
    return _verdict(failed, len(specs), say)


def _missing(specs: list[Spec], before: list[Record]) -> list[Spec]:
    finished = {record.id for record in before}
    return [spec for spec in specs if spec.id not in finished]


def _plan(name: str, counts: tuple[int, int], how: str) -> str:
    total, todo = counts
    if not todo:
        return f"{name}: all {total} runs are finished already, nothing to do"
    return f"{name}: {total} runs, {total - todo} finished, {todo} to do {how}"


def _check_precisions(specs: list[Spec], device: Device) -> None:
    """Refuse at once what every run would fail with."""
    for precision in dict.fromkeys(spec.recipe["precision"] for spec in specs):
        device.precision(precision)


def _verdict(failed: list[tuple[Spec, str]], total: int, say: partial[None]) -> int:
    """Count the failures; each was named, with its reason, when it happened."""
    if not failed:
        return DONE
    say(f"{len(failed)} of {total} runs failed, the others are kept; the same command tries them again")
    return SOME_FAILED


def _mirroring(request: Request, watcher: Watcher, say: partial[None]) -> Mirroring | None:
    if not tracking.available():
        say("mlflow is not installed: nothing is mirrored")
        return None
    return Mirroring(watcher, (request.home, request.leaderboard.name), say)


def _say_mirror(mirroring: Mirroring, records: list[Record], say: partial[None]) -> None:
    """Mirror also what was finished before, and say where it is seen."""
    if not records:
        return
    mirroring.add(records)
    if mirroring.broken or mirroring.mirror is None:
        return
    say(f"MLflow: {mirroring.added} runs added to {tracking.uri(mirroring.home)}")
    page = f"plastibench ui --home {shlex.quote(str(mirroring.home))}"
    say(f"        `{page}`, then <address>/{mirroring.mirror.link()}")


@dataclass(frozen=True)
class Finished:
    """The finished runs that a request is about."""

    records: list[Record]
    baseline: str | None
    """The method that others are compared with."""
    yardstick: str | None
    """The method whose cost is the unit."""
    damaged: bool
    """Whether runs had to be left out; they were named."""


def finished(request: Request, *, everything: bool) -> Finished:
    """Return the finished runs of a suite, of a grid, or of the whole home folder.

    Names damaged ones on stderr. Raises RequestError where nothing is finished or damaged.
    """
    store = Store(request.home)
    records = list(store.records()) if everything else store.finished(request.specs())
    usual = suites.defaults() if everything else request.leaderboard
    _say_damaged(store, partial(_say, Screen(stderr=True)), "the run is left out; `run` makes it again")
    if not records and not store.damaged:
        raise RequestError(f"no finished runs of this kind in {request.home}")
    attached = tuned.attached(records, request.home)
    return Finished(attached, usual.baseline, usual.yardstick, bool(store.damaged))


@dataclass(frozen=True)
class Look:
    """How tables are to be shown."""

    form: str
    against: str | None
    """Method to pair the others with; None is the suite's baseline."""
    style: str
    columns: str | None


def print_tables(request: Request, look: Look, *, everything: bool) -> int:
    """Print the tables of finished runs; return the exit status."""
    if look.form not in FORMATS:
        raise unknown("format", look.form, FORMATS)
    columns = choose(look.style, look.columns)
    selection = finished(request, everything=everything)
    if not selection.records:
        return SOME_FAILED
    against = selection.baseline if look.against is None else look.against
    found = tables(selection.records, against, selection.yardstick)
    methods = {row.method for table in found for row in table.rows}
    if look.against is not None and look.against not in methods:
        raise unknown("method in these tables", look.against, methods)
    if look.form == "text":
        show(found, columns)
    else:
        click.echo(render(found, look.form, columns), nl=False)
    return SOME_FAILED if selection.damaged else DONE


def _say_damaged(store: Store, say: partial[None], then: str) -> None:
    for path, reason in store.damaged.items():
        say(f"run file {path} is damaged ({reason}): {then}")


def _say(console: Console, line: str) -> None:
    # As Text: a path or an error with brackets is no markup.
    console.print(Text(line), soft_wrap=True)


def show(found: list[Table], columns: Sequence[str] = STYLES["standard"]) -> None:
    """Print tables for people."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    with console.capture() as text:
        for shown in sheets(found, columns):
            layout = RichTable(title=Text(shown.title), title_justify="left")
            for position, name in enumerate(shown.head):
                layout.add_column(Text(name), justify="left" if position == 0 else "right")
            for row in shown.rows:
                layout.add_row(*(Text(cell.text, style="bold" if cell.strong else "") for cell in row))
            console.print(layout)
            for line in shown.notes:
                console.print(Text(line, style="dim"))
    # Not by rich, which ends the program with an error where nobody reads.
    click.echo(text.get(), nl=False)
