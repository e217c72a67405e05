"""Finished runs as they are printed: found, named where they are damaged, laid out."""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import click

from plastibench.analysis.tables import FORMATS, choose, render, sheets, tables
from plastibench.cli.render import laid_out
from plastibench.cli.screen import Screen, say_damaged, say_line
from plastibench.errors import RequestError, unknown
from plastibench.experiments import suites
from plastibench.experiments.spec import Spec, name_of
from plastibench.store import tuned_settings
from plastibench.store.index.load import load_summaries, reading_progress
from plastibench.store.record import Record
from plastibench.store.run_status import get_status, started_specs
from plastibench.store.run_store import Store
from plastibench.tracking import TrackingServer
from plastibench.workflows.request import Request

DONE, SOME_FAILED = 0, 1


@dataclass(frozen=True)
class RunSelection:
    """The finished runs that a request is about."""

    records: list[Record]
    baseline: str | None
    """The method that others are compared with."""
    cost_reference: str | None
    """The method whose cost is the unit."""
    damaged: bool
    """Whether runs had to be left out; they were named."""


def finished(request: Request, *, everything: bool, short: bool = False) -> RunSelection:
    """Return the finished runs of a suite, of a grid, or of the whole home folder.

    In short they come from the index where they can: for tables, which do not need stages.
    Names damaged ones on stderr. Raises RequestError where nothing is finished or damaged.
    """
    store = Store(request.home)
    specs = None if everything else request.specs()
    ids = None if specs is None else [spec.id for spec in specs]
    records = load_summaries(store, ids) if short else _read(store, ids)
    usual = suites.defaults() if everything else request.leaderboard
    say_damaged(store, partial(say_line, Screen(stderr=True)), "the run is left out; `run` makes it again")
    if not records and not store.damaged:
        raise RequestError(f"no finished runs of this kind in {request.home}{_instead(store, specs)}")
    attached = tuned_settings.attach(records, request.home)
    return RunSelection(attached, usual.baseline, usual.cost_reference, bool(store.damaged))


def _instead(store: Store, specs: list[Spec] | None) -> str:
    """Return how the runs stand that are not finished: nothing where none was begun."""
    found = [
        get_status(store, spec, name_of(spec)) for spec in (started_specs(store) if specs is None else specs)
    ]
    parts = []
    for state, count in sorted(Counter(one.state for one in found).items()):
        first = next(one for one in found if one.state == state)
        about = f" ({first.name}: {first.about})" if first.about else ""
        parts.append(f"{count} {state}" + (about if count == 1 else about.replace("(", "(such as ", 1)))
    if all(one.state == "queued" for one in found):
        return ""
    return f": {', '.join(parts)}"


def _read(store: Store, ids: list[str] | None) -> list[Record]:
    wanted, found = store.ids() if ids is None else ids, []
    with reading_progress(len(wanted)) as advance:
        for run in wanted:
            record = store.read(run)
            found += [] if record is None else [record]
            advance(1)
    return found


@dataclass(frozen=True)
class TableOptions:
    """How tables are to be shown."""

    form: str
    against: str | None
    """Method to pair the others with; None is the suite's baseline."""
    style: str
    columns: str | None


def print_tables(
    request: Request, look: TableOptions, server: TrackingServer | None = None, *, everything: bool
) -> int:
    """Print the tables of finished runs, the home folder's or those that MLflow has; return a status."""
    check_form(look.form)
    columns = choose(look.style, look.columns)
    if server is not None:
        click.echo(_tracked(request, look, server, everything=everything), nl=False)
        return DONE
    with _nothing_collected():
        selection = finished(request, everything=everything, short=True)
        if not selection.records:
            return SOME_FAILED
        click.echo(_text(selection, look, columns), nl=False)
    return SOME_FAILED if selection.damaged else DONE


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Keep the search for unreachable cycles out: it goes through millions of values that all stay."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _text(selection: RunSelection, look: TableOptions, columns: Sequence[str]) -> str:
    """Return the tables of finished runs as they are asked for. Raises RequestError."""
    against = selection.baseline if look.against is None else look.against
    found = tables(selection.records, against, selection.cost_reference)
    methods = {row.method for table in found for row in table.rows}
    if look.against is not None and look.against not in methods:
        raise unknown("method in these tables", look.against, methods)
    return laid_out(sheets(found, columns)) if look.form == "text" else render(found, look.form, columns)


def _tracked(request: Request, look: TableOptions, server: TrackingServer, *, everything: bool) -> str:
    """Return the tables of the runs that MLflow has, made anew where anything that they say has changed.

    Raises RequestError where there are none or MLflow cannot be read.
    """
    from plastibench.tracking.bulk.memo import remembered
    from plastibench.tracking.bulk.records import TrackedRuns

    place = TrackedRuns(server, request.cache)
    ids = None if everything else [spec.id for spec in request.specs()]
    usual = suites.defaults() if everything else request.leaderboard

    def made() -> str:
        records = place.records(ids)
        if not records:
            raise RequestError(f"no finished runs of this kind in {server.display_uri}")
        selection = RunSelection(records, usual.baseline, usual.cost_reference, damaged=False)
        return _text(selection, look, choose(look.style, look.columns))

    if sys.stdout.isatty():  # the terminal has a part in the text
        return made()
    colors = [os.environ.get(name) for name in ("FORCE_COLOR", "NO_COLOR", "TERM")]
    made_of = [place.digest(), ids, usual.baseline, usual.cost_reference, vars(look), colors]
    return remembered(place.folder, made_of, made)


def check_form(form: str) -> None:
    """Raise RequestError for a format that there is not."""
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
